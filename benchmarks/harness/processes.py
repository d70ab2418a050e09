"""Whole processes, measured from outside: spawn to first byte and to end, memory on the way."""

import codecs
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from charlm.benchmarks.harness import pinning
from charlm.benchmarks.harness.settings import PROMPT, CaseFailedError, CaseSettings
from charlm.benchmarks.harness.timing import Say

KILOBYTE = 1024


def own_peak() -> int | None:
    """The most memory that this process has held, in bytes; None where it can't be told."""
    peak = _status("self", "VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:
        return None
    return peak_of_usage(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_of_usage(maximum: int) -> int:
    """`ru_maxrss` in bytes: macOS counts bytes, the others kilobytes."""
    return maximum if sys.platform == "darwin" else maximum * KILOBYTE


def resident(pid: int) -> int | None:
    """The memory that a running process holds now, in bytes; None where it can't be told."""
    if Path("/proc/self/status").exists():
        return _status(str(pid), "VmRSS")
    try:
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        return None
    return int(shown) * KILOBYTE if shown.isdecimal() else None


def _status(pid: str, key: str) -> int | None:
    """A field of Linux's `/proc/PID/status`; a process that has ended has none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields: Mapping[str, str] = dict(
        line.split(":", 1) for line in lines.splitlines() if ":" in line
    )
    return int(fields[key].split()[0]) * KILOBYTE if key in fields else None


CHUNK = 1 << 16
EARLY = 1000  # characters after which memory should not grow
SAMPLES = 20  # looks at the memory on the way to the end


@dataclass(frozen=True)
class Process:
    """A command to measure.

    Attributes:
        case: the procedure whose first character it writes, if it is one of those.
        rounds: at most so many, for what takes long to start; None: all.
        cores: how many it is pinned to; 0: all.
    """

    name: str
    title: str
    command: tuple[str, ...]
    case: str | None = None
    rounds: int | None = None
    cores: int = 1


@dataclass(frozen=True)
class Once:
    """One run of a process."""

    first_byte: float | None  # seconds; None if it wrote nothing
    seconds: float
    peak_bytes: int | None


@dataclass(frozen=True)
class ProcessTimes:
    """A process's runs, one for each round, or why there are none."""

    name: str
    first_byte: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    peak_bytes: int | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class Flatness:
    """The memory of one long text, in bytes, or why it was not measured."""

    characters: int
    early_bytes: int | None = None  # after the first thousand characters
    late_bytes: int | None = None  # the last look before the end, at `late_characters`
    late_characters: int = 0
    peak_bytes: int | None = None  # of the whole life of the process
    skipped: str | None = None


def python(code: str) -> tuple[str, ...]:
    """A command that runs a line of Python."""
    return (sys.executable, "-c", code)


def charlm_gen(settings: CaseSettings, length: int) -> tuple[str, ...]:
    """`charlm-gen` as its installed script starts it."""
    return (
        *python("from charlm.infer.cli_gen import main; main()"),
        PROMPT, "--no-echo", "--unknown", "drop", "--length", str(length),
        "--seed", str(settings.seed), "--model", settings.model, "--provider", settings.provider,
        "--threads", str(settings.threads),
    )  # fmt: skip


def first_character(target: str, settings: CaseSettings) -> tuple[str, ...]:
    """A process that prepares a case, prints its first character and ends."""
    module = "charlm.benchmarks.harness.worker"
    return (sys.executable, "-m", module, "--first", target, settings.to_json())


def run_once(process: Process) -> Once:
    """Run a process to its end.

    Raises:
        CaseFailedError: it ended with an error; the message has its last line.
    """
    with tempfile.TemporaryFile() as errors, pinning.pinned(process.cores):
        begun = time.perf_counter()
        with _start(process, errors) as child:
            output = os.read(child.stdout.fileno(), CHUNK)
            first = time.perf_counter() - begun if output else None
            while more := os.read(child.stdout.fileno(), CHUNK):
                output += more
            peak = _wait(child)
            seconds = time.perf_counter() - begun
        if child.returncode:
            raise CaseFailedError(_last_words(child.returncode, output, errors))
    return Once(first, seconds, peak)


def measure(processes: Sequence[Process], rounds: int, say: Say) -> list[ProcessTimes]:
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
                once = run_once(process)
            except CaseFailedError as problem:
                skipped[process.name] = str(problem)
                say(f"{process.name} skipped: {problem}")
                continue
            if number:
                runs[process.name].append(once)
    return [_times(process.name, runs[process.name], skipped) for process in processes]


def flatness(settings: CaseSettings, characters: int) -> Flatness:
    """Watch the memory of `charlm-gen --length characters` from its first to its last character."""
    if resident(os.getpid()) is None:
        return Flatness(characters, skipped="this system does not tell a process's memory")
    process = Process("memory", "", charlm_gen(settings, characters), cores=settings.threads)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    looks: list[tuple[int, int]] = []
    seen, due = 0, EARLY
    with (
        tempfile.TemporaryFile() as errors,
        pinning.pinned(process.cores),
        _start(process, errors) as child,
    ):
        while chunk := os.read(child.stdout.fileno(), CHUNK):
            seen += len(decoder.decode(chunk))
            if seen >= due and (now := resident(child.pid)) is not None:
                looks.append((seen, now))
                due = min(seen + characters // SAMPLES, max(characters, seen + 1))
        peak = _wait(child)
        if child.returncode or not looks:
            reason = _last_words(child.returncode or 0, b"", errors)
            return Flatness(characters, skipped=reason)
    return Flatness(characters, looks[0][1], looks[-1][1], looks[-1][0], peak)


def _start(process: Process, errors: IO[bytes]) -> Any:
    return subprocess.Popen(
        process.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=pinning.environment(process.cores),
    )


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


def _last_words(code: int, output: bytes, errors: IO[bytes]) -> str:
    errors.seek(0)
    said = [line for line in (output + errors.read()).decode(errors="replace").splitlines() if line]
    return f"its process ended with code {code}" + (f": {said[-1]}" if said else "")


def _times(name: str, runs: Sequence[Once], skipped: dict[str, str]) -> ProcessTimes:
    if name in skipped:
        return ProcessTimes(name, skipped=skipped[name])
    peaks = [once.peak_bytes for once in runs if once.peak_bytes is not None]
    return ProcessTimes(
        name,
        tuple(once.first_byte for once in runs if once.first_byte is not None),
        tuple(once.seconds for once in runs),
        max(peaks, default=None),
    )
