"""One training run from request to report, in one process or as one of several."""

import contextlib
import ctypes
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from rich.console import Console

from charlm.data.system.console import USER_ERROR
from charlm.data.system.errors import CharlmError, SettingsError, TrainingError
from charlm.data.text.corpus import Splits
from charlm.train.config import Options, check_names, options_said
from charlm.train.loop.display import Display, Observer, Unfailing, in_epochs, introduce
from charlm.train.loop.distributed import Group, LostRankError, joined_group, losses_explained
from charlm.train.loop.training import Trainer
from charlm.train.runs import run_folder
from charlm.train.runs.card import why_early
from charlm.train.runs.lock import FolderLock
from charlm.train.setup.start import RunRequest, Started, start

STOPPED_BY_SIGNAL = 128  # and above: with the signal's number
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
BLOCK, KEPT = 1 << 30, 2**31 - 1  # bytes: no block of a step is larger, nothing is given back


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
        options: settings; what is not named goes by the text's size (see `setup.defaults`).

    Raises:
        SettingsError: a setting that there is none of, or out of range.
        CorpusError: a text that can't be learnt from.
        RunError: the folder holds a run already, or can't be written.
        TrainingError: training diverged.
        KeyboardInterrupt: it was stopped by a signal, and saved.
    """
    check_names(options)
    paths = tuple(Path(text) for text in texts)
    folder, said = None if out is None else Path(out), options_said(options)
    with FolderLock() as lock:
        request = RunRequest(paths, folder, overwrite=overwrite, options=said, lock=lock)
        code = train_and_report(request, report=report)
    if code >= STOPPED_BY_SIGNAL:
        raise KeyboardInterrupt
    if code != 0:
        raise TrainingError("it did not end well: what was wrong is said on stderr")
    return run_folder.load_run(request.folder())


def train_and_report(request: RunRequest, *, report: bool = True, debug: bool = False) -> int:
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
        console = Console(
            stderr=True, soft_wrap=True, highlight=False, markup=False,
            force_terminal=sys.stderr.isatty(),  # or FORCE_COLOR has bars drawn into a file
        )  # fmt: skip
        with joined_group() as group:
            try:
                with _shortage_explained():
                    with losses_explained(group, lambda: "before training began: start them again"):
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


def start_together(request: RunRequest, group: Group) -> Started:
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


def keep_freed_memory() -> bool:
    """Make this process reuse freed memory instead of giving it back; it grows to its peak at most.

    Returns:
        Whether the C library did so; elsewhere than in glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no such function
        return False
    return bool(mallopt(MMAP_THRESHOLD, BLOCK)) and bool(mallopt(TRIM_THRESHOLD, KEPT))


def _take_gpu(request: RunRequest, group: Group) -> None:
    """Give every process of a machine a GPU of its own, if they are to use any."""
    on_cpu = request.options.get("device") == "cpu"
    if not group.from_first(lambda: not on_cpu and torch.cuda.is_available()):
        return
    there = torch.cuda.device_count()
    if group.any(group.local_size > there):
        raise SettingsError(
            "`device` cuda gives every process its own GPU, and a machine has fewer GPUs than "
            f"processes (rank 0's: {there} and {group.local_size}): start as many as it has with "
            "--nproc-per-node, or use `device` cpu"
        )
    torch.cuda.set_device(group.local_rank)


def _only(train: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> Splits:
    return Splits(train, train[:0], train[:0])


@contextlib.contextmanager
def _shortage_explained() -> Iterator[None]:
    """Where memory runs out in the block: one line on what takes less.

    Raises:
        TrainingError: it ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        # The CPU's allocator has no exception of its own.
        gone = isinstance(problem, (MemoryError, torch.OutOfMemoryError))
        if not gone and "allocate memory" not in str(problem):
            raise
        raise TrainingError(
            "memory ran out: choose a lower `batch_size`, `seq_len` or `hidden` "
            "(what was saved before is still there)"
        ) from problem


def _train(console: Console, started: Started, group: Group, resume: bool) -> int | None:
    """The exit code, or None of a run that was trained to its end just now."""
    folder = shlex.quote(str(started.folder))
    introduce(console, started, group.size)
    if resume and started.progress is None:
        console.print(f"{started.folder} held no run to go on with: this one begins")
    if started.progress is not None and started.progress.finished:
        report = run_folder.reports(started.folder)
        missing = "" if report else f"; it has no report: make one with: charlm-report {folder}"
        console.print(f"{started.folder} is finished already; its files were written anew{missing}")
        return 0
    with Display(console, started.folder) as display:
        code = _run(started, group, display)
    assert display.last is not None  # the first step of a run is to save it
    progress = display.last.progress
    if code is not None:
        run_folder.write(started.folder, display.last)
        console.print(
            f"stopped and saved at step {progress.step}; "
            f"go on with: charlm-train --resume --out {folder}",
        )
        return code
    ended = progress.best_epoch, progress.epoch
    best, read = (in_epochs(run_folder.read_epochs(progress, each)) for each in ended)
    if progress.step != progress.total_steps:
        reason = why_early(started.setup.training.patience)
        console.print(f"{started.folder}: ends early: {reason} (--patience)")
    console.print(
        f"{started.folder}: test {progress.test_bits:.3f} bits/char"
        f"{started.setup.rare.counted()} "
        f"(epoch {best} of {read}, {progress.seconds / 60:.1f} minutes)",
    )
    return None


def _help_train(started: Started, group: Group) -> int:
    """What a rank above 0 does: its share of each step, in silence."""
    if started.progress is not None and started.progress.finished:
        return 0
    with Observer() as observer:
        return _run(started, group, observer) or 0


def _run(started: Started, group: Group, observer: Observer) -> int | None:
    """The exit code of a run that was stopped and saved, or None of one trained to its end."""
    trainer = Trainer(started.setup, started.splits, started.progress, started.weights, group)
    observer.steps_an_epoch = len(trainer.batches)

    def where() -> str:
        again = f"--resume --out {shlex.quote(str(started.folder))}"
        return f"at step {trainer.progress.step}: go on from the last save with {again}"

    with losses_explained(group, where):
        if trainer.run(observer):
            return None
        return STOPPED_BY_SIGNAL + group.highest(observer.received or 0)


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
            if advice.command:
                console.print(f"  {advice.command}")
    except KeyboardInterrupt:
        console.print(f"{folder}: the report was left out; {again}")
    except Exception as problem:  # whatever it is, it must not cost the run
        if debug:
            raise
        reason = " ".join(str(problem).split()) or type(problem).__name__
        console.print(f"{folder}: no report: {reason}; {again}")
