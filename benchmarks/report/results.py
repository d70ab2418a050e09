"""What was measured, piece by piece, with its spread, in the form that the JSON of a report has."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDE_QUARTILES = 0.15  # the middle half of the trials spans more than this share of the median
WIDE_ENDS = 1.5  # the highest trial is more than so many times the lowest
DIGITS = 5
QUARTILES_NEED = 4  # trials; of fewer, quartiles say nothing


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


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Ratio to `base` in each round: what slows a whole round down cancels out.

    Raises:
        ValueError: the two were not measured in the same number of rounds.
    """
    return [value / other for value, other in zip(values, base, strict=True)]


def significant(value: float, digits: int) -> float:
    """`value` rounded to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def rounded(values: Sequence[float], factor: float = 1.0) -> tuple[float, ...]:
    """`values` times `factor`, as a report holds them: more digits would be noise."""
    return tuple(significant(value * factor, DIGITS) for value in values)


# The jobs that a reader may have.
ONE, MANY, SCORE, SCORE_MANY = "one text", "many texts", "scoring one text", "scoring many texts"
LOOP = "a loop without a runtime"  # which nobody can use, only be held to
NOTEBOOK = "keras_window"
STEP_LOOP = "charlm_step"
PLAIN_LOOP, PLAIN_LOOP_INT8 = "plain_loop", "plain_loop_int8"
VECTOR_LIMIT, PRODUCT_LIMIT = "vector", "product"
OURS = "charlm_"  # how the names of charlm's own procedures begin


@dataclass(frozen=True)
class CaseResult:
    """A procedure's trials in characters a second, one for each round, or why there are none.

    Attributes:
        limit: which of the machine's limits it runs against; None on a GPU.
        peak_bytes: of the process that it ran in.
        job, use, precision, batch, every_core, cuda: see `rows.Case`.
    """

    name: str
    title: str
    limit: str | None = None
    rates: tuple[float, ...] = ()
    units: int = 0  # characters in each trial
    peak_bytes: int | None = None
    skipped: str | None = None
    job: str = ""
    use: str = ""
    precision: str = "float32"
    batch: int = 1
    every_core: bool = False
    cuda: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is charlm."""
        return self.name.startswith(OURS)

    @property
    def task(self) -> str:
        """The job; a report of format 1 tells it by the limit."""
        return self.job or (MANY if self.limit == PRODUCT_LIMIT else ONE)


@dataclass(frozen=True)
class LimitResult:
    """A limit of the machine, in characters a second if only that cost time.

    Attributes:
        limit: `vector` (one stream) or `product` (many).
        gflops: the median rate of its products, in 10⁹ operations a second.
    """

    name: str
    title: str
    limit: str
    rates: tuple[float, ...] = ()
    gflops: float | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class ProcessResult:
    """A whole process: seconds to its first byte and to its end in each round.

    Attributes:
        case: the procedure whose first character it writes, if it is one of those.
    """

    name: str
    title: str
    case: str | None = None
    first_byte: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    peak_bytes: int | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class QualityResult:
    """What a precision costs in quality.

    Attributes:
        bits: per character of `text`, by charlm's own scorer with the state carried.
        characters: how many were scored.
        text: the file's name, without folders.
    """

    precision: str
    bits: float | None = None
    characters: int = 0
    text: str = ""
    skipped: str | None = None


@dataclass(frozen=True)
class SweepPoint:
    """One value of a sweep's axis: where it lies, and the trials there in characters a second."""

    label: str
    x: float | None
    rates: tuple[float, ...] = ()
    skipped: str | None = None


@dataclass(frozen=True)
class SweepSeries:
    """One line of a sweep.

    Attributes:
        name: of the procedure, or of the limit that the line is.
    """

    name: str
    title: str
    points: tuple[SweepPoint, ...]

    @property
    def is_limit(self) -> bool:
        """Whether it is a limit of the machine, not a procedure."""
        return self.name in (VECTOR_LIMIT, PRODUCT_LIMIT)


@dataclass(frozen=True)
class SweepResult:
    """Speed along one axis, all its points measured in turns."""

    name: str
    title: str
    label: str  # of the axis
    series: tuple[SweepSeries, ...]
    logarithmic: bool = True


@dataclass(frozen=True)
class FlipsResult:
    """A path held against the reference step loop at one temperature.

    Attributes:
        path: what was compared.
        characters: how many were compared.
        flips: how many of them differed.
        ties: how many of those lay at a boundary as close as `docs/MODEL_FILE.md` allows.
        worst: the farthest flip from its boundary, in multiples of what is allowed.
    """

    name: str
    path: str
    temperature: float
    characters: int = 0
    flips: int = 0
    ties: int = 0
    worst: float = 0.0
    skipped: str | None = None

    @property
    def per_million(self) -> float:
        """Flips in a million characters."""
        return 1e6 * self.flips / self.characters if self.characters else 0.0
