"""Speed along an axis: which axes, values and procedures there are, and their measuring."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.benchmarks import artifacts, lineup
from charlm.benchmarks.harness import machine, timing
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.benchmarks.harness.timing import Measured, Say
from charlm.benchmarks.lineup import Bound, Case
from charlm.benchmarks.report.results import (
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    Spread,
    SweepPoint,
    SweepResult,
    SweepSeries,
    rounded,
)

HIDDEN = "hidden"
PRECISION = "precision"
BITS = "bits per character"


@dataclass(frozen=True)
class Series:
    """One line: a procedure of `lineup.CASES`, at every value of the axis."""

    case: str
    title: str


@dataclass(frozen=True)
class Sweep:
    """Speed along one axis.

    Attributes:
        axis: the field of `CaseSettings` that changes.
        label: of the axis.
        quick: the values of a quick run.
        limits: of the machine, drawn as lines.
        cuda: needs a GPU, and so is measured where one takes part.
    """

    name: str
    title: str
    axis: str
    label: str
    values: tuple[int | str, ...]
    series: tuple[Series, ...]
    quick: tuple[int | str, ...]
    limits: tuple[str, ...] = (VECTOR_LIMIT, PRODUCT_LIMIT)
    cuda: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether the axis is one of powers of two; otherwise bits per character lie along it."""
        return self.axis != PRECISION

    def settings(self, case: Case, value: int | str, given: CaseSettings) -> CaseSettings:
        """What the worker of one point is told."""
        told = replace(case.settings(given), **{self.axis: value})  # type: ignore[arg-type]
        return self.at_size(told, value)

    def at_size(self, told: CaseSettings, value: int | str) -> CaseSettings:
        """The settings with the random model of the value's size, where the size is the axis."""
        if self.axis != HIDDEN:
            return told
        folder = f"{told.artifacts}/{artifacts.sized(int(value))}"
        return replace(told, model=f"{folder}/{artifacts.MODEL}", artifacts=folder)

    def needs(self, values: Iterable[int | str], slow: bool) -> tuple[str, ...]:
        """Files of `artifacts` that the points take."""
        if self.axis == HIDDEN:
            return tuple(artifacts.sized(int(value)) for value in values)
        cases = self.cases(slow)
        return tuple(name for case in cases for name in case.needs)

    def cases(self, slow: bool = True) -> list[Case]:
        """The procedures of its lines; without the slow ones where those are left out."""
        found = [lineup.case(each.case) for each in self.series]
        return [case for case in found if slow or not case.slow]

    def title_of(self, case: Case) -> str:
        """What a procedure's line is called here."""
        return next(each.title for each in self.series if each.case == case.name)


SWEEPS = (
    Sweep(
        "sweep_batch", "Speed against the number of texts side by side", "batch",
        "texts in one batch", tuple(2**n for n in range(11)),
        (
            Series("charlm_native_batch", "charlm"),
            Series("charlm_native_batch_int8", "charlm, int8"),
            Series("charlm_generate_batch", "charlm, portable graph"),
            Series("litert_batch", "LiteRT"),
            Series("openvino_batch", "OpenVINO"),
            Series("torch_batch", "Torch"),
        ),
        quick=(1, 64),
    ),
    Sweep(
        "sweep_cuda", "From how many texts on a GPU is faster", "batch", "texts in one batch",
        (1, 64, 512, 2112, 8448, 33792),
        (
            Series("charlm_native_cuda", "GPU"),
            Series("charlm_native_cuda_fp16", "GPU, fp16"),
            Series("charlm_batch_cores", "CPU, every core"),
            Series("charlm_batch_cores_int8", "CPU, every core, int8"),
        ),
        quick=(1, 2112),
        limits=(),
        cuda=True,
    ),
    Sweep(
        "sweep_steps", "Speed against the number of steps in one call", "steps",
        "steps in one call", tuple(2**n for n in range(10)),
        (
            Series("charlm_native", "one text"),
            Series("charlm_native_int8", "one text, int8"),
            Series("charlm_native_batch", "64 texts"),
            Series("charlm_native_batch_int8", "64 texts, int8"),
        ),
        quick=(1, 64),
    ),
    Sweep(
        "sweep_hidden", "Speed against the size of the model", HIDDEN, "units (random weights)",
        (64, 128, 192, 256, 512, 1024),
        (
            Series("charlm_native", "charlm, one text"),
            Series("charlm_native_batch", "charlm, 64 texts"),
            Series("charlm_step", "step loop, one text"),
            Series("litert_step", "LiteRT, one text"),
        ),
        quick=(64, 256),
    ),
    Sweep(
        "sweep_precision", "Speed against quality", PRECISION, BITS,
        ("float32", "int8"),
        (
            Series("charlm_native", "one text"),
            Series("charlm_native_batch", "64 texts"),
        ),
        quick=("float32", "int8"),
        limits=(),
    ),
)  # fmt: skip


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
