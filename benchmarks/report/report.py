"""The report of a run of the benchmark, what can be asked of it, and its JSON form."""

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from charlm.benchmarks.harness.artifacts import ModelInfo
from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.report import results
from charlm.benchmarks.report.results import CaseResult, Spread
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as

FORMAT = 2
DROPPED = ("pair", "memory", "flips")  # which earlier reports have, and no page shows any more
JOBS = (results.ONE, results.MANY, results.SCORE, results.SCORE_MANY)


@dataclass(frozen=True)
class Answer:
    """What a reader wants first: the fastest of charlm's procedures for a job.

    Attributes:
        loss: bits per character that its precision loses against float32; None of float32, or
            not measured.
        rival: the fastest procedure of the same job that is not charlm, if it is faster.
    """

    job: str  # in words
    case: CaseResult
    loss: float | None = None
    rival: CaseResult | None = None


@dataclass(frozen=True)
class BenchReport:
    """One run of the benchmark."""

    date: str
    machine: Machine
    model: ModelInfo
    provider: str
    threads: int  # of every process, each pinned to so many cores where the system can (`pinned`)
    pinned: bool
    rounds: int
    trial_seconds: float
    cases: tuple[CaseResult, ...] = ()
    limits: tuple[results.LimitResult, ...] = ()
    processes: tuple[results.ProcessResult, ...] = ()
    sweeps: tuple[results.SweepResult, ...] = ()
    quality: tuple[results.QualityResult, ...] = ()
    left_out: tuple[str, ...] = ()  # what a quick run did not measure
    format: int = FORMAT

    def first_character_of(self, case: str) -> Spread | None:
        """Seconds from the start of a procedure's process to its first character."""
        found = (Spread.of(each.first_byte) for each in self.processes if each.case == case)
        return next(found, None)

    def best_limit(self, limit: str) -> results.LimitResult | None:
        """The way that came closest to the machine's limit, which therefore counts as it."""
        return results.fastest(each for each in self.limits if each.limit == limit)

    def limit_of(self, case: CaseResult) -> results.LimitResult | None:
        """What holds a procedure back: the limits are of float32 and of the run's threads."""
        if case.limit is None or case.precision != results.EXACT or case.every_core:
            return None
        return self.best_limit(case.limit)

    @property
    def has_notebook(self) -> bool:
        """Whether there is a notebook's speed to compare with."""
        return any(each.name == results.NOTEBOOK and each.rates for each in self.cases)

    def to_notebook(self, case: CaseResult) -> Spread | None:
        """A procedure's speed in multiples of the notebook's, round by round."""
        return case.ratio(
            next((each for each in self.cases if each.name == results.NOTEBOOK), None)
        )

    def to_limit(self, case: CaseResult) -> Spread | None:
        """A procedure's speed as a share of the machine's limit, round by round."""
        return case.ratio(self.limit_of(case))

    def answers(self) -> Iterator[Answer]:
        """One for each job that was measured, and a second one where a precision is faster.

        Only what a user can ask for counts, as long as there is any: a path that is run for
        comparison may be faster or slower than what charlm chooses by itself.
        """
        for cuda in (False, True):
            for job in JOBS:
                yield from self._answers(job, cuda)

    def _answers(self, job: str, cuda: bool) -> Iterator[Answer]:
        there = [case for case in self.cases if case.job == job and case.cuda == cuda]
        ours = [case for case in there if case.ours]
        ours = [case for case in ours if case.use and case.rates] or ours
        exact = results.fastest(case for case in ours if case.precision == results.EXACT)
        lossy = results.fastest(case for case in ours if case.precision != results.EXACT)
        other = results.fastest(case for case in there if not case.ours)
        named = f"{job}, {'GPU' if cuda else 'CPU'}"
        if exact is not None:
            yield Answer(named, exact, None, _if_faster(other, exact))
        if lossy is not None and (exact is None or _if_faster(lossy, exact)):
            loss = self._loss(lossy.precision)
            yield Answer(f"{named}, {lossy.precision}", lossy, loss, _if_faster(other, lossy))

    def _loss(self, precision: str) -> float | None:
        bits = {each.precision: each.bits for each in self.quality}
        exact, lossy = bits.get(results.EXACT), bits.get(precision)
        return lossy - exact if exact is not None and lossy is not None else None

    def unstable(self) -> tuple[int, int]:
        """How many figures spread too widely, and how many there are."""
        trials: list[Sequence[float]] = [each.rates for each in (*self.cases, *self.limits)]
        trials += [each.seconds for each in self.processes]
        spreads = [spread for spread in map(Spread.of, trials) if spread]
        return sum(spread.unstable for spread in spreads), len(spreads)

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def _if_faster(one: CaseResult | None, than: CaseResult) -> CaseResult | None:
    return one if one is not None and results.fastest((than, one)) is one else None


def load(path: Path) -> BenchReport:
    """Read a `report.json`, of this charlm or an earlier one.

    Raises:
        SettingsError: it can't be read, is not one, or one of another format.
    """
    try:
        with os_errors_as(SettingsError, f"can't read {path}"):
            values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise SettingsError(
                f"{path}: a report of format {values['format']}; this charlm reads format {FORMAT}"
            )
        for name in DROPPED:
            values.pop(name, None)
        # There was a sweep along bits per character, of two points: those stand in other tables.
        values["sweeps"] = [
            each for each in values.get("sweeps", []) if each.pop("logarithmic", True)
        ]
        report: BenchReport = read(BenchReport, values)
        return report
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        raise SettingsError(f"{path}: not a report of charlm-bench: {problem}") from problem


def read(kind: Any, value: Any) -> Any:
    """`value`, as `json.loads` gives it, in the form that the annotation `kind` names.

    Raises:
        TypeError, KeyError: it does not have that form, or a field is missing or unknown.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (each for each in inner if each is not type(None))
        return None if value is None else read(kind, value)
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
    if unknown := value.keys() - {field.name for field in fields(kind)}:
        raise TypeError(f"{kind.__name__}: unknown {', '.join(sorted(unknown))}")
    return kind(**{name: read(kinds[name], each) for name, each in value.items()})


def _mapping(kind: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind}: an object is expected, not {str(value)[:40]!r}")
    return value
