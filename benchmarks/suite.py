"""Running a plan: what is measured, in which order, the report of it, and its files."""

import datetime
import json
import tempfile
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

from charlm.benchmarks.harness import artifacts, machine, processes, start, timing
from charlm.benchmarks.harness.artifacts import ModelInfo
from charlm.benchmarks.harness.processes import Process
from charlm.benchmarks.harness.settings import OPERATIONS, CaseFailedError, CaseSettings
from charlm.benchmarks.harness.timing import Measured, Say
from charlm.benchmarks.lineup import CASES, HIDDEN, LIMITS, Case, Sweep, case_named
from charlm.benchmarks.plan import PROCESSES, BenchPlan
from charlm.benchmarks.report import page, plots, results
from charlm.benchmarks.report.report import BenchReport
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as, write_bytes
from charlm.infer.model.providers import ONLY_ON

ROOT = Path("benchmark-results")
SWEEP_SHARE = 0.5  # of a trial's seconds, and of the rounds: a sweep has many points
ROUNDS = 2  # rounds of whole processes for each round of trials: they are short and noisy
SLOW_ROUNDS = 5  # of whole processes that take seconds to start
LIMIT_TITLES = {results.VECTOR_LIMIT: "limit, one text", results.PRODUCT_LIMIT: "limit, many texts"}


def measure_and_write(plan: BenchPlan, folder: Path | None, say: Say) -> BenchReport:
    """Run a plan and write its report into `folder`; None: a folder named after day and processor.

    Raises:
        SettingsError: the folder can't be written; found out before anything is measured.
        CaseFailedError: the model can't be opened.
    """
    if folder is not None:
        _make(folder)
    report = run(plan, say)
    chosen = folder or ROOT / f"{report.date}-{machine.slug(report.machine.cpu)}"
    for name in write(report, chosen):
        say(f"wrote {chosen / name}")
    return report


def write(report: BenchReport, folder: Path) -> list[str]:
    """Write every file of a report; their names.

    Raises:
        SettingsError: the folder can't be made or written.
    """
    pictures = plots.draw(report)
    files = {
        "report.json": report.to_json().encode(),
        "report.html": page.render_html(report, pictures).encode(),
        "report.md": page.render_markdown(report, pictures).encode(),
        **{f"{name}.svg": picture for name, picture in pictures.items()},
    }
    _make(folder)
    with os_errors_as(SettingsError, f"can't write into {folder}"):
        for name, content in files.items():
            write_bytes(folder / name, content)
    return list(files)


def _make(folder: Path) -> None:
    with os_errors_as(SettingsError, f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)


def run(plan: BenchPlan, say: Say) -> BenchReport:
    """Measure everything in the plan.

    Raises:
        CaseFailedError: the model can't be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = artifacts.prepare(plan.model, Path(folder), plan.artifacts())
        settings = CaseSettings(str(plan.model), folder, threads=plan.threads)
        cases, limits = _speeds(plan, settings, model, say)
        quality = _quality(plan, settings, say)
        sweeps = tuple(_sweep(each, plan, settings, say) for each in plan.sweeps())
        commands = whole_processes(plan, settings) if plan.wants(PROCESSES) else []
        return BenchReport(
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            machine=machine.describe(plan.provider), model=model, provider=plan.provider,
            threads=plan.threads, pinned=start.can_pin(), rounds=plan.rounds,
            trial_seconds=plan.trial_seconds, cases=cases, limits=limits, quality=quality,
            processes=processes.measure(commands, ROUNDS * plan.rounds, say) if commands else (),
            sweeps=sweeps, left_out=plan.left_out(),
        )  # fmt: skip


def _speeds(
    plan: BenchPlan, settings: CaseSettings, model: ModelInfo, say: Say
) -> tuple[tuple[results.CaseResult, ...], tuple[results.LimitResult, ...]]:
    """Procedures and limits, all in the same rounds."""
    cases, limits = plan.cases(), plan.bounds()
    workers = [
        timing.Worker(each.name, each.target, each.settings(settings), each.least)
        for each in (*cases, *limits)
    ]
    measured = timing.measure(workers, plan.rounds, plan.trial_seconds, say) if workers else []
    bounds = zip(limits, measured[len(cases) :], strict=True)
    return (
        tuple(map(_case_result, cases, measured)),
        tuple(_limit_result(bound, found, model) for bound, found in bounds),
    )


def _case_result(case: Case, measured: Measured) -> results.CaseResult:
    """What was measured of a procedure, with what a report says of the procedure itself."""
    told = {
        field.name: getattr(case, field.name)
        for field in fields(results.CaseResult)
        if hasattr(case, field.name)
    }
    rates, units = results.rounded(measured.rates, case.batch), measured.units * case.batch
    return results.CaseResult(
        **told, rates=rates, units=units, peak_bytes=measured.peak_bytes, skipped=measured.skipped
    )


def _limit_result(bound: Case, measured: Measured, model: ModelInfo) -> results.LimitResult:
    rates = results.rounded(measured.rates, _characters(bound, model))
    found = results.LimitResult(
        bound.name, bound.title, bound.limit or "", rates, skipped=measured.skipped
    )
    if found.spread is None:
        return found
    return replace(found, gflops=results.significant(found.spread.median * model.flops / 1e9))


def _characters(bound: Case, model: ModelInfo) -> float:
    """How many characters' products a unit of a limit's work is."""
    return OPERATIONS / model.flops if bound.limit == results.PRODUCT_LIMIT else 1


def _quality(
    plan: BenchPlan, settings: CaseSettings, say: Say
) -> tuple[results.QualityResult, ...]:
    """Bits per character of charlm's precisions, where one loses some."""
    wanted = [case.precision for case in plan.cases() if case.name.startswith(results.OURS)]
    if set(wanted) <= {results.EXACT}:
        return ()
    say("bits per character")
    return score(dict.fromkeys(wanted), settings, plan.text, plan.text_characters)


def score(
    precisions: Iterable[str], settings: CaseSettings, text: Path, characters: int
) -> tuple[results.QualityResult, ...]:
    """Score the start of a text at each precision, by `charlm-score`, where that precision runs.

    Characters that the model does not know are left out.
    """
    part = Path(settings.artifacts) / text.name
    # What is no UTF-8 stays what it is: `charlm-score` says so.
    with text.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        part.write_bytes(file.read(characters).encode("utf-8", "surrogateescape"))
    found = []
    for precision in precisions:
        command = processes.charlm_score(settings, precision, ONLY_ON.get(precision, "cpu"), part)
        try:
            total = json.loads(processes.run_once(command, settings.threads).output)["total"]
        except CaseFailedError as problem:
            reason = machine.without_paths(str(problem))
            found.append(results.QualityResult(precision, text=text.name, skipped=reason))
            continue
        bits = results.significant(total["bits_per_character"], 6)
        found.append(results.QualityResult(precision, bits, total["characters"], text.name))
    return tuple(found)


def _sweep(sweep: Sweep, plan: BenchPlan, settings: CaseSettings, say: Say) -> results.SweepResult:
    """Measure a sweep, procedures and limits in the same rounds.

    A limit is that of the model measured there: it is measured once, or at each size of the model.
    """
    say(f"{sweep.title}:")
    values = sweep.quick if plan.quick else sweep.values
    cases = sweep.cases(slow=not plan.quick)
    limits_at = {value: value if sweep.axis == HIDDEN else values[0] for value in values}
    points = [(case, value) for case in cases for value in values]
    points += [(bound, value) for bound in sweep.bounds() for value in set(limits_at.values())]
    workers = [
        timing.Worker(
            f"{case.name} at {value}",
            case.target,
            sweep.settings(case, value, settings),
            case.least,
        )
        for case, value in points
    ]
    rounds = max(1, round(SWEEP_SHARE * plan.rounds))
    measured = timing.measure(workers, rounds, SWEEP_SHARE * plan.trial_seconds, say)
    found = dict(zip(points, measured, strict=True))

    def case_point(case: Case, value: int) -> results.SweepPoint:
        streams = sweep.settings(case, value, settings).batch
        return _point(value, found[case, value], streams)

    def limit_point(limit: str, value: int) -> results.SweepPoint:
        folder = sweep.settings(LIMITS[0], value, settings).artifacts
        model = artifacts.read_info(Path(folder))
        ways = [
            _point(value, found[bound, limits_at[value]], _characters(bound, model))
            for bound in sweep.bounds()
            if bound.limit == limit
        ]
        return results.fastest(ways) or ways[0]

    series = [
        results.SweepSeries(
            each.name, sweep.titles[each.name], tuple(case_point(each, v) for v in values)
        )
        for each in cases
    ] + [
        results.SweepSeries(each, LIMIT_TITLES[each], tuple(limit_point(each, v) for v in values))
        for each in sweep.limits
    ]
    return results.SweepResult(sweep.name, sweep.title, sweep.label, tuple(series))


def _point(value: int, found: Measured, factor: float) -> results.SweepPoint:
    return results.SweepPoint(
        str(value), float(value), results.rounded(found.rates, factor), found.skipped
    )


def whole_processes(plan: BenchPlan, settings: CaseSettings) -> list[Process]:
    """The commands that are measured from their start to their end."""
    cores = settings.threads

    def first(name: str, title: str, case: str) -> Process:
        command = processes.first_character(case_named(case).target, settings)
        return Process(name, f"{title}, first character", command, case, SLOW_ROUNDS, cores)

    def gen(length: int) -> tuple[str, ...]:
        return processes.charlm_gen(settings, length)

    imports = "import onnxruntime"
    found = [
        Process("python", "python -c pass", processes.python("pass"), cores=cores),
        Process(
            "import_onnxruntime", f"python -c '{imports}'", processes.python(imports), cores=cores
        ),
        Process("charlm_gen_100", "charlm-gen --length 100", gen(100), cores=cores),
        Process("charlm_gen_1", "charlm-gen --length 1", gen(1), "charlm_stream", cores=cores),
        first("first_torch_step", "Torch step loop", "torch_step"),
        first("first_openvino", "OpenVINO step loop", "openvino_step"),
        first("first_litert", "LiteRT step loop", "litert_step"),
        first("first_keras", "notebook", results.NOTEBOOK),
    ]
    if plan.provider == "cuda":
        command = processes.charlm_gen(replace(settings, provider="cuda"), 1)
        title = "charlm-gen --length 1 on CUDA"
        found.append(
            Process("charlm_gen_1_cuda", title, command, "charlm_stream_cuda", SLOW_ROUNDS)
        )
    slow = {case.name for case in CASES if case.slow}
    return [each for each in found if not (plan.quick and each.case in slow)]
