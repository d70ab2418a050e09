"""The harness: cases in processes of their own, and trials that take turns."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from charlm.benchmarks.harness import pinning
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings

PATIENCE = 300.0  # seconds for one answer; TensorFlow starts within a tenth of it
CALIBRATION = 0.2  # a warm-up trial this share of a real one tells its rate well enough
Say = Callable[[str], None]


class Trialler(Protocol):
    """Something that can be timed in turns; `Worker` is one."""

    name: str
    least: int  # units of a trial

    def start(self) -> None:
        """Get ready; CaseFailedError if that can't be done here."""

    def trial(self, units: int) -> float:
        """Do so many units of work; the seconds taken."""

    def end(self) -> int | None:
        """Stop; the peak of its memory in bytes, if known."""


@dataclass(frozen=True)
class Measured:
    """A case's trials, or why there are none.

    Attributes:
        units: units of work in each trial.
        rates: units a second, one for each round.
    """

    name: str
    units: int = 0
    rates: tuple[float, ...] = ()
    peak_bytes: int | None = None
    skipped: str | None = None


class Worker:
    """A case in a process of its own (see `worker` for what the two say to one another).

    Args:
        name: of the case.
        target: `module` or `module:function` that prepares it.
        settings: what it is told.
        cores: how many it is pinned to; 0: all.
        least: units of a trial, however long they take.
    """

    def __init__(
        self, name: str, target: str, settings: CaseSettings, cores: int = 1, least: int = 1
    ) -> None:
        self.name, self.least = name, least
        self._command = [
            sys.executable, "-m", "charlm.benchmarks.harness.worker", target, settings.to_json()
        ]  # fmt: skip
        self._cores = cores
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None

    def start(self) -> None:
        """Start the process and wait until the case is prepared.

        Raises:
            CaseFailedError: with the reason that the case gave.
        """
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115 - closed in _close
            "w+", encoding="utf-8", errors="replace"
        )
        with pinning.pinned(self._cores):
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env=pinning.environment(self._cores),
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
        """Why the process died, as far as its code and its last line on stderr tell."""
        assert self._process is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return f"its process ended with code {code}" + (f": {lines[-1]}" if lines else "")

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


def measure(cases: Sequence[Trialler], rounds: int, seconds: float, say: Say) -> list[Measured]:
    """Time cases in turns, A B C A B C ..., after a warm-up of each.

    Only one works at a time. A case that fails is left out from then on, and its result holds
    the reason in place of numbers.

    Args:
        cases: what to time, not yet started.
        rounds: trials of each.
        seconds: how long one trial should last.
        say: where progress is told.
    """
    turns = [_Turns(case, say) for case in cases]
    try:
        for each in turns:
            each.warm_up(seconds)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for each in turns:
                each.take()
    finally:
        peaks = [case.end() for case in cases]
    return [each.result(peak) for each, peak in zip(turns, peaks, strict=True)]


class _Turns:
    """One case on its way through the rounds."""

    def __init__(self, case: Trialler, say: Say) -> None:
        self.case = case
        self.say = say
        self.units = 0
        self.rates: list[float] = []
        self.skipped: str | None = None

    def warm_up(self, seconds: float) -> None:
        with self._failing():
            self.case.start()
            self.units = calibrate(self.case, seconds)
            self.say(f"{self.case.name}: {self.units:,} a trial")

    def take(self) -> None:
        if self.skipped is None:
            with self._failing():
                self.rates.append(self.units / self.case.trial(self.units))

    def result(self, peak: int | None) -> Measured:
        if self.skipped is not None:
            return Measured(self.case.name, skipped=self.skipped)
        return Measured(self.case.name, self.units, tuple(self.rates), peak)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except CaseFailedError as problem:
            self.skipped = str(problem)
            self.say(f"{self.case.name} skipped: {problem}")


def calibrate(case: Trialler, seconds: float) -> int:
    """Warm a case up with trials that grow; the units that take about `seconds`, or its least."""
    units = 1
    case.trial(units)  # first calls allocate, choose kernels, compile
    taken = case.trial(units)
    while taken < CALIBRATION * seconds:
        units *= 2
        taken = case.trial(units)
    return max(case.least, round(units * seconds / taken))
