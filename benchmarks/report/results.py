"""What was measured, piece by piece, with its spread, in the form that the JSON of a report has."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

WIDE_QUARTILES = 0.15  # the middle half of the trials spans more than this share of the median
WIDE_ENDS = 1.5  # the highest trial is more than so many times the lowest
DIGITS = 5
QUARTILES_NEED = 4  # trials; of fewer, quartiles say nothing

# The jobs that a reader may have.
ONE, MANY, SCORE, SCORE_MANY = "one text", "many texts", "scoring one text", "scoring many texts"
LOOP = "a loop without a runtime"  # which nobody can use, only be held to
NOTEBOOK = "keras_window"
VECTOR_LIMIT, PRODUCT_LIMIT = "vector", "product"  # of one stream, of many
EXACT = "float32"
OURS = "charlm_"  # how the names of charlm's own procedures begin


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some trials.

    Attributes:
        middle_half: from the lower quartile to the upper; 0 of too few trials.
    """

    median: float
    low: float
    high: float
    middle_half: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Median, minimum, maximum and quartiles; None of no trials."""
        if not values:
            return None
        middle_half = 0.0
        if len(values) >= QUARTILES_NEED:
            lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
            middle_half = upper - lower
        return cls(statistics.median(values), min(values), max(values), middle_half)

    @property
    def unstable(self) -> bool:
        """Whether the trials lie so far apart that the median deserves a warning."""
        return self.middle_half > WIDE_QUARTILES * abs(self.median) or (
            self.low > 0 and self.high > WIDE_ENDS * self.low
        )


def significant(value: float, digits: int = DIGITS) -> float:
    """`value` rounded to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def rounded(values: Iterable[float], factor: float = 1.0) -> tuple[float, ...]:
    """`values` times `factor`, as a report holds them: more digits would be noise."""
    return tuple(significant(value * factor) for value in values)


class Rated:
    """Something with trials in characters a second, one for each round; none if it was skipped."""

    rates: tuple[float, ...]

    @property
    def spread(self) -> Spread | None:
        """Of its trials."""
        return Spread.of(self.rates)

    def ratio(self, base: "Rated | None") -> Spread | None:
        """Its speed in multiples of another's, round by round; None of what lacks trials.

        So what slows a whole round down cancels out.

        Raises:
            ValueError: the two were not measured in the same number of rounds.
        """
        if not self.rates or base is None or not base.rates:
            return None
        return Spread.of([rate / other for rate, other in zip(self.rates, base.rates, strict=True)])


AnyRated = TypeVar("AnyRated", bound=Rated)


def fastest(some: Iterable[AnyRated]) -> AnyRated | None:
    """The one with the highest median speed; None where none was measured."""
    measured = [each for each in some if each.rates]
    return max(measured, key=lambda each: statistics.median(each.rates), default=None)


@dataclass(frozen=True)
class CaseResult(Rated):
    """A procedure's trials, or why there are none.

    Attributes:
        job, use, precision, batch, every_core, cuda: see `lineup.Case`.
    """

    name: str
    title: str
    limit: str | None = None  # which of the machine's limits it runs against; None on a GPU
    rates: tuple[float, ...] = ()
    units: int = 0  # characters in each trial
    peak_bytes: int | None = None  # of the process that it ran in
    skipped: str | None = None
    job: str = ONE
    use: str = ""
    precision: str = EXACT
    batch: int = 1
    every_core: bool = False
    cuda: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is charlm."""
        return self.name.startswith(OURS)


@dataclass(frozen=True)
class LimitResult(Rated):
    """A limit of float32 on the machine, in characters a second if only its products cost time."""

    name: str
    title: str
    limit: str  # `vector` (one stream) or `product` (many)
    rates: tuple[float, ...] = ()
    gflops: float | None = None  # the median rate of its products, in 10⁹ operations a second
    skipped: str | None = None


@dataclass(frozen=True)
class ProcessResult:
    """A whole process: seconds to its first byte and to its end in each round."""

    name: str
    title: str
    case: str | None = None  # the procedure whose first character it writes, if it is one of those
    first_byte: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    peak_bytes: int | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class QualityResult:
    """What a precision costs in quality.

    Attributes:
        bits: per character of `text`, by charlm's own scorer with the state carried.
    """

    precision: str
    bits: float | None = None
    characters: int = 0  # how many were scored
    text: str = ""  # the file's name, without folders
    skipped: str | None = None


@dataclass(frozen=True)
class SweepPoint(Rated):
    """One value of a sweep's axis, and where it lies."""

    label: str
    x: float
    rates: tuple[float, ...] = ()
    skipped: str | None = None


@dataclass(frozen=True)
class SweepSeries:
    """One line of a sweep."""

    name: str  # of the procedure, or of the limit that the line is
    title: str
    points: tuple[SweepPoint, ...]

    @property
    def is_limit(self) -> bool:
        """Whether it is a limit of the machine, not a procedure."""
        return self.name in (VECTOR_LIMIT, PRODUCT_LIMIT)

    @property
    def shown(self) -> str:
        """Its title; of a limit, with what it is a limit of."""
        return f"float32's {self.title}" if self.is_limit else self.title


@dataclass(frozen=True)
class SweepResult:
    """Speed along a logarithmic axis, all its points measured in turns."""

    name: str
    title: str
    label: str  # of the axis
    series: tuple[SweepSeries, ...]
