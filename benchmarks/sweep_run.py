"""Running a sweep: every point a process of its own, all of them in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.benchmarks import artifacts, lineup, machine, timing
from charlm.benchmarks.results import (
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    SweepPoint,
    SweepResult,
    SweepSeries,
)
from charlm.benchmarks.rows import Bound, Case
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.spread import Spread, rounded
from charlm.benchmarks.sweeps import HIDDEN, Sweep
from charlm.benchmarks.timing import Measured, Say

LIMIT_TITLES = {VECTOR_LIMIT: "limit, one text", PRODUCT_LIMIT: "limit, many texts"}
Value = int | str


@dataclass(frozen=True)
class Effort:
    """How much is measured of each sweep.

    Attributes:
        quick: only the values of a quick run, and nothing that starts slowly.
    """

    rounds: int
    seconds: float
    quick: bool = False


def run(
    sweep: Sweep,
    settings: CaseSettings,
    effort: Effort,
    bits: Mapping[str, float | None],
    say: Say,
) -> SweepResult:
    """Measure a sweep.

    Args:
        sweep: what is measured.
        settings: of the run, its artifacts made.
        effort: how much of it.
        bits: bits per character by precision, for the axis of quality.
        say: where progress is told.
    """
    say(f"{sweep.title}:")
    points = _Points(sweep, settings, effort)
    measured = timing.measure(points.workers(), effort.rounds, effort.seconds, say)
    points.take(measured)
    series = [points.line_of(case, bits) for case in points.cases]
    series += [points.limit(limit) for limit in sweep.limits]
    return SweepResult(
        sweep.name, sweep.title, sweep.label, tuple(series), logarithmic=sweep.logarithmic
    )


class _Points:
    """The points of a sweep on their way from processes to lines."""

    def __init__(self, sweep: Sweep, settings: CaseSettings, effort: Effort) -> None:
        self.sweep, self.settings = sweep, settings
        self.values: Sequence[Value] = sweep.quick if effort.quick else sweep.values
        self.cases = sweep.cases(slow=not effort.quick)
        self.bounds = [
            bound
            for bound in lineup.LIMITS
            if bound.limit in sweep.limits and not (effort.quick and bound.slow)
        ]
        self.found: dict[tuple[str, Value], Measured] = {}

    def workers(self) -> list[timing.Worker]:
        return [
            timing.Worker(f"{name} at {value}", target, told, told.threads)
            for (name, value), (target, told) in self._jobs().items()
        ]

    def take(self, measured: Sequence[Measured]) -> None:
        self.found = dict(zip(self._jobs(), measured, strict=True))

    def line_of(self, case: Case, bits: Mapping[str, float | None]) -> SweepSeries:
        points = []
        for value in self.values:
            found = self.found[case.name, value]
            streams = self.sweep.settings(case, value, self.settings).batch
            x = float(value) if isinstance(value, int) else bits.get(value)
            points.append(_point(value, x, found, streams))
        return SweepSeries(case.name, self.sweep.title_of(case), tuple(points))

    def limit(self, limit: str) -> SweepSeries:
        """The best library's rate at each value, in characters of the model measured there."""
        points = []
        for value in self.values:
            told = self.sweep.at_size(self.settings, value)
            model = artifacts.read_info(Path(told.artifacts))
            ways = [
                _point(value, float(value), found, bound.characters(model))
                for bound in self.bounds
                if bound.limit == limit and (found := self._found_for(bound, value))
            ]
            points.append(max(ways, key=_median))
        return SweepSeries(limit, LIMIT_TITLES[limit], tuple(points))

    def _jobs(self) -> dict[tuple[str, Value], tuple[str, CaseSettings]]:
        """What each process runs and is told, by procedure or bound, and value."""
        cases = {
            (case.name, value): (case.target, self.sweep.settings(case, value, self.settings))
            for case in self.cases
            for value in self.values
        }
        bounds = {
            (bound.name, value): (bound.target, self.sweep.at_size(self.settings, value))
            for bound in self.bounds
            for value in (self.values if self._at_each(bound) else self.values[:1])
        }
        return cases | bounds

    def _at_each(self, bound: Bound) -> bool:
        """Whether a bound's matrices change with the value; otherwise it is measured once."""
        return self.sweep.axis == HIDDEN and bound.limit == VECTOR_LIMIT

    def _found_for(self, bound: Bound, value: Value) -> Measured:
        return self.found[bound.name, value if self._at_each(bound) else self.values[0]]


def _point(value: Value, x: float | None, found: Measured, factor: float) -> SweepPoint:
    reason = machine.reason(found.skipped)
    return SweepPoint(str(value), x, rounded(found.rates, factor), reason)


def _median(point: SweepPoint) -> float:
    spread = Spread.of(point.rates)
    return spread.median if spread else 0.0
