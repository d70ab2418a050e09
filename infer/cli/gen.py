"""`charlm-gen`: parse, open, write text as it is drawn."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.data import MAX_WINDOW
from charlm.data.system import console, errors
from charlm.data.system.errors import CorpusError, SettingsError
from charlm.infer.cli import shared as cli_shared

if TYPE_CHECKING:
    from charlm.export.contract import Metadata

GROUPS = {
    "Text": "model length seed stop escapes unknown echo interactive load_state save_state",
    "Sampling": "temperature top_k top_p min_p window",
    "Many texts": "samples prompts prompts_format width unordered as_json null",
    "Hardware": "provider threads precision ray explain",
}
EXAMPLES = {
    'charlm-gen "The old house " --length 500 --temperature 0.7': "A text, somewhat tamer:",
    "charlm-gen \"Dear \" --model model.onnx --escapes --stop '\\n\\n'": "Up to an empty line:",
    'charlm-gen "The " --samples 100 --json > texts.jsonl': "A hundred texts at once:",
}
app = console.make_app()
MAX_PROMPT_BYTES = 1 << 26  # as of a line of a file of prompts


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def generate(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="[PROMPT]", help="Text to go on with; - reads it from standard input."
        ),
    ] = "",
    model: cli_shared.ModelFile = None,
    length: Annotated[int, typer.Option(help="Characters to draw; 0: until stopped.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 safer, above 1 wilder, 0 always the likeliest.")
    ] = 1.0,
    top_k: Annotated[
        int, typer.Option(help="Draw only from so many likeliest characters; 0: from all.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw only from the likeliest that make up this share; 1: all.")
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Draw none below this share of the likeliest one's; 0: all.")
    ] = 0.0,
    window: Annotated[
        int | None,
        typer.Option(
            help="Draw each character from so many before it alone, read from a zero state.",
            show_default="all before it, the state carried",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Gives the same text again.", show_default="drawn and shown")
    ] = None,
    samples: Annotated[int, typer.Option(help="Texts to draw from the prompt.")] = 1,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="A text ends before this; may be given several times."),
    ] = None,
    escapes: Annotated[
        bool,
        typer.Option(
            "--escapes",
            help=r"Read \n, \t, \\, \xNN and \uNNNN in PROMPT and --stop as the characters that "
            "they stand for.",
        ),
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="File of prompts, one a line, or JSON Lines with prompt, length, temperature, "
            "seed, sample, stop, top_k, top_p and min_p of each; - is standard input.",
            metavar="FILE",
        ),
    ] = None,
    prompts_format: Annotated[
        str, typer.Option(help="text, jsonl, or auto: jsonl where the file is named so.")
    ] = "auto",
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Write a text in turns, at a prompt line.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a text, a line each.")
    ] = False,
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="A NUL after each text, not an empty line between two."),
    ] = False,
    unordered: Annotated[
        bool, typer.Option("--unordered", help="Print texts as they are finished.")
    ] = False,
    width: Annotated[
        int | None,
        typer.Option(
            help="Texts drawn side by side.",
            show_default="256 a thread, or a multiprocessor of a GPU",
        ),
    ] = None,
    load_state: Annotated[
        Path | None,
        typer.Option(help="Go on from a state that --save-state wrote.", metavar="FILE"),
    ] = None,
    save_state: Annotated[
        Path | None, typer.Option(help="Keep the state after the text.", metavar="FILE")
    ] = None,
    echo: Annotated[bool, typer.Option(help="Print the prompt before the text.")] = True,
    unknown: cli_shared.Unknown = None,
    provider: cli_shared.Provider = "auto",
    threads: cli_shared.Threads = None,
    precision: cli_shared.Precision = "float32",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Draw the texts of --prompts on a Ray cluster: auto, local or ray://HOST:PORT; "
            "--threads are those of an actor.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on stderr how it is computed, and why.")
    ] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Generate text with a charlm model."""
    del debug, version
    from charlm.infer.engines.planning import Work, provider_for
    from charlm.infer.generator import Generator
    from charlm.infer.model import shipped
    from charlm.infer.request import Request, draw_seed

    if prompts is not None and (prompt or samples != 1):
        raise SettingsError("`prompts` has the prompts: give no PROMPT and no `samples` beside it")
    if ray is not None and (prompts is None or explain):
        raise SettingsError(
            "`ray` is for `prompts`: give a file of them"
            if prompts is None
            else "`explain` says how this machine computes: leave out `ray`"
        )
    if prompts is None and prompts_format != "auto":
        raise SettingsError("`prompts_format` is of `prompts`: give a file of them")
    if prompts is None and samples == 1 and unordered:
        raise SettingsError("`unordered` is for many texts: give `samples` or `prompts`")
    others = {
        "prompts": prompts is not None,
        "samples": samples != 1,
        "json": as_json,
        "null": null,
    }
    single = not any(others.values())
    if (interactive or not single) and (load_state or save_state):
        first = "interactive" if interactive else next(name for name in others if others[name])
        raise SettingsError(
            f"`load_state` and `save_state` are for one text, as it comes: leave out `{first}`"
        )
    if save_state and window is not None:
        raise SettingsError("`window` leaves no state to save: leave out `window` or `save_state`")
    if save_state is not None:
        from charlm.infer.model.state import State

        State.check_place(save_state)
    if interactive:
        from charlm.infer.cli import terminal

        terminal.check(others=not single)
    state, sample = None, 0
    if load_state is not None:
        from charlm.infer.model.state import State

        state = State.load(load_state)
        if seed is None:
            seed, sample = state.seed, state.sample or 0
    typed = (prompt, *(stop or ()))
    if escapes:
        from charlm.data.text.escapes import unescaped

        prompt, *stop = map(unescaped, typed)
    request = Request(
        _standard_input().removesuffix("\n") if typed[0] == "-" else prompt, length=length,
        temperature=temperature, seed=draw_seed() if seed is None else seed, top_k=top_k,
        top_p=top_p, min_p=min_p, stop=tuple(stop or ()), unknown=unknown, window=window,
        state=state, sample=sample,
    )  # fmt: skip
    path = shipped.find_model(model)
    with cli_shared.text_output(*([] if prompts is None else [prompts])) as out:
        streams: int | None = samples
        if prompts is not None:
            from charlm.infer.batch.prompt_file import count_prompts

            streams = count_prompts(prompts)
        work = Work.of(request, streams)
        cluster = None
        on_cluster: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if ray is not None:
            from charlm.infer.ray import Cluster, connected

            on_cluster = connected(ray)
            cluster = Cluster(path, None, provider, threads or 1, precision)
            provider, threads, precision = "cpu", 1, "float32"  # here prompts are only looked at
        device, why_device = provider_for(work, provider, precision)
        generator = Generator.open(path, device, threads, precision)
        if not escapes and any("\\" in each for each in typed):
            _check_backslash(generator.metadata, typed, unknown)
        if single and width is not None:
            generator.plan(work, width)  # refuses one that can't be
        if explain:
            device = why_device or generator.model.device
            for reason in (f"provider: {device}", *generator.plan(work, width).reasons):
                console.say(f"charlm-gen: {reason}")
        for note in (generator.model.note, None if window else _hint(generator.metadata)):
            if note:
                console.say(f"charlm-gen: {errors.as_options(note)}")
        where = f"Ray {ray}" if ray else generator.model.device
        about = f"charlm-gen: {shipped.describe(path)}, {where}"
        about = f"{about}, seed {request.seed}"
        if interactive:
            console.say(about)
            terminal.run(out, generator, request)
            return
        if single:
            text = generator.stream_of(request)
            out.write(generator.normalised(request.prompt, unknown) if echo else "")
            console.say(about)
            lacking = generator.lacks(request.prompt)
            cli_shared.say_lacking(lacking, generator.metadata, unknown, "the prompt's")
            try:
                cli_shared.write_live(out, text.pieces())
            except (OSError, UnicodeError):  # the text is lost: it goes on from where it was before
                save_state = None
                raise
            finally:  # Ctrl-C ends a text without end
                if save_state is not None:
                    text.state.save(save_state)
            return
        from charlm.infer.batch import writer

        job = writer.Job(
            request, samples, prompts, prompts_format, width, work, ordered=not unordered,
            as_json=as_json, null=null, echo=echo, cluster=cluster,
        )  # fmt: skip
        with on_cluster:
            failures = writer.run(out, generator, job, about)
    if failures:
        raise typer.Exit(console.USER_ERROR)


def _check_backslash(metadata: "Metadata", typed: tuple[str, ...], unknown: str | None) -> None:
    """Where a model has no backslash, one was typed for the sake of the character that it means.

    Raises:
        VocabularyError: in a prompt that can't be read so, or a stop string, which can't come.
    """
    from charlm.data.text.escapes import escape_in

    found = next(filter(None, map(escape_in, typed)), None)
    if found is None or "\\" in metadata.vocabulary.characters:
        return
    hint = f"the model has no backslash: for the character that {found} means, add --escapes"
    if metadata.unknown(unknown) == "error" or any(map(escape_in, typed[1:])):
        raise errors.VocabularyError(hint)
    console.say(f"charlm-gen: {hint}")


def _hint(metadata: "Metadata") -> str | None:
    """What to tell whoever carries the state of a model that was trained on windows."""
    window = trained_window(metadata)
    if window is None:
        return None
    return (
        f"this model was trained on windows of {window} characters from a zero state: "
        f"--window {window} draws from that distribution, carrying the state from another"
    )


def trained_window(metadata: "Metadata") -> int | None:
    """The window that a model was trained on; None where its state was carried, or not known.

    The summary in a model file is for people: whatever it holds, this is no error.
    """
    training: Any = metadata.summary.get("training")
    if not isinstance(training, dict) or training.get("recipe") != "notebook":
        return None
    length = training.get("seq_len")
    return length if type(length) is int and 1 <= length <= MAX_WINDOW else None


def _standard_input() -> str:
    """All of standard input, read as corpora are: UTF-8, no byte-order mark, line ends as LF."""
    from charlm.data.text.normalise import with_lf

    try:
        content = console.standard_input().read(MAX_PROMPT_BYTES + 1)
        if len(content) > MAX_PROMPT_BYTES:
            raise CorpusError(
                f"the prompt on standard input is longer than {MAX_PROMPT_BYTES:,} bytes"
            )
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise CorpusError(
            f"the prompt on standard input is not utf-8: byte 0x{problem.object[problem.start]:02x}"
            f" at position {problem.start} ({problem.reason}); convert it first"
        ) from problem
    return with_lf(text)


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-gen", quick_exit=True)


if __name__ == "__main__":
    main()
