"""`charlm-train`: parse, start, train, report."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm.data.system import console
from charlm.data.system.extras import require_there
from charlm.data.text.rare import ALPHABETS, MAX_VOCABULARY, MIN_COUNT, RareSettings
from charlm.train.config import ADAM_LR, TrainingConfig, options_said
from charlm.train.setup.defaults import DROPOUT, FINE_TUNING, MOST, MOST_DECAY, MOST_LARGE

DEFAULTS = TrainingConfig()
app = console.make_app()


def said(what: str, otherwise: str | bool = False) -> Any:
    """An option that is None where it is not said; what then holds."""
    return typer.Option(help=what, show_default=otherwise)


@app.command()
def train(
    texts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TEXT]...", help="Text files; without any, the corpus that ships."),
    ] = None,
    out: Annotated[Path | None, said("Run folder.", "runs/<name of the text>")] = None,
    recipe: Annotated[str | None, said("stateful or notebook.", DEFAULTS.recipe)] = None,
    epochs: Annotated[
        int | None,
        said(
            "Passes over the text.",
            f"by its length, at most {MOST}, with thousands of distinct characters {MOST_LARGE}; "
            "notebook 10",
        ),
    ] = None,
    minutes: Annotated[
        float | None, said("A budget of time, instead of a number of epochs.")
    ] = None,
    hidden: Annotated[int | None, said("Hidden units.", "192")] = None,
    layers: Annotated[int | None, said("LSTM layers.", "1")] = None,
    dropout: Annotated[
        float | None,
        said(
            "Dropout of the weights between hidden units.",
            f"up to {DROPOUT}, by how many these are for the text, less in few passes; notebook 0",
        ),
    ] = None,
    output_dropout: Annotated[
        float | None,
        said(
            "Dropout of the weights from hidden units to characters.",
            f"up to {DROPOUT}, by how many these are for the text, less in few passes; notebook 0",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        said(
            "Share of itself that a matrix loses in a step, times the learning rate.",
            f"up to {MOST_DECAY}, by how many weights characters have for the text; notebook 0",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, said("Streams or windows a step, of all processes.", "16, notebook 192")
    ] = None,
    seq_len: Annotated[
        int | None, said("Characters that gradients reach back.", "96, notebook 40")
    ] = None,
    optimiser: Annotated[
        str | None,
        said(
            "muon (for matrices between hidden units, Adam for the rest) or adam.",
            f"{DEFAULTS.optimiser}, notebook adam",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        said(
            "Peak learning rate of Adam.",
            f"{DEFAULTS.lr:g}, with adam alone {ADAM_LR:g}, notebook 0.001",
        ),
    ] = None,
    muon_lr: Annotated[
        float | None, said("Peak learning rate of Muon.", f"{DEFAULTS.muon_lr:g}")
    ] = None,
    clip: Annotated[float | None, said("Largest norm of the gradient.", "1.0")] = None,
    patience: Annotated[
        int | None,
        said(
            "Stop after so many epochs without a better validation; 0: never.",
            str(DEFAULTS.patience),
        ),
    ] = None,
    final: Annotated[
        bool | None,
        typer.Option("--final", help="Learn from the first 95 %; nothing chooses the epoch."),
    ] = None,
    seed: Annotated[int | None, said("Of weights and order.", "0")] = None,
    device: Annotated[str | None, said("auto, cpu or cuda.", "auto")] = None,
    autocast: Annotated[
        str | None, said("bf16 on a GPU (cuDNN's LSTM then has fp16), or none.", "none")
    ] = None,
    step: Annotated[
        str | None,
        said("How a step is run: eager, compiled, or as a CUDA graph (graph).", DEFAULTS.step),
    ] = None,
    tf32: Annotated[
        bool | None,
        typer.Option("--tf32", help="TF32 products on a GPU.", show_default="off"),
    ] = None,
    threads: Annotated[
        int | None,
        said(
            "CPU threads of each process; two make 1.5 on free cores, half on busy.",
            str(DEFAULTS.threads),
        ),
    ] = None,
    case: Annotated[str | None, said("keep, or lower.", "keep")] = None,
    newlines: Annotated[str | None, said("keep, drop, or space.", "keep")] = None,
    nfc: Annotated[bool | None, said("Compose accents (Unicode NFC).", "nfc")] = None,
    rare: Annotated[
        str | None,
        said(
            "What becomes of rare characters, here and in prompts: replace (by U+FFFD), drop, "
            "error, or the character to put there.",
            "replace, where there are some",
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        said(
            "A character is rare that occurs less often in the part that is learnt from.",
            f"{MIN_COUNT} where over {ALPHABETS} are distinct, else 0",
        ),
    ] = None,
    max_vocabulary: Annotated[
        int | None,
        said(
            "Characters beyond so many most frequent ones are rare, too; 0: no limit.",
            str(MAX_VOCABULARY),
        ),
    ] = None,
    encoding: Annotated[str | None, said("Of the text files.", "utf-8")] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|MODEL",
            help="Begin with the weights of a run folder, an exported model or one that ships "
            "(lovecraft, lovecraft-large), whose sizes, characters, dropout and normalisation are "
            "kept; new characters are added. The default rates are then a quarter of what they "
            f"are, and epochs at most {FINE_TUNING}.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Throw away the run in the folder.")
    ] = False,
    report: Annotated[
        bool, typer.Option(help="At the end, report how good it is, and what to try next.")
    ] = True,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Go on with --resume though text, settings or versions differ, without asking.",
        ),
    ] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> int:
    """Train a character-level LSTM on text files.

    Example: charlm-train book.txt --minutes 10
    """
    options = options_said(locals())
    require_there("train", "torch", "safetensors", "matplotlib")
    try:
        from charlm.train.run import train_and_report
        from charlm.train.runs.lock import FolderLock
        from charlm.train.setup.start import RunRequest

        with FolderLock() as lock:
            request = RunRequest(
                texts=tuple(texts or ()),
                out=out,
                resume=resume,
                overwrite=overwrite,
                accept_changes=accept_changes,
                init_from=init_from,
                encoding=encoding,
                case=case,
                newlines=newlines,
                nfc=nfc,
                rare=RareSettings(rare, min_count, max_vocabulary),
                options=options,
                lock=lock,
            )
            return train_and_report(request, report=report, debug=debug)
    except KeyboardInterrupt:  # before training began, or a second time
        console.say("charlm-train: interrupted; what was saved before is still there")
        return console.INTERRUPTED


def main() -> None:
    """Entry point of the command."""
    # Dropout gives cuDNN new weights in each step, which it has to put together: as intended.
    warnings.filterwarnings("ignore", message="RNN module weights are not part")
    console.run(app, "charlm-train")


if __name__ == "__main__":
    main()
