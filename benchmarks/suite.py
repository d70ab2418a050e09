"""Running a plan: what is measured, in which order, the report of it, and its files."""

import datetime
import tempfile
from dataclasses import replace
from pathlib import Path

from charlm.benchmarks import artifacts, bits, flips, lineup, suite, sweeps
from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.harness import machine, pinning, processes, timing
from charlm.benchmarks.harness.processes import Flatness, Process, ProcessTimes
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.benchmarks.harness.timing import Measured, Say
from charlm.benchmarks.lineup import Bound, Case
from charlm.benchmarks.plan import FLIPS, MEMORY, PROCESSES, Plan
from charlm.benchmarks.report import markdown, page, plot, sweep_plot
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import (
    DIGITS,
    NOTEBOOK,
    OURS,
    CaseResult,
    FlipsResult,
    LimitResult,
    ProcessResult,
    QualityResult,
    Spread,
    SweepResult,
    rounded,
    significant,
)
from charlm.benchmarks.sweeps import PRECISION
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as, write_bytes

ROOT = Path("benchmark-results")


def measure_and_write(plan: Plan, folder: Path | None, say: Say) -> Report:
    """Run a plan and write its report into `folder`; None: a folder named after day and processor.

    Raises:
        SettingsError: the folder can't be written; found out before anything is measured.
        CaseFailedError: the model can't be opened.
    """
    if folder is not None:
        _make(folder)
    report = suite.run(plan, say)
    chosen = folder or ROOT / f"{report.date}-{machine.slug(report.machine.cpu)}"
    _make(chosen)
    for name in write(report, chosen):
        say(f"wrote {chosen / name}")
    return report


def write(report: Report, folder: Path) -> list[str]:
    """Write every file of a report into an existing folder; their names.

    Raises:
        SettingsError: the folder can't be written.
    """
    pictures = _pictures(report)
    files = {
        "report.json": report.to_json().encode(),
        "report.html": page.render(report).encode(),
        "report.md": markdown.render(report, list(pictures)).encode(),
        **pictures,
    }
    with os_errors_as(SettingsError, f"can't write into {folder}"):
        for name, content in files.items():
            write_bytes(folder / name, content)
    return list(files)


def render(report: Report, folder: Path) -> list[str]:
    """Write every file of a report that was measured before; their names.

    Raises:
        SettingsError: the folder can't be made or written.
    """
    _make(folder)
    return write(report, folder)


def _pictures(report: Report) -> dict[str, bytes]:
    """The pictures of the Markdown by their files' names."""
    speeds = plot.draw(report) or {}
    sweeps = {f"{sweep.name}.svg": sweep_plot.draw(sweep) for sweep in report.sweeps}
    found = {f"speed.{kind}": content for kind, content in speeds.items()}
    return found | {name: content for name, content in sweeps.items() if content is not None}


def _make(folder: Path) -> None:
    with os_errors_as(SettingsError, f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)


PAIR = ("charlm_gen_100", "import_onnxruntime")
ROUNDS = 2  # rounds of whole processes for each round of trials: they are short and noisy
SLOW_ROUNDS = 5  # of whole processes that take seconds to start


def whole_processes(settings: CaseSettings, cuda: bool, with_slow: bool = True) -> list[Process]:
    """The commands that are measured from their start to their end.

    Args:
        settings: what their cases are told.
        cuda: CUDA takes part.
        with_slow: take in those that start for many seconds.
    """
    cores = settings.threads

    def first(name: str, title: str, case: str) -> Process:
        command = processes.first_character(lineup.case(case).target, settings)
        return Process(name, title, command, case, SLOW_ROUNDS, cores)

    def plain(name: str, title: str, command: tuple[str, ...], case: str | None = None) -> Process:
        return Process(name, title, command, case, cores=cores)

    found = [
        plain("python", "python -c pass", processes.python("pass")),
        plain(PAIR[1], "python -c 'import onnxruntime'", processes.python("import onnxruntime")),
        plain(PAIR[0], "charlm-gen --length 100", processes.charlm_gen(settings, 100)),
        plain(
            "charlm_gen_1", "charlm-gen --length 1", processes.charlm_gen(settings, 1),
            "charlm_stream",
        ),
        first("first_torch_step", "Torch step loop, first character", "torch_step"),
        first("first_openvino", "OpenVINO step loop, first character", "openvino_step"),
        first("first_litert", "LiteRT step loop, first character", "litert_step"),
        first("first_keras", "notebook, first character", NOTEBOOK),
    ]  # fmt: skip
    if cuda:
        command = processes.charlm_gen(replace(settings, provider="cuda"), 1)
        title = "charlm-gen --length 1 on CUDA"
        found.append(
            Process("charlm_gen_1_cuda", title, command, "charlm_stream_cuda", SLOW_ROUNDS)
        )
    slow = {case.name for case in lineup.CASES if case.slow}
    return [each for each in found if with_slow or each.case not in slow]


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
            pair=PAIR if plan.wants(PROCESSES) else None,
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
    return tuple(sweeps.run(each, settings, effort, found, say) for each in plan.sweeps())


def _whole_processes(plan: Plan, settings: CaseSettings, say: Say) -> tuple[ProcessResult, ...]:
    if not plan.wants(PROCESSES):
        return ()
    cuda = plan.provider == "cuda"
    commands = whole_processes(settings, cuda, with_slow=not plan.quick)
    times = processes.measure(commands, ROUNDS * plan.rounds, say)
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
