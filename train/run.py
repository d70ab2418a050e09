"""One training run from request to report, shown on stderr."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from rich.console import Console

from charlm.data.system.console import USER_ERROR
from charlm.data.system.errors import CharlmError, SettingsError, TrainingError
from charlm.data.text.corpus import Splits
from charlm.train import report as report_files
from charlm.train.config import regularisation
from charlm.train.distributed import Group, LostRankError, joined_group, losses_explained
from charlm.train.loop import Trainer
from charlm.train.memory import keep_freed_memory, shortage_explained
from charlm.train.observer import Observer, Silent
from charlm.train.progress import Display, Unfailing
from charlm.train.runs import run_folder
from charlm.train.runs.lock import FolderLock
from charlm.train.setup import fine_tune
from charlm.train.setup.request import Options
from charlm.train.setup.start import Request, Started, folder_of, start
from charlm.train.signals import StopSignals


def start_together(request: Request, group: Group) -> Started:
    """What `start` gives; on ranks above 0 the splits hold the training part only.

    Raises:
        FirstRankError: rank 0 could not start; there `start`'s own error is raised.
        SettingsError: a machine has fewer GPUs than processes.
    """
    if group.size == 1:
        return start(request)
    _take_gpu(request, group)
    here: list[Started] = []

    def begin() -> Started:
        here.append(start(replace(request, processes=group.size)))
        return replace(here[0], splits=_only(np.empty(0, np.uint8)))

    told = group.from_first(begin)
    ids = group.ids_from_first(lambda: here[0].splits.train)
    return here[0] if here else replace(told, splits=_only(ids))


def _take_gpu(request: Request, group: Group) -> None:
    """Give every process of a machine a GPU of its own, if they are to use any."""
    wanted = (request.options or {}).get("device") or "auto"
    if not group.from_first(lambda: wanted != "cpu" and torch.cuda.is_available()):
        return
    there = torch.cuda.device_count()
    if group.any(group.local_size > there):
        raise SettingsError(
            "--device cuda gives every process its own GPU, and a machine has fewer GPUs than "
            f"processes (rank 0's: {there} and {group.local_size}): start as many as it has with "
            "--nproc-per-node, or use --device cpu"
        )
    torch.cuda.set_device(group.local_rank)


def _only(train: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> Splits:
    return Splits(train, train[:0], train[:0])


STOPPED_BY_SIGNAL = 128  # and above: with the signal's number


def train(
    *texts: str | Path,
    out: str | Path | None = None,
    overwrite: bool = False,
    report: bool = False,
    **options: Unpack[Options],
) -> run_folder.Run:
    """Train a model on texts in this process alone, shown on stderr, and return it.

    Args:
        texts: files; none for the corpus that ships.
        out: the run folder; None for `runs/<name of the first text>`.
        overwrite: throw away the run that stands there.
        report: make the report of the run too.
        options: settings; what is not named goes by the text's size (see `scale`).

    Raises:
        SettingsError: an option out of range.
        CorpusError: a text that can't be learnt from.
        RunError: the folder holds a run already, or can't be written.
        TrainingError: training diverged.
        KeyboardInterrupt: it was stopped by a signal, and saved.
    """
    paths = tuple(Path(text) for text in texts)
    folder = None if out is None else Path(out)
    with FolderLock() as lock:
        request = Request(paths, folder, overwrite=overwrite, options={**options}, lock=lock)
        code = train_and_report(request, report=report)
    if code >= STOPPED_BY_SIGNAL:
        raise KeyboardInterrupt
    if code != 0:
        raise TrainingError("it did not end well: what was wrong is said on stderr")
    return run_folder.load_run(folder_of(request))


def train_and_report(request: Request, *, report: bool = True, debug: bool = False) -> int:
    """Start or resume a run, train it to its end or until a signal, and say what came of it.

    Under torchrun this is one of several processes, of which the first does the talking.

    Args:
        request: what to train.
        report: make the report of a run that was trained to its end (see `charlm.train.report`).
        debug: raise what the report's making raises.

    Returns:
        The exit code: 0, or 128 + the signal that stopped it.
    """
    with contextlib.redirect_stderr(Unfailing(sys.stderr)):
        return _train_and_report(request, report, debug)


def _train_and_report(request: Request, report: bool, debug: bool) -> int:
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    with joined_group() as group:
        try:
            with losses_explained(group, lambda: "before training began: start all of them again"):
                started = start_together(request, group)
                keep_freed_memory()
                if not group.first:
                    return _help_train(started, group)
                code = _train(console, started, group, request.resume)
        except LostRankError:
            raise
        except CharlmError:
            if group.first:
                raise
            return USER_ERROR
    if code is not None:
        return code
    if report:  # now that no other process waits for this one
        _report(console, started, request.texts, debug)
    console.print(f"next: charlm-export model.onnx --run {shlex.quote(str(started.folder))}")
    return 0


def _train(console: Console, started: Started, group: Group, resume: bool) -> int | None:
    """The exit code, or None of a run that was trained to its end just now."""
    folder = shlex.quote(str(started.folder))
    _introduce(console, started, group)
    if resume and started.progress is None:
        console.print(f"{started.folder} held no run to go on with: this one begins")
    if started.progress is not None and started.progress.finished:
        report = (started.folder / report_files.PAGE).exists()
        missing = "" if report else f"; it has no report: make one with: charlm-report {folder}"
        console.print(f"{started.folder} is finished already; its files were written anew{missing}")
        return 0
    with StopSignals() as signals, Display(console, started.folder, signals) as display:
        code = _run(started, group, display, signals)
    assert display.last is not None  # the first step of a run is to save it
    progress = display.last.progress
    if code is not None:
        run_folder.write(started.folder, display.last)
        console.print(
            f"stopped and saved at step {progress.step}; "
            f"go on with: charlm-train --resume --out {folder}",
        )
        return code
    console.print(
        f"{started.folder}: test {progress.test_bits:.3f} bits/char"
        f"{started.setup.rare.counted()} "
        f"(epoch {progress.best_epoch} of {progress.epoch}, {progress.seconds / 60:.1f} minutes)",
    )
    return None


def _help_train(started: Started, group: Group) -> int:
    """What a rank above 0 does: its share of each step, in silence."""
    if started.progress is not None and started.progress.finished:
        return 0
    with StopSignals() as signals:
        return _run(started, group, Silent(signals), signals) or 0


def _run(started: Started, group: Group, observer: Observer, signals: StopSignals) -> int | None:
    """The exit code of a run that was stopped and saved, or None of one trained to its end."""
    folder = shlex.quote(str(started.folder))
    with shortage_explained():
        trainer = Trainer(started.setup, started.splits, started.progress, started.weights, group)

    def where() -> str:
        step = trainer.progress.step
        return f"at step {step}: go on from the last save with --resume --out {folder}"

    with shortage_explained(), losses_explained(group, where):
        if trainer.run(observer):
            return None
        return STOPPED_BY_SIGNAL + group.highest(signals.received or 0)


def _report(console: Console, started: Started, named: Sequence[Path], debug: bool) -> None:
    """Make the run's report. The run is finished and saved: nothing that happens here is its."""
    folder = started.folder
    again = f"make it with: charlm-report {shlex.quote(str(folder))}"
    try:
        from charlm.train.report.output import ReportRequest, make_report
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
        if debug:
            raise
        reason = " ".join(str(problem).split()) or type(problem).__name__
        console.print(f"{folder}: no report: {reason}; {again}")


def _introduce(console: Console, started: Started, group: Group) -> None:
    setup, splits = started.setup, started.splits
    training, model = setup.training, setup.model
    threads = "1 thread" if training.threads == 1 else f"{training.threads} threads"
    again = "" if started.progress is None else f", resumed at step {started.progress.step}"
    held_back = "".join(f", {each}" for each in regularisation(model, training.weight_decay))
    together = "" if group.size == 1 else f" in each of {group.size} processes"
    console.print(
        f"{started.folder}: {sum(map(len, splits)):,} characters, {model.vocabulary} distinct; "
        f"{model.layers} x LSTM({model.hidden}){held_back}, recipe {training.recipe}, "
        f"{training.device}, {threads}{together}{again}",
    )
    if limited := setup.rare.described(model.vocabulary):
        console.print(f"{started.folder}: {limited}")
    if started.weights is not None:
        console.print(
            f"{started.folder}: {fine_tune.described(setup, started.weights, splits.validation)}"
        )
