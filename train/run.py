"""One training run from request to report, shown on stderr."""

import shlex

from rich.console import Console

from charlm.train import fine_tune, run_folder
from charlm.train.allocator import keep_freed_memory
from charlm.train.loop import Trainer
from charlm.train.progress import Display
from charlm.train.signals import StopSignals
from charlm.train.start import Request, Started, start


def train_and_report(request: Request) -> int:
    """Start or resume a run, train it to its end or until a signal, and say what came of it.

    Returns:
        The exit code: 0, or 128 + the signal that stopped it.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    started = start(request)
    keep_freed_memory()
    folder = shlex.quote(str(started.folder))
    _introduce(console, started)
    if started.progress is not None and started.progress.finished:
        console.print(f"{started.folder} is finished already; its files were written anew")
        return 0
    with StopSignals() as signals, Display(console, started.folder, signals) as display:
        trainer = Trainer(started.setup, started.splits, started.progress, started.weights)
        finished = trainer.run(display)
    assert display.last is not None  # the first step of a run is to save it
    progress = display.last.progress
    if not finished:
        run_folder.write(started.folder, display.last)
        console.print(
            f"stopped and saved at step {progress.step}; "
            f"go on with: charlm-train --resume --out {folder}",
        )
        return 128 + (signals.received or 0)
    console.print(
        f"{started.folder}: test {progress.test_bits:.3f} bits/char"
        f"{started.setup.rare.counted()} "
        f"(epoch {progress.best_epoch} of {progress.epoch}, {progress.seconds / 60:.1f} minutes)",
    )
    console.print(f"next: charlm-export model.onnx --run {folder}")
    return 0


def _introduce(console: Console, started: Started) -> None:
    setup, splits = started.setup, started.splits
    training, model = setup.training, setup.model
    again = "" if started.progress is None else f", resumed at step {started.progress.step}"
    console.print(
        f"{started.folder}: {sum(map(len, splits)):,} characters, {model.vocabulary} distinct; "
        f"{model.layers} x LSTM({model.hidden}), recipe {training.recipe}, "
        f"{training.device}, {training.threads} threads{again}",
    )
    if limited := setup.rare.described(model.vocabulary):
        console.print(f"{started.folder}: {limited}")
    if started.weights is not None:
        console.print(
            f"{started.folder}: {fine_tune.described(setup, started.weights, splits.validation)}"
        )
