"""The results of a run of the benchmark, and their JSON form. How they look is `markdown`'s."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.machine import Machine
from charlm.benchmarks.processes import Flatness
from charlm.benchmarks.spread import Spread, ratios
from charlm.data.errors import SettingsError

FORMAT = 1
NOTEBOOK = "keras_window"
VECTOR_LIMIT, PRODUCT_LIMIT = "vector", "product"


@dataclass(frozen=True)
class CaseResult:
    """A procedure's trials in characters a second, one for each round, or why there are none.

    Attributes:
        limit: which of the machine's limits it runs against; None on a GPU.
        peak_bytes: of the process that it ran in.
    """

    name: str
    title: str
    limit: str | None = None
    rates: tuple[float, ...] = ()
    units: int = 0  # characters in each trial
    peak_bytes: int | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class LimitResult:
    """What one library made of a limit, in characters a second if only the products cost time.

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
class Report:
    """One run of the benchmark.

    Attributes:
        threads: of every process, each pinned to so many cores where the system can (`pinned`).
        pair: names of the two processes whose ratio is a goal: ours, and what it is held against.
    """

    date: str
    machine: Machine
    model: ModelInfo
    provider: str
    threads: int
    pinned: bool
    rounds: int
    trial_seconds: float
    cases: tuple[CaseResult, ...] = ()
    limits: tuple[LimitResult, ...] = ()
    processes: tuple[ProcessResult, ...] = ()
    pair: tuple[str, str] | None = None
    memory: Flatness | None = None
    format: int = FORMAT

    def case(self, name: str) -> CaseResult | None:
        """A procedure by its name, if it was asked for."""
        return next((case for case in self.cases if case.name == name), None)

    def process(self, name: str) -> ProcessResult | None:
        """A process by its name, if it was asked for."""
        return next((process for process in self.processes if process.name == name), None)

    def first_character_of(self, case: str) -> Spread | None:
        """Seconds from the start of a procedure's process to its first character."""
        for process in self.processes:
            if process.case == case:
                return Spread.of(process.first_byte)
        return None

    def best_limit(self, limit: str) -> LimitResult | None:
        """The library that came closest to the machine's limit, which therefore counts as it."""
        measured = [(Spread.of(each.rates), each) for each in self.limits if each.limit == limit]
        found = [(spread.median, each) for spread, each in measured if spread]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def to_notebook(self, case: CaseResult) -> Spread | None:
        """A procedure's speed in multiples of the notebook's, round by round."""
        return _ratio(case.rates, self.case(NOTEBOOK))

    def to_limit(self, case: CaseResult) -> Spread | None:
        """A procedure's speed as a share of the machine's limit, round by round."""
        return _ratio(case.rates, self.best_limit(case.limit)) if case.limit else None

    def pair_ratio(self) -> Spread | None:
        """The time of the first process of the pair in multiples of the second's, by rounds."""
        if self.pair is None:
            return None
        ours, other = (self.process(name) for name in self.pair)
        if ours is None or other is None or not ours.seconds or not other.seconds:
            return None
        return Spread.of(ratios(ours.seconds, other.seconds))

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Report":
        """Read what `to_json` wrote.

        Args:
            text: the JSON.
            where: the file's name, for messages.

        Raises:
            SettingsError: not a report, or one of another format.
        """
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise SettingsError(
                    f"{where}: a report of format {values['format']}; this charlm reads {FORMAT}"
                )
            return cls(**_typed(values))
        except (ValueError, KeyError, TypeError) as problem:
            raise SettingsError(f"{where}: not a report of charlm-bench: {problem}") from problem


def load(path: Path) -> Report:
    """Read a `report.json`.

    Raises:
        SettingsError: it is not one.
        OSError: it can't be read.
    """
    return Report.from_json(path.read_text(encoding="utf-8"), str(path))


def _ratio(rates: tuple[float, ...], base: CaseResult | LimitResult | None) -> Spread | None:
    if not rates or base is None or not base.rates:
        return None
    return Spread.of(ratios(rates, base.rates))


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists and objects as the tuples and dataclasses that they were."""

    def build(kind: Any, value: dict[str, Any]) -> Any:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})

    def build_all(kind: Any, listed: list[dict[str, Any]]) -> tuple[Any, ...]:
        return tuple(build(kind, value) for value in listed)

    return values | {
        "machine": build(Machine, values["machine"]),
        "model": build(ModelInfo, values["model"]),
        "cases": build_all(CaseResult, values["cases"]),
        "limits": build_all(LimitResult, values["limits"]),
        "processes": build_all(ProcessResult, values["processes"]),
        "pair": tuple(values["pair"]) if values["pair"] else None,
        "memory": build(Flatness, values["memory"]) if values["memory"] else None,
    }
