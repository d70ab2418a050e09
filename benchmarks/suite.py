"""Running a plan: what is measured, in which order, and the report of it."""

import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.benchmarks import artifacts, lineup, machine, pinning, processes, timing
from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.lineup import CASES, LIMITS, Bound, Case
from charlm.benchmarks.processes import Flatness, Process, ProcessTimes
from charlm.benchmarks.report import CaseResult, LimitResult, ProcessResult, Report
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.spread import Spread, significant
from charlm.benchmarks.timing import Measured, Say
from charlm.data.errors import SettingsError

DIGITS = 5  # more would be noise
PARTS = ("limits", "processes", "memory")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    model: Path
    provider: str = "cpu"
    threads: int = 1  # one stream of a small model can use no more
    rounds: int = 15
    trial_seconds: float = 0.7  # long beside a time slice, short beside a machine's moods
    memory_characters: int = 1_000_000
    only: tuple[str, ...] = ()  # names of cases, or of PARTS; empty: everything

    def __post_init__(self) -> None:
        if self.provider not in ("cpu", "cuda"):
            raise SettingsError(f"--provider is cpu or cuda, not {self.provider!r}")
        if self.rounds < 1 or self.threads < 1:
            raise SettingsError("--rounds and --threads are at least 1")
        for name in self.only:
            if name not in names():
                raise SettingsError(f"--only is one of {', '.join(names())}, not {name!r}")

    def wants(self, name: str) -> bool:
        """Whether a case or a part is to be measured."""
        return not self.only or name in self.only

    def cases(self) -> list[Case]:
        """The procedures to measure, in the order of their turns."""
        return [
            case
            for case in CASES
            if self.wants(case.name) and (self.only or self.provider == "cuda" or not case.cuda)
        ]


def quick(plan: Plan) -> Plan:
    """A plan that shows in a minute whether everything runs; its figures are noise."""
    return replace(plan, rounds=2, trial_seconds=0.1, memory_characters=20_000)


def names() -> list[str]:
    """What `Plan.only` may name."""
    return [*(case.name for case in CASES), *PARTS]


def run(plan: Plan, say: Say) -> Report:
    """Measure everything in the plan.

    Raises:
        CaseFailedError: the model can't be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = artifacts.prepare(plan.model, Path(folder))
        settings = CaseSettings(str(plan.model), folder, threads=plan.threads)
        cases, limits = _speeds(plan, settings, model, say)
        return Report(
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            machine=machine.describe(plan.provider),
            model=model,
            provider=plan.provider,
            threads=plan.threads,
            pinned=pinning.can_pin(),
            rounds=plan.rounds,
            trial_seconds=plan.trial_seconds,
            cases=cases,
            limits=limits,
            processes=_whole_processes(plan, settings, say),
            pair=lineup.PAIR if plan.wants("processes") else None,
            memory=_memory(plan, settings, say),
        )


def _speeds(
    plan: Plan, settings: CaseSettings, model: ModelInfo, say: Say
) -> tuple[tuple[CaseResult, ...], tuple[LimitResult, ...]]:
    """Procedures and limits, all in the same rounds."""
    cases = plan.cases()
    limits = LIMITS if plan.wants("limits") else ()
    workers = [
        *(_worker(case, settings) for case in cases),
        *(timing.Worker(each.name, each.target, settings, plan.threads) for each in limits),
    ]
    measured = timing.measure(workers, plan.rounds, plan.trial_seconds, say)
    bounds = zip(limits, measured[len(cases) :], strict=True)
    return (
        tuple(map(_case_result, cases, measured)),
        tuple(_limit_result(bound, found, model) for bound, found in bounds),
    )


def _worker(case: Case, settings: CaseSettings) -> timing.Worker:
    threads = 0 if case.every_core else settings.threads
    told = replace(settings, provider="cuda" if case.cuda else "cpu", threads=threads)
    return timing.Worker(case.name, case.target, told, threads)


def _whole_processes(plan: Plan, settings: CaseSettings, say: Say) -> tuple[ProcessResult, ...]:
    if not plan.wants("processes"):
        return ()
    commands = lineup.whole_processes(settings, plan.provider == "cuda")
    times = processes.measure(commands, lineup.PROCESS_ROUNDS * plan.rounds, say)
    return tuple(map(_process_result, commands, times))


def _memory(plan: Plan, settings: CaseSettings, say: Say) -> Flatness | None:
    if not plan.wants("memory"):
        return None
    say(f"memory over {plan.memory_characters:,} characters")
    found = processes.flatness(settings, plan.memory_characters)
    return replace(found, skipped=_reason(found.skipped))


def _case_result(case: Case, measured: Measured) -> CaseResult:
    return CaseResult(
        name=case.name,
        title=case.title,
        limit=case.limit,
        rates=_rounded(measured.rates, case.streams),
        units=measured.units * case.streams,
        peak_bytes=measured.peak_bytes,
        skipped=_reason(measured.skipped),
    )


def _limit_result(bound: Bound, measured: Measured, model: ModelInfo) -> LimitResult:
    rates = _rounded(measured.rates, bound.characters(model))
    middle = Spread.of(rates)
    return LimitResult(
        name=bound.name,
        title=bound.title,
        limit=bound.limit,
        rates=rates,
        gflops=significant(middle.median * model.flops / 1e9, DIGITS) if middle else None,
        skipped=_reason(measured.skipped),
    )


def _process_result(process: Process, times: ProcessTimes) -> ProcessResult:
    return ProcessResult(
        name=process.name,
        title=process.title,
        case=process.case,
        first_byte=_rounded(times.first_byte),
        seconds=_rounded(times.seconds),
        peak_bytes=times.peak_bytes,
        skipped=_reason(times.skipped),
    )


def _rounded(values: Sequence[float], factor: float = 1.0) -> tuple[float, ...]:
    return tuple(significant(value * factor, DIGITS) for value in values)


def _reason(skipped: str | None) -> str | None:
    return machine.without_paths(skipped) if skipped is not None else None
