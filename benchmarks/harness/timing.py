"""Cases in processes of their own, and trials that take turns."""

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from charlm.benchmarks.harness.machine import without_paths
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.benchmarks.harness.start import last_words, start
from charlm.data.system.package import command_of

PATIENCE = 120.0  # seconds for one answer; TensorFlow starts within a quarter of it
CALIBRATION = 0.2  # a warm-up trial this share of a real one tells its rate well enough
Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """A case's trials, or why there are none."""

    units: int = 0  # units of work in each trial
    rates: tuple[float, ...] = ()  # units a second, one for each round
    peak_bytes: int | None = None
    skipped: str | None = None


class Worker:
    """A case in a process of its own (see `worker` for what the two say to one another).

    Args:
        settings: what it is told; it is pinned to as many cores as it has threads.
        least: units of a trial, however long they take.
    """

    def __init__(self, name: str, target: str, settings: CaseSettings, least: int = 1) -> None:
        self.name, self.least = name, least
        module = "charlm.benchmarks.harness.worker"
        self._command = command_of(module, target, settings.to_json())
        self._cores = settings.threads
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None

    def start(self) -> None:
        """Start the process and wait until the case is prepared.

        Raises:
            CaseFailedError: with the reason that the case gave.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _close
        self._process = start(
            self._command,
            self._cores,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self._answer("ready")

    def trial(self, units: int) -> float:
        """Have it do `units` units of work; the seconds that it took, by its own clock.

        Raises:
            CaseFailedError: it failed or died.
        """
        self._ask(do="trial", units=units)
        return float(self._answer("done")["seconds"])

    def end(self) -> int | None:
        """End the process; the peak of its memory in bytes, None if it had failed."""
        try:
            self._ask(do="end")
            peak: int | None = self._answer("ended")["peak_bytes"]
        except CaseFailedError:
            peak = None
        self._close()
        return peak

    def _ask(self, **request: object) -> None:
        if self._process is None or self._process.stdin is None:
            raise CaseFailedError("it is not running")
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as problem:
            raise CaseFailedError(self._last_words()) from problem

    def _answer(self, expected: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        clock = threading.Timer(PATIENCE, self._process.kill)
        clock.start()
        try:
            line = self._process.stdout.readline()
        finally:
            clock.cancel()
        message = json.loads(line) if line else {"event": "died"}
        if message["event"] == expected:
            return dict(message)
        reason = message.get("reason") or self._last_words()
        self._close()
        raise CaseFailedError(reason)

    def _last_words(self) -> str:
        assert self._process is not None
        return last_words(self._process.wait(), self._errors)

    def _close(self) -> None:
        """Make sure that nothing of the process is left; it has said all that it had to."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError), process:  # closes the pipes and waits
                pass
        if self._errors is not None:
            self._errors.close()
            self._errors = None


def measure(cases: Sequence[Worker], rounds: int, seconds: float, say: Say) -> list[Measured]:
    """Time cases in turns, A B C A B C ..., after a warm-up of each.

    Only one works at a time. A case that fails is left out from then on, and its result holds
    the reason in place of numbers.
    """
    units: dict[Worker, int] = {}
    rates: dict[Worker, list[float]] = {case: [] for case in cases}
    skipped: dict[Worker, str] = {}

    @contextlib.contextmanager
    def skipping(case: Worker) -> Iterator[None]:
        try:
            yield
        except CaseFailedError as problem:
            skipped[case] = without_paths(str(problem))
            say(f"{case.name} skipped: {problem}")

    try:
        for case in cases:
            with skipping(case):
                case.start()
                units[case] = calibrate(case, seconds)
                say(f"{case.name}: {units[case]:,} a trial")
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for case in units:
                if case not in skipped:
                    with skipping(case):
                        rates[case].append(units[case] / case.trial(units[case]))
    finally:
        peaks = [case.end() for case in cases]
    return [
        Measured(skipped=skipped[case])
        if case in skipped
        else Measured(units[case], tuple(rates[case]), peak)
        for case, peak in zip(cases, peaks, strict=True)
    ]


def calibrate(case: Worker, seconds: float) -> int:
    """Warm a case up with trials that grow; the units that take about `seconds`, or its least."""
    units = 1
    case.trial(units)  # first calls allocate, choose kernels, compile
    taken = case.trial(units)
    while taken < CALIBRATION * seconds:
        units *= 2
        taken = case.trial(units)
    return max(case.least, round(units * seconds / taken))
