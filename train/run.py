"""One training run from request to report, shown on stderr."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from charlm.train import fine_tune, run_folder
from charlm.train.allocator import keep_freed_memory
from charlm.train.loop import Trainer
from charlm.train.progress import Display
from charlm.train.signals import StopSignals
from charlm.train.start import Request, Started, start


def train_and_report(request: Request, *, report: bool = True) -> int:
    """Start or resume a run, train it to its end or until a signal, and say what came of it.

    Args:
        request: what to train.
        report: make the report of a run that was trained to its end (see `charlm.train.report`).

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
    if report:
        _report(console, started, request.texts)
    console.print(f"next: charlm-export model.onnx --run {folder}")
    return 0


def _report(console: Console, started: Started, named: Sequence[Path]) -> None:
    """Make the run's report. The run is finished and saved: nothing that happens here is its."""
    folder = started.folder
    again = f"make it with: charlm-report {shlex.quote(str(folder))}"
    try:
        from charlm.train.report.output import Request as ReportRequest
        from charlm.train.report.output import make_report
        from charlm.train.report.sections import verdict

        console.print(f"{folder}: making the report (Ctrl-C leaves it out)")
        texts = named or [Path(name) for name in started.setup.files]
        wanted = ReportRequest(folder, texts, threads=started.setup.training.threads)
        with console.status("") as status:
            done = make_report(wanted, status.update)
        console.print(f"{done.page}: {verdict(done.evidence)}")
        for advice in done.evidence.advice[:1]:
            console.print(f"try next: {advice.what} ({advice.because})")
    except KeyboardInterrupt:
        console.print(f"{folder}: the report was left out; {again}")
    except Exception as problem:  # whatever it is, it must not cost the run
        reason = " ".join(str(problem).split()) or type(problem).__name__
        console.print(f"{folder}: no report: {reason}; {again}")


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
