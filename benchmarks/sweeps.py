"""The sweeps as data: along which axis speed is measured, at which values, for which procedures."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from charlm.benchmarks import artifacts, lineup
from charlm.benchmarks.results import PRODUCT_LIMIT, VECTOR_LIMIT
from charlm.benchmarks.rows import Case
from charlm.benchmarks.settings import CaseSettings

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
