"""A report as Markdown: the whole of it, and the table of speeds by itself."""

from collections.abc import Iterable, Sequence

from charlm.benchmarks.report import (
    NOTEBOOK,
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    CaseResult,
    Report,
)
from charlm.benchmarks.spread import Spread

MEGABYTE = 1 << 20
HEADINGS = {VECTOR_LIMIT: "one stream", PRODUCT_LIMIT: "many streams"}


def render(report: Report) -> str:
    """The report, ready to be read on its own."""
    sections = [f"# charlm benchmark, {report.date}", about(report), speed_table(report)]
    if report.limits:
        sections += ["## The machine's limits", limit_table(report)]
    if report.processes:
        sections += ["## Whole processes", process_table(report)]
    if report.memory is not None:
        sections += ["## Memory of a long text", memory_line(report)]
    return "\n\n".join(sections) + "\n"


def about(report: Report) -> str:
    """Machine, software, model and method, as a list."""
    machine, model = report.machine, report.model
    memory = f", {machine.memory_bytes / (1 << 30):.0f} GiB" if machine.memory_bytes else ""
    each = "thread on one core" if report.threads == 1 else f"threads on {report.threads} cores"
    pinned = "" if report.pinned else " (not pinned: this system does not let a process choose)"
    lines = [
        f"Machine: {machine.cpu}, {machine.cores} cores{memory}; {machine.system}",
        *([f"GPU: {machine.gpu}"] if machine.gpu else []),
        "Versions: " + ", ".join(f"{name} {number}" for name, number in machine.versions.items()),
        f"Model: {model.file} ({model.bytes / 1e6:.2f} MB), LSTM {model.layers} x {model.hidden}, "
        f"{model.vocabulary} characters, weights {model.weights_sha256[:12]}",
        f"Method: every procedure in a process of its own, {report.threads} {each}{pinned}; "
        f"temperature 1, sampling included; after a warm-up {report.rounds} rounds in which each "
        f"has one trial of about {report.trial_seconds} s in turn. Median (lowest to highest); "
        "ratios are taken round by round.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def speed_table(report: Report) -> str:
    """The procedures: speed, ratios to the notebook and to the limit, start, memory."""
    heading = (
        "procedure", "characters/s", "× notebook", "of the limit", "first character", "peak memory",
    )  # fmt: skip
    rows = [_speed_row(report, case) for case in report.cases]
    for limit, streams in HEADINGS.items():
        best = report.best_limit(limit)
        if best is not None:
            title = f"*limit, {streams}: {best.gflops:.3g} GFLOP/s of products alone*"
            rows.append((title, _rate(Spread.of(best.rates)), "", "100 %", "", ""))
    return _table(heading, rows)


def limit_table(report: Report) -> str:
    """Every library's way to the limits; the best of each kind counts."""
    heading = ("limit", "library", "GFLOP/s", "characters/s if only this cost time")
    rows = []
    for each in report.limits:
        measured = f"{each.gflops:.3g}" if each.gflops is not None else ""
        rate = _rate(Spread.of(each.rates)) or f"skipped: {each.skipped}"
        rows.append((HEADINGS[each.limit], each.title, measured, rate))
    return _table(heading, rows)


def process_table(report: Report) -> str:
    """Seconds from outside, and the ratio that is a goal."""
    heading = ("process", "to the first byte", "to the end", "peak memory")
    rows = [
        (f"`{each.title}`" if each.case is None else each.title, *cells)
        for each in report.processes
        for cells in [
            (f"skipped: {each.skipped}", "", "")
            if each.skipped is not None
            else (
                _seconds(Spread.of(each.first_byte)),
                _seconds(Spread.of(each.seconds)),
                _megabytes(each.peak_bytes),
            )
        ]
    ]
    table = _table(heading, rows)
    ratio = report.pair_ratio()
    if ratio is None or report.pair is None:
        return table
    ours, other = (report.process(name) for name in report.pair)
    assert ours is not None
    assert other is not None
    return (
        f"{table}\n\n`{ours.title}` takes {ratio.median:.2f} times as long as `{other.title}` "
        f"(median of {len(ours.seconds)} pairs run in turn; {ratio.low:.2f} to {ratio.high:.2f})."
    )


def memory_line(report: Report) -> str:
    """Whether a long text's memory stays where it was after the first thousand characters."""
    memory = report.memory
    if memory is None:
        return ""
    command = f"`charlm-gen --length {memory.characters}`"
    if memory.skipped is not None:
        return f"{command} skipped: {memory.skipped}."
    peak = f"; peak {_megabytes(memory.peak_bytes)}" if memory.peak_bytes else ""
    return (
        f"{command}: {_megabytes(memory.early_bytes)} after the first thousand characters, "
        f"{_megabytes(memory.late_bytes)} after {memory.late_characters:,}{peak}."
    )


def _speed_row(report: Report, case: CaseResult) -> tuple[str, ...]:
    title = f"**{case.title}**" if case.name.startswith("charlm_") else case.title
    if case.skipped is not None:
        return (title, f"skipped: {case.skipped}", "", "", "", "")
    notebook, limit = report.to_notebook(case), report.to_limit(case)
    return (
        title,
        _rate(Spread.of(case.rates)),
        "1" if case.name == NOTEBOOK else f"{_number(notebook.median)}" if notebook else "",
        f"{100 * limit.median:.2g} %" if limit else "",
        _seconds(report.first_character_of(case.name)),
        _megabytes(case.peak_bytes),
    )


def _rate(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})"


def _seconds(spread: Spread | None) -> str:
    return f"{spread.median:.3f} s ({spread.low:.3f} to {spread.high:.3f})" if spread else ""


def _megabytes(size: int | None) -> str:
    return f"{size / MEGABYTE:.1f} MiB" if size is not None else ""


def _number(value: float) -> str:
    """Three digits are what a spread leaves; thousands are set apart."""
    return f"{value:.3g}" if value < 100 else f"{float(f'{value:.3g}'):,.0f}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---", *["--:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
