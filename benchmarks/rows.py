"""What a row of the lineup is: a procedure, or one of the machine's limits."""

from dataclasses import dataclass, replace

from charlm.benchmarks.artifacts import WEIGHTS, ModelInfo
from charlm.benchmarks.results import PRODUCT_LIMIT, VECTOR_LIMIT
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.work import MANY, ONE, OPERATIONS, STREAMS


@dataclass(frozen=True)
class Case:
    """A procedure.

    Attributes:
        module: its file in `cases`.
        job: what a reader would use it for.
        use: how charlm is asked for it; empty for what is not charlm.
        limit: which of the machine's limits it runs against; None on a GPU.
        path, precision, batch, steps, filtered: see `CaseSettings`.
        every_core: it may use the whole machine; otherwise, the run's threads.
        cuda: it runs on CUDA; otherwise, on the CPU.
        slow: it takes many seconds to start, so a quick run leaves it out.
        least: units of a trial, where a shorter one would be about something else.
        needs: files of `artifacts`.
    """

    name: str
    title: str
    module: str
    job: str = ONE
    use: str = ""
    limit: str | None = VECTOR_LIMIT
    path: str = "step"
    precision: str = "float32"
    batch: int = 1
    steps: int = 1
    filtered: bool = False
    every_core: bool = False
    cuda: bool = False
    slow: bool = False
    least: int = 1
    needs: tuple[str, ...] = (WEIGHTS,)

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.cases.{self.module}"

    def settings(self, given: CaseSettings) -> CaseSettings:
        """What its worker is told: the run's settings with the row's own."""
        return replace(
            given,
            provider="cuda" if self.cuda else "cpu",
            threads=0 if self.every_core else given.threads,
            path=self.path,
            precision=self.precision,
            batch=self.batch,
            steps=self.steps,
            filtered=self.filtered,
        )


@dataclass(frozen=True)
class Bound:
    """One of the machine's limits; a function of `limits`."""

    name: str
    title: str
    limit: str
    slow: bool = False
    needs: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.limits:{self.name}"

    def characters(self, model: ModelInfo) -> float:
        """How many characters' products a unit of its work is."""
        return OPERATIONS / model.flops if self.limit == PRODUCT_LIMIT else 1


def many(name: str, title: str, module: str, **fields: object) -> Case:
    """A row of many texts side by side."""
    row = Case(name, title, module, MANY, limit=PRODUCT_LIMIT, batch=STREAMS)
    return replace(row, **fields)  # type: ignore[arg-type]
