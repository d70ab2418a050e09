"""The report of a run of the benchmark, what can be asked of it, and its JSON form."""

import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.harness.processes import Flatness
from charlm.benchmarks.report.results import (
    NOTEBOOK,
    CaseResult,
    FlipsResult,
    LimitResult,
    ProcessResult,
    QualityResult,
    Spread,
    SweepResult,
    ratios,
)
from charlm.data.system.errors import SettingsError


def read(kind: Any, value: Any) -> Any:
    """`value`, as `json.loads` gives it, in the form that the annotation `kind` names.

    Raises:
        TypeError, KeyError: it does not have that form, or a field is missing or unknown.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (each for each in inner if each is not type(None))
        return read(kind, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"a list is expected, not {str(value)[:40]!r}")
        return tuple(read(inner[0], each) for each in value)
    if origin is dict:
        return {name: read(inner[1], each) for name, each in _mapping("dict", value).items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is expected, not {str(value)[:40]!r}")
    return value


def _dataclass(kind: type, value: Any) -> Any:
    value = _mapping(kind.__name__, value)
    kinds = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    if unknown := value.keys() - known:
        raise TypeError(f"{kind.__name__}: unknown {', '.join(sorted(unknown))}")
    return kind(**{name: read(kinds[name], each) for name, each in value.items()})


def _mapping(kind: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind}: an object is expected, not {str(value)[:40]!r}")
    return value


FORMAT = 2  # 1 had no sweeps, quality and flips, and told less of a case; it is still read


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        threads: of every process, each pinned to so many cores where the system can (`pinned`).
        pair: names of the two processes whose ratio is told: ours, and what it is held against.
        left_out: what a quick run did not measure.
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
    pair: tuple[str, ...] | None = None
    memory: Flatness | None = None
    sweeps: tuple[SweepResult, ...] = ()
    quality: tuple[QualityResult, ...] = ()
    flips: tuple[FlipsResult, ...] = ()
    left_out: tuple[str, ...] = ()
    format: int = FORMAT

    def case(self, name: str) -> CaseResult | None:
        """A procedure by its name, if it was asked for."""
        return next((case for case in self.cases if case.name == name), None)

    def process(self, name: str) -> ProcessResult | None:
        """A process by its name, if it was asked for."""
        return next((process for process in self.processes if process.name == name), None)

    def bits(self, precision: str) -> float | None:
        """Bits per character at a precision, if they were measured."""
        return next((each.bits for each in self.quality if each.precision == precision), None)

    def fastest(self, cases: Iterable[CaseResult]) -> CaseResult | None:
        """The one with the highest median speed; None where none was measured."""
        measured = [(Spread.of(case.rates), case) for case in cases]
        found = [(spread.median, case) for spread, case in measured if spread]
        return max(found, key=lambda pair: pair[0])[1] if found else None

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
        return ratio(case, self.case(NOTEBOOK))

    def limit_of(self, case: CaseResult) -> LimitResult | None:
        """What holds a procedure back: the limits are of float32 and of the run's threads."""
        if case.limit is None or case.precision != "float32" or case.every_core:
            return None
        return self.best_limit(case.limit)

    def to_limit(self, case: CaseResult) -> Spread | None:
        """A procedure's speed as a share of the machine's limit, round by round."""
        return ratio(case, self.limit_of(case))

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
        """Read what `to_json` wrote, or an earlier charlm's.

        Args:
            text: the JSON.
            where: the file's name, for messages.

        Raises:
            SettingsError: not a report, or one of a later format.
        """
        try:
            values = json.loads(text)
            if values["format"] not in range(1, FORMAT + 1):
                raise SettingsError(
                    f"{where}: a report of format {values['format']}; "
                    f"this charlm reads up to {FORMAT}"
                )
            report: Report = read(cls, values)
            return report
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise SettingsError(f"{where}: not a report of charlm-bench: {problem}") from problem


def load(path: Path) -> Report:
    """Read a `report.json`.

    Raises:
        SettingsError: it is not one.
        OSError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise SettingsError(f"{path}: not a report of charlm-bench: not utf-8") from problem
    return Report.from_json(text, str(path))


def ratio(case: CaseResult, base: CaseResult | LimitResult | None) -> Spread | None:
    """A procedure's speed in multiples of another's, round by round; None of what lacks trials."""
    if not case.rates or base is None or not base.rates:
        return None
    return Spread.of(ratios(case.rates, base.rates))


def unstable(report: Report) -> tuple[int, int]:
    """How many figures spread too widely, and how many there are."""
    trials: list[Sequence[float]] = [case.rates for case in report.cases]
    trials += [limit.rates for limit in report.limits]
    trials += [each.seconds for each in report.processes]
    spreads = [spread for spread in map(Spread.of, trials) if spread]
    return sum(spread.unstable for spread in spreads), len(spreads)
