"""`charlm-train`: parse, start, train, report."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.extras import require_there
from charlm.data.text.rare import ALPHABETS, MAX_VOCABULARY, MIN_COUNT, RareSettings
from charlm.train.config import ADAM_LR, TrainingConfig
from charlm.train.setup.scale import (
    DECAY,
    DROPOUT,
    ENOUGH,
    FINE_TUNING,
    MOST,
    MOST_DECAY,
    MOST_LARGE,
    OFTEN,
    OWN,
    READ,
    REPAID,
    REPAID_PASSES,
)

DEFAULTS = TrainingConfig()
app = console.make_app()


@app.command()
def train(
    texts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TEXT]...", help="Text files; without any, the corpus that ships."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/<name of the text>")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="stateful or notebook.", show_default=DEFAULTS.recipe)
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the text.",
            show_default=f"{READ // 10**6} million characters in all, at most {OFTEN} passes; "
            f"of a short text {ENOUGH // 10**6} million, at most {MOST} passes; with thousands of "
            f"distinct characters at most {MOST_LARGE}; notebook 10",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="A budget of time, instead of a number of epochs.")
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden units.", show_default="192")] = None,
    layers: Annotated[int | None, typer.Option(help="LSTM layers.", show_default="1")] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            help="Dropout of the weights between hidden units.",
            show_default=f"{DROPOUT} where there is a recurrent weight for each character, "
            f"in proportion less; less in fewer than {REPAID_PASSES} passes and "
            f"{REPAID // 10**6} million characters, notebook 0",
        ),
    ] = None,
    output_dropout: Annotated[
        float | None,
        typer.Option(
            help="Dropout of the weights from hidden units to characters.",
            show_default=f"{DROPOUT} where characters have an own weight for each {OWN} characters "
            "of text, in proportion less; less in few passes likewise, notebook 0",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="Share of itself that a matrix loses in a step, times the learning rate.",
            show_default=f"{DECAY} where characters have an own weight for each character of text, "
            f"otherwise in proportion, at most {MOST_DECAY}, notebook 0",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Streams or windows a step, of all processes.", show_default="16, notebook 192"
        ),
    ] = None,
    seq_len: Annotated[
        int | None,
        typer.Option(help="Characters that gradients reach back.", show_default="96, notebook 40"),
    ] = None,
    optimiser: Annotated[
        str | None,
        typer.Option(
            help="muon (for matrices between hidden units, Adam for the rest) or adam.",
            show_default=f"{DEFAULTS.optimiser}, notebook adam",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate of Adam.",
            show_default=f"{DEFAULTS.lr:g}, with adam alone {ADAM_LR:g}, notebook 0.001",
        ),
    ] = None,
    muon_lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of Muon.", show_default=f"{DEFAULTS.muon_lr:g}"),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest norm of the gradient.", show_default="1.0")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a better validation; 0: never.",
            show_default=str(DEFAULTS.patience),
        ),
    ] = None,
    final: Annotated[
        bool | None,
        typer.Option("--final", help="Learn from the first 95 %; nothing chooses the epoch."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights and order.", show_default="0")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")
    ] = None,
    autocast: Annotated[
        str | None,
        typer.Option(
            help="bf16 on a GPU (cuDNN's LSTM then has fp16), or none.", show_default="none"
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            help="How a step is run: eager, compiled (torch.compile), or as a CUDA graph.",
            metavar="eager|compiled|graph",
            show_default=DEFAULTS.step,
        ),
    ] = None,
    tf32: Annotated[
        bool | None, typer.Option("--tf32", help="TF32 products on a GPU.", show_default="off")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads of each process; two make 1.5 on free cores, half on busy.",
            show_default=str(DEFAULTS.threads),
        ),
    ] = None,
    case: Annotated[str | None, typer.Option(help="keep, or lower.", show_default="keep")] = None,
    newlines: Annotated[
        str | None, typer.Option(help="keep, drop, or space.", show_default="keep")
    ] = None,
    nfc: Annotated[
        bool | None, typer.Option(help="Compose accents (Unicode NFC).", show_default="nfc")
    ] = None,
    rare: Annotated[
        str | None,
        typer.Option(
            help="What becomes of rare characters, here and in prompts: replace (by U+FFFD), drop, "
            "error, or the character to put there.",
            show_default="replace, where there are some",
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(
            help="A character is rare that occurs less often in the part that is learnt from.",
            show_default=f"{MIN_COUNT} where over {ALPHABETS} are distinct, else 0",
        ),
    ] = None,
    max_vocabulary: Annotated[
        int | None,
        typer.Option(
            help="Characters beyond so many most frequent ones are rare, too; 0: no limit.",
            show_default=str(MAX_VOCABULARY),
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the text files.", show_default="utf-8")
    ] = None,
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
    del version
    options = {
        "recipe": recipe, "epochs": epochs, "minutes": minutes, "hidden": hidden,
        "layers": layers, "dropout": dropout, "output_dropout": output_dropout,
        "weight_decay": weight_decay, "batch_size": batch_size, "seq_len": seq_len,
        "optimiser": optimiser, "lr": lr, "muon_lr": muon_lr, "clip": clip,
        "patience": patience, "final": final, "seed": seed, "device": device, "threads": threads,
        "autocast": autocast, "step": step, "tf32": tf32,
    }  # fmt: skip
    require_there("train", "torch", "safetensors", "matplotlib")
    try:
        from charlm.train.run import train_and_report
        from charlm.train.runs.lock import FolderLock
        from charlm.train.setup.start import Request

        request = Request(
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
        )
        with FolderLock() as lock:
            return train_and_report(replace(request, lock=lock), report=report, debug=debug)
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
