"""What was measured, piece by piece, in the form that the JSON of a report has."""

from dataclasses import dataclass

from charlm.benchmarks.work import MANY, ONE

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
        ties: how many of those lay at a boundary as close as DESIGN.md allows.
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
