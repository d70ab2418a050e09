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
GROUPS = {
    "Run": "out init_from resume overwrite accept_changes report seed",
    "Budget": "minutes epochs patience final",
    "Size": "hidden layers",
    "Regularisation": "dropout output_dropout weight_decay",
    "Learning": "recipe batch_size seq_len optimiser lr muon_lr clip",
    "Text": "encoding case newlines nfc rare min_count max_vocabulary",
    "Hardware": "device threads step autocast tf32",
}
EXAMPLES = {
    "charlm-train book.txt --minutes 10": "Ten minutes on a book, then a report, in runs/book:",
    "charlm-train --resume --out runs/book": "Go on with a run that was stopped:",
    "charlm-train letters.txt --init-from lovecraft": "Begin with a model that knows English:",
}
app = console.make_app()


def said(what: str, otherwise: str | bool = False) -> Any:
    """An option that is None where it is not said; what then holds."""
    return typer.Option(help=what, show_default=otherwise)


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def train(
    texts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TEXT]...", help="Text files; without any, the corpus that ships."),
    ] = None,
    out: Annotated[Path | None, said("Run folder.", "runs/<name of the text>")] = None,
    recipe: Annotated[
        str | None,
        said(
            "stateful; or notebook: windows of 40 characters from a zero state, with defaults of "
            "its own (10 epochs, 192 windows a step, Adam at 0.001, nothing dropped).",
            DEFAULTS.recipe,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        said(
            "Passes over the text.",
            f"automatic, 1 to {MOST} by its length; at most {MOST_LARGE} with thousands of "
            "distinct characters",
        ),
    ] = None,
    minutes: Annotated[
        float | None, said("A budget of time; with --epochs, the sooner of the two ends it.")
    ] = None,
    hidden: Annotated[int | None, said("Hidden units.", "192")] = None,
    layers: Annotated[int | None, said("LSTM layers.", "1")] = None,
    dropout: Annotated[
        float | None,
        said(
            "Dropout of the weights between hidden units.",
            f"automatic, 0 to {DROPOUT}; printed at start",
        ),
    ] = None,
    output_dropout: Annotated[
        float | None,
        said(
            "Dropout of the weights from hidden units to characters.",
            f"automatic, 0 to {DROPOUT}; printed at start",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        said(
            "Share of itself that a matrix loses in a step, times the learning rate.",
            f"automatic, 0 to {MOST_DECAY}; printed at start",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, said("Streams or windows a step, of all processes.", "16")
    ] = None,
    seq_len: Annotated[int | None, said("Characters that gradients reach back.", "96")] = None,
    optimiser: Annotated[
        str | None,
        said(
            "muon (for matrices between hidden units, Adam for the rest) or adam.",
            DEFAULTS.optimiser,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        said(
            "Peak learning rate of Adam.",
            f"{DEFAULTS.lr:g}; {ADAM_LR:g} with --optimiser adam",
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
    seed: Annotated[int | None, said("Of the first weights and of what is dropped.", "0")] = None,
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
            "replace, if there are any",
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        said(
            "A character is rare that occurs less often in the part that is learnt from.",
            f"{MIN_COUNT} if over {ALPHABETS} are distinct, else 0",
        ),
    ] = None,
    max_vocabulary: Annotated[
        int | None,
        said(
            "Characters beyond so many most frequent ones are rare, too; 0: no limit.",
            str(MAX_VOCABULARY),
        ),
    ] = None,
    encoding: Annotated[str | None, said("Encoding of the text files.", "utf-8")] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|MODEL",
            help="Begin with the weights of a run folder, an exported model, or lovecraft or "
            "lovecraft-large, which ship. Sizes, characters, dropout and normalisation are kept, "
            "new characters added; default rates are a quarter, and default epochs at most "
            f"{FINE_TUNING}.",
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
    """Train a character-level LSTM on text files."""
    given = locals().copy()
    require_there("train", "torch", "safetensors", "matplotlib")
    try:
        from charlm.train.run import train_and_report
        from charlm.train.runs.lock import FolderLock
        from charlm.train.setup.start import RunRequest

        with FolderLock() as lock:
            said = {name: given[name] for name in RunRequest.__annotations__ if name in given}
            said |= {"texts": tuple(texts or ()), "options": options_said(given), "lock": lock}
            limits = RareSettings(rare, min_count, max_vocabulary)
            request = RunRequest(**said | {"rare": limits})
            return train_and_report(request, report=report, debug=debug)
    except KeyboardInterrupt:  # before training began, or a second time
        console.say("charlm-train: interrupted; what may have been saved before is still there")
        return console.INTERRUPTED


def main() -> None:
    """Entry point of the command."""
    # Dropout gives cuDNN new weights in each step, which it has to put together: as intended.
    warnings.filterwarnings("ignore", message="RNN module weights are not part")
    console.run(app, "charlm-train")


if __name__ == "__main__":
    main()
