"""Running a plan: what is measured, in which order, and the report of it."""

import datetime
import tempfile
from dataclasses import replace
from pathlib import Path

from charlm.benchmarks import (
    artifacts,
    bits,
    flips,
    machine,
    pinning,
    process_lineup,
    processes,
    sweep_run,
    timing,
)
from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.plan import FLIPS, MEMORY, PROCESSES, Plan
from charlm.benchmarks.processes import Flatness, Process, ProcessTimes
from charlm.benchmarks.report import Report
from charlm.benchmarks.results import (
    OURS,
    CaseResult,
    FlipsResult,
    LimitResult,
    ProcessResult,
    QualityResult,
    SweepResult,
)
from charlm.benchmarks.rows import Bound, Case
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.spread import DIGITS, Spread, rounded, significant
from charlm.benchmarks.sweeps import PRECISION
from charlm.benchmarks.timing import Measured, Say


def run(plan: Plan, say: Say) -> Report:
    """Measure everything in the plan.

    Raises:
        CaseFailedError: the model can't be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = artifacts.prepare(plan.model, Path(folder), plan.artifacts())
        settings = CaseSettings(str(plan.model), folder, threads=plan.threads)
        cases, limits = _speeds(plan, settings, model, say)
        quality = _quality(plan, settings, say)
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
            quality=quality,
            sweeps=_sweeps(plan, settings, quality, say),
            processes=_whole_processes(plan, settings, say),
            pair=process_lineup.PAIR if plan.wants(PROCESSES) else None,
            memory=_memory(plan, settings, say),
            flips=_flips(plan, settings, say),
            left_out=plan.left_out(),
        )


def _speeds(
    plan: Plan, settings: CaseSettings, model: ModelInfo, say: Say
) -> tuple[tuple[CaseResult, ...], tuple[LimitResult, ...]]:
    """Procedures and limits, all in the same rounds."""
    cases, limits = plan.cases(), plan.bounds()
    workers = [
        *(_worker(case, settings) for case in cases),
        *(timing.Worker(each.name, each.target, settings, plan.threads) for each in limits),
    ]
    measured = timing.measure(workers, plan.rounds, plan.trial_seconds, say) if workers else []
    bounds = zip(limits, measured[len(cases) :], strict=True)
    return (
        tuple(map(_case_result, cases, measured)),
        tuple(_limit_result(bound, found, model) for bound, found in bounds),
    )


def _worker(case: Case, settings: CaseSettings) -> timing.Worker:
    told = case.settings(settings)
    return timing.Worker(case.name, case.target, told, told.threads, case.least)


def _quality(plan: Plan, settings: CaseSettings, say: Say) -> tuple[QualityResult, ...]:
    """Bits per character of every precision that a sweep or a case needs them of."""
    wanted = [str(v) for sweep in plan.sweeps() if sweep.axis == PRECISION for v in sweep.values]
    wanted += [case.precision for case in plan.cases() if case.name.startswith(OURS)]
    if set(wanted) <= {"float32"}:
        return ()
    say("bits per character")
    precisions = list(dict.fromkeys(wanted))
    return bits.measure(precisions, settings, plan.text, plan.text_characters)


def _sweeps(
    plan: Plan, settings: CaseSettings, quality: tuple[QualityResult, ...], say: Say
) -> tuple[SweepResult, ...]:
    found = {each.precision: each.bits for each in quality}
    effort = plan.sweep_effort()
    return tuple(sweep_run.run(each, settings, effort, found, say) for each in plan.sweeps())


def _whole_processes(plan: Plan, settings: CaseSettings, say: Say) -> tuple[ProcessResult, ...]:
    if not plan.wants(PROCESSES):
        return ()
    cuda = plan.provider == "cuda"
    commands = process_lineup.whole_processes(settings, cuda, with_slow=not plan.quick)
    times = processes.measure(commands, process_lineup.ROUNDS * plan.rounds, say)
    return tuple(map(_process_result, commands, times))


def _memory(plan: Plan, settings: CaseSettings, say: Say) -> Flatness | None:
    if not plan.wants(MEMORY):
        return None
    say(f"memory over {plan.memory_characters:,} characters")
    found = processes.flatness(settings, plan.memory_characters)
    return replace(found, skipped=machine.reason(found.skipped))


def _flips(plan: Plan, settings: CaseSettings, say: Say) -> tuple[FlipsResult, ...]:
    if not plan.wants(FLIPS):
        return ()
    say(f"flips over {plan.flip_characters:,} characters")
    return flips.measure(settings, plan.flip_characters)


def _case_result(case: Case, measured: Measured) -> CaseResult:
    return CaseResult(
        name=case.name,
        title=case.title,
        limit=case.limit,
        rates=rounded(measured.rates, case.batch),
        units=measured.units * case.batch,
        peak_bytes=measured.peak_bytes,
        skipped=machine.reason(measured.skipped),
        job=case.job,
        use=case.use,
        precision=case.precision,
        batch=case.batch,
        every_core=case.every_core,
        cuda=case.cuda,
    )


def _limit_result(bound: Bound, measured: Measured, model: ModelInfo) -> LimitResult:
    rates = rounded(measured.rates, bound.characters(model))
    middle = Spread.of(rates)
    return LimitResult(
        name=bound.name,
        title=bound.title,
        limit=bound.limit,
        rates=rates,
        gflops=significant(middle.median * model.flops / 1e9, DIGITS) if middle else None,
        skipped=machine.reason(measured.skipped),
    )


def _process_result(process: Process, times: ProcessTimes) -> ProcessResult:
    return ProcessResult(
        name=process.name,
        title=process.title,
        case=process.case,
        first_byte=rounded(times.first_byte),
        seconds=rounded(times.seconds),
        peak_bytes=times.peak_bytes,
        skipped=machine.reason(times.skipped),
    )
