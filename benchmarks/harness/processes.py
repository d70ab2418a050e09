"""Whole processes, measured from outside: spawn to first byte and to end, and memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.benchmarks.harness.machine import without_paths
from charlm.benchmarks.harness.settings import PROMPT, CaseFailedError, CaseSettings
from charlm.benchmarks.harness.start import last_words, own_peak, peak_of_usage, start
from charlm.benchmarks.harness.timing import Say
from charlm.benchmarks.report.results import ProcessResult, rounded
from charlm.data.system.package import command_of

CHUNK = 1 << 16


@dataclass(frozen=True)
class Process:
    """A command to measure."""

    name: str
    title: str
    command: tuple[str, ...]
    case: str | None = None  # the procedure whose first character it writes, if it is one of those
    rounds: int | None = None  # at most so many, for what takes long to start; None: all
    cores: int = 1  # how many it is pinned to; 0: all


@dataclass(frozen=True)
class Once:
    """One run of a process."""

    output: bytes
    first_byte: float | None  # seconds; None if it wrote nothing
    seconds: float
    peak_bytes: int | None


def python(code: str) -> tuple[str, ...]:
    """A command that runs a line of Python."""
    return (sys.executable, "-P", "-c", code)


def charlm_gen(settings: CaseSettings, length: int) -> tuple[str, ...]:
    """`charlm-gen` as its installed script starts it."""
    return (
        *python("from charlm.infer.cli.gen import main; main()"),
        PROMPT, "--no-echo", "--unknown", "drop", "--length", str(length),
        "--seed", str(settings.seed), "--model", settings.model, "--provider", settings.provider,
        "--threads", str(settings.threads),
    )  # fmt: skip


def charlm_score(
    settings: CaseSettings, precision: str, provider: str, text: Path
) -> tuple[str, ...]:
    """`charlm-score` of a text, as JSON."""
    return (
        *python("from charlm.infer.cli.score import main; main()"),
        str(text), "--json", "--unknown", "drop", "--precision", precision,
        "--model", settings.model, "--provider", provider, "--threads", str(settings.threads),
    )  # fmt: skip


def first_character(target: str, settings: CaseSettings) -> tuple[str, ...]:
    """A process that prepares a case, prints its first character and ends."""
    module = "charlm.benchmarks.harness.worker"
    return tuple(command_of(module, "--first", target, settings.to_json()))


def run_once(command: Sequence[str], cores: int = 1) -> Once:
    """Run a process to its end.

    Raises:
        CaseFailedError: it ended with an error; the message has its last line.
    """
    with tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        with start(
            command, cores, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as child:
            output = os.read(child.stdout.fileno(), CHUNK)
            first = time.perf_counter() - begun if output else None
            while more := os.read(child.stdout.fileno(), CHUNK):
                output += more
            peak = _wait(child)
            seconds = time.perf_counter() - begun
        if child.returncode:
            raise CaseFailedError(last_words(child.returncode, errors))
    return Once(output, first, seconds, peak)


def measure(processes: Sequence[Process], rounds: int, say: Say) -> tuple[ProcessResult, ...]:
    """Run processes in turns, A B C A B C ..., after one run of each that does not count.

    The first run fills the disk cache; it also finds what can't run here.
    """
    skipped: dict[str, str] = {}
    runs: dict[str, list[Once]] = {process.name: [] for process in processes}
    for number in range(rounds + 1):
        say(f"whole processes, round {number} of {rounds}" if number else "whole processes")
        for process in processes:
            limit = rounds if process.rounds is None else process.rounds
            if process.name in skipped or number > limit:
                continue
            try:
                once = run_once(process.command, process.cores)
            except CaseFailedError as problem:
                skipped[process.name] = without_paths(str(problem))
                say(f"{process.name} skipped: {problem}")
                continue
            if number:
                runs[process.name].append(once)
    return tuple(_result(each, runs[each.name], skipped.get(each.name)) for each in processes)


def _result(process: Process, runs: Sequence[Once], skipped: str | None) -> ProcessResult:
    if skipped is not None:
        return ProcessResult(process.name, process.title, process.case, skipped=skipped)
    first = rounded([once.first_byte for once in runs if once.first_byte is not None])
    peak = max((once.peak_bytes for once in runs if once.peak_bytes is not None), default=None)
    seconds = rounded([once.seconds for once in runs])
    return ProcessResult(process.name, process.title, process.case, first, seconds, peak)


def _wait(child: Any) -> int | None:
    """Wait for the end of a process; the peak of its memory in bytes where the system tells it.

    Linux counts what the child had of its parent's memory before it became its own program: a
    peak no higher than the parent's says nothing.
    """
    if not hasattr(os, "wait4"):
        child.wait()
        return None
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = peak_of_usage(usage.ru_maxrss)
    own = own_peak()
    return None if own is not None and peak <= own else peak
