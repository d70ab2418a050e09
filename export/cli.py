"""`charlm-export`: parse, export or verify, report."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError

if TYPE_CHECKING:
    from charlm.export.export import Exported
    from charlm.export.hosts.web import WebPage

GROUPS = {
    "Run": "run verbose",
    "Files": "siblings verify_only siblings_of",
    "Precision": "int8 fp16 text encoding",
    "Other hosts": "web triton genai existing ort_web",
}
EXAMPLES = {
    "charlm-export model.onnx --run runs/book": "A run as one file, and its siblings beside it:",
    "charlm-export --verify-only model.onnx --verbose": "Prove a file, and see by how much:",
    "charlm-export --web page --model model.onnx": "A page that runs a model in the browser:",
}
HOSTS = {
    "triton": "a model repository: tritonserver --model-repository names it",
    "genai": "a model folder: onnxruntime_genai.Model opens it",
}
PROMPT, UTF_8 = "Once upon a time", "utf-8"
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def export(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL.onnx", help="The file to write.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder.", show_default="the newest under runs/"),
    ] = None,
    verify_only: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL.onnx",
            help="Write nothing; prove an existing file and the siblings beside it, "
            "against --run or its own weights.",
        ),
    ] = None,
    siblings_of: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL.onnx",
            help="Write the siblings of an existing file, which an older charlm left without.",
        ),
    ] = None,
    siblings: Annotated[
        bool,
        typer.Option(
            help="Write MODEL.native.onnx, MODEL.generate.onnx and MODEL.sequence.onnx too."
        ),
    ] = True,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Write nothing where int8, which is measured if it can be, costs more than 0.01 "
            "bits per character.",
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16",
            help="Measure fp16 too, for which there must be a GPU, and write nothing where it "
            "costs more than 0.01.",
        ),
    ] = False,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The text to measure int8 and fp16 on, which the model did not learn from. On "
            "what it draws itself, the loss is their divergence from float32.",
            show_default="what the model draws itself",
        ),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of --text.")] = UTF_8,
    web: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a folder too, for any static host: a page that generates and scores in the "
            "browser.",
        ),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a model repository of NVIDIA Triton too, in which the server carries the "
            "state of each text.",
        ),
    ] = None,
    genai: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a folder too that ONNX Runtime GenAI loads as it is."
        ),
    ] = None,
    existing: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="For those alone: an existing model file, or the name of one that ships.",
            show_default="./model.onnx, or lovecraft",
        ),
    ] = None,
    ort_web: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For --web: npm's package onnxruntime-web.",
            show_default="node_modules/onnxruntime-web",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show each proof's figures, and int8's loss.")
    ] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Write a trained run as one stateful ONNX step graph, proven equal to the Torch model.

    Beside it stand its siblings, graphs of the same weights that generate or read many characters
    in one run. charlm finds them by their names; without them everything works, slower.
    """
    del debug, version
    given = [each for each in (model, verify_only, siblings_of) if each is not None]
    folders = {"web": web, "triton": triton, "genai": genai}
    hosts = [name for name, folder in folders.items() if folder is not None]
    if existing is not None and not hosts:
        raise SettingsError(f"`model` goes with {' or '.join(f'`{name}`' for name in folders)}")
    if ort_web is not None and web is None:
        raise SettingsError("`ort_web` goes with `web`")
    if hosts and (given != [model] if given else run is not None):
        raise SettingsError(
            f"`{hosts[0]}` goes with MODEL.onnx, which is written first, or with `model`, "
            "an existing file"
        )
    if existing is not None and given:
        raise SettingsError("`model` names an existing file, and MODEL.onnx one to write: not both")
    page = None
    if web is not None:
        from charlm.export.hosts.web import RUNTIME, WebPage

        page = WebPage.of(web, ort_web or RUNTIME)  # what is missing is found before the work
        if not given and hosts == ["web"]:  # nothing to prove: Torch is not needed
            _write_page(page, existing)
            return
    if len(given) != 1 and not (hosts and not given):
        raise SettingsError(
            "name one file: charlm-export MODEL.onnx to write it, "
            "charlm-export --verify-only MODEL.onnx to prove it, "
            "or charlm-export --siblings-of MODEL.onnx to write its siblings"
        )
    if siblings_of is not None and (run is not None or not siblings):
        raise SettingsError(
            "`siblings_of` makes the siblings from the file itself: leave out "
            + ("`run`" if run is not None else "`no_siblings`")
        )
    if text is None and encoding != UTF_8:
        raise SettingsError("`encoding` is that of `text`: name one, or leave it out")
    measured = {"--int8": int8, "--fp16": fp16, "--text": text is not None}
    if verify_only is not None and any(measured.values()):
        name = next(name for name, given in measured.items() if given)
        raise SettingsError(f"`verify_only` writes nothing: leave out {name}")
    _check_extras()
    from charlm.export.contract import KINDS
    from charlm.export.export import (
        Wanted,
        export_folders,
        export_run,
        export_siblings,
        verify_file,
    )
    from charlm.train.runs import run_folder

    own = "the weights it carries"
    wanted = Wanted(
        tuple(KINDS.values()) if siblings else (), int8, fp16, text, encoding, triton, genai, web
    )
    if verify_only is not None:
        done = verify_file(verify_only, run)
        console.say(f"{verify_only}: proven against {own if run is None else run}")
    elif siblings_of is not None:
        done = export_siblings(siblings_of, wanted)
        console.say(f"{siblings_of}: proven against {own}")
    elif model is None:
        from charlm.infer.model.shipped import find_model

        done = export_folders(find_model(existing), wanted)
        console.say(f"{done.model}: proven against {own}")
    else:
        source = run or run_folder.newest(holding=run_folder.WEIGHTS)
        for newer in run_folder.without_epoch(source) if run is None else ():
            console.say(f"{newer} has no epoch yet: passed over")
        trained = run_folder.load_run(source)
        results = trained.summary["results"]
        if run is None and not results.get("finished", True):
            console.say(
                f"{source}, the newest run, was stopped before its end: --run names another"
            )
        done = export_run(trained, model, wanted)
        console.say(
            f"{done.model}: {done.size:,} bytes, {done.metadata.layers} x "
            f"LSTM({done.metadata.hidden}), {len(done.metadata.vocabulary)} characters, "
            f"proven equal to {source}"
        )
    _report(done, verbose, losses=verbose or any(measured.values()))
    if beside := _beside(done, written=model is not None):
        console.say(f"beside it, optional: {'; '.join(beside)}")
    for name in hosts:
        if name in HOSTS:
            console.say(f"{folders[name]}: {HOSTS[name]}")
    if page is not None:
        _write_page(page, done.model)
    elif given and verify_only is None:
        console.say(f"next: charlm-gen --model {shlex.quote(str(done.model))}{_prompt(done)}")


def _write_page(page: "WebPage", model: Path | None) -> None:
    path, size = page.write(model)
    console.say(f"{page.folder}: {size:,} bytes, a page that runs {path} in the browser")
    folder = shlex.quote(str(page.folder))
    console.say(f"next: python3 -m http.server --directory {folder}")


def _prompt(done: "Exported") -> str:
    """For a command, where the model can read it."""
    metadata = done.metadata
    lacking = metadata.vocabulary.lacks(metadata.normalisation(PROMPT))
    return "" if lacking and metadata.unknown(None) == "error" else f" {shlex.quote(PROMPT)}"


def _report(done: "Exported", verbose: bool, losses: bool) -> None:
    if verbose:
        for line in done.proof.lines():
            console.say(f"  {line}")
        for sibling in done.siblings:
            console.say(f"{sibling.path}: {sibling.size:,} bytes")
            for line in sibling.proof.lines():
                console.say(f"  {line}")
    if losses:
        for form, quality in done.qualities.items():
            console.say(quality.line(form))
    for note in done.notes:
        console.say(note)


def _beside(done: "Exported", written: bool) -> list[str]:
    """What stands beside a model, for someone who wonders which files to keep."""
    own = [f"{done.model.with_suffix('.json').name} repeats its metadata"] if written else []
    names = ", ".join(sibling.path.name for sibling in done.siblings)
    return [*own, f"{names} run many characters at once, proven too"] if names else own


def _check_extras() -> None:
    from charlm.data.system.extras import require, require_onnxruntime

    for module in ("torch", "onnx", "safetensors"):
        require(module, "train")
    require_onnxruntime()


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-export")


if __name__ == "__main__":
    main()
