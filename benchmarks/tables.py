"""The report's tables as plain cells, for Markdown and HTML to lay out."""

from charlm.benchmarks import answers, figures, goals
from charlm.benchmarks.report import Report
from charlm.benchmarks.results import (
    NOTEBOOK,
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    CaseResult,
    SweepPoint,
    SweepResult,
)
from charlm.benchmarks.spread import Spread
from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, Table, table

HEADINGS = {VECTOR_LIMIT: "one stream", PRODUCT_LIMIT: "many streams"}


def answer_table(report: Report) -> Table:
    """For each job: what to use, how fast it is, and how many times the notebook."""
    rows = []
    for answer in answers.find(report):
        loss = f" (+{answer.loss:.3f} bits per character)" if answer.loss is not None else ""
        notebook = f"{figures.number(answer.notebook.median)}" if answer.notebook else ""
        rate = figures.number(answer.rate.median)
        warning = f" {figures.UNSTABLE}" if answer.rate.unstable else ""
        rows.append(Row((answer.job + loss, answer.use, rate + warning, notebook), OURS))
    return table(("your case", "use this", "characters/s", "× notebook"), rows, words=(1,))


def speed_table(report: Report) -> Table:
    """The procedures: speed, ratios to the notebook and to the limit, start, memory."""
    heading = (
        "procedure", "characters/s", "× notebook", "of the limit", "first character", "peak memory",
    )  # fmt: skip
    rows = [_speed_row(report, case) for case in report.cases]
    for limit, streams in HEADINGS.items():
        best = report.best_limit(limit)
        if best is not None:
            title = f"limit, {streams}: {best.gflops:.3g} GFLOP/s of products alone"
            rate = figures.spread(Spread.of(best.rates))
            rows.append(Row((title, rate, "", "100 %", "", ""), LIMIT))
    return table(heading, rows)


def goal_table(report: Report) -> Table:
    """Ratios of medians taken round by round, with their targets."""
    rows = []
    for each in goals.reached(report):
        target = each.goal.target
        wanted = ""
        if target is not None:
            wanted = f"{target:,g}: {'' if each.ratio.median >= target else 'not '}reached"
        pair = f"{each.ours} / {each.base}"
        rows.append(Row((each.goal.title, figures.spread(each.ratio), wanted, pair)))
    return table(("ratio", "measured", "goal", "of what"), rows, words=(3,))


def limit_table(report: Report) -> Table:
    """Every library's way to the limits; the best of each kind counts."""
    heading = ("limit", "library", "GFLOP/s", "characters/s if only this cost time")
    rows = []
    for each in report.limits:
        measured = f"{each.gflops:.3g}" if each.gflops is not None else ""
        rate = figures.spread(Spread.of(each.rates)) or f"skipped: {each.skipped}"
        rows.append(Row((HEADINGS[each.limit], each.title, measured, rate)))
    return table(heading, rows, words=(1,))


def process_table(report: Report) -> Table:
    """Seconds from outside."""
    rows = []
    for each in report.processes:
        kind = CODE if each.case is None else PLAIN
        if each.skipped is not None:
            rows.append(Row((each.title, f"skipped: {each.skipped}", "", ""), kind))
            continue
        first, end = Spread.of(each.first_byte), Spread.of(each.seconds)
        cells = (figures.seconds(first), figures.seconds(end), figures.mebibytes(each.peak_bytes))
        rows.append(Row((each.title, *cells), kind))
    return table(("process", "to the first byte", "to the end", "peak memory"), rows)


def sweep_table(sweep: SweepResult) -> Table:
    """Median characters a second: a line for each value, a column for each series."""
    rows = []
    for number, point in enumerate(sweep.series[0].points):
        cells = [_point(series.points[number]) for series in sweep.series]
        place = point.label
        if not sweep.logarithmic:
            place += f" ({point.x:.4g} {sweep.label})" if point.x is not None else ""
        rows.append(Row((place, *cells)))
    return table((sweep.label, *(series.title for series in sweep.series)), rows)


def quality_table(report: Report) -> Table:
    """Bits per character of each precision."""
    rows = [
        Row((each.precision, f"{each.bits:.4f}", f"{each.characters:,}"))
        if each.bits is not None
        else Row((each.precision, f"skipped: {each.skipped}", ""))
        for each in report.quality
    ]
    return table(("precision", "bits per character", "characters scored"), rows)


def flips_table(report: Report) -> Table:
    """Flips of each path at each temperature."""
    heading = (
        "path", "temperature", "characters", "flips", "per million", "near-ties", "farthest",
    )  # fmt: skip
    rows = [
        Row((each.path, f"{each.temperature:g}", f"skipped: {each.skipped}", "", "", "", ""))
        if each.skipped is not None
        else Row(
            (
                each.path, f"{each.temperature:g}", f"{each.characters:,}", f"{each.flips:,}",
                f"{each.per_million:.2g}", _ties(each.flips, each.ties),
                f"{each.worst:.2g}" if each.flips else "",
            )
        )
        for each in report.flips
    ]  # fmt: skip
    return table(heading, rows)


def _ties(flips: int, ties: int) -> str:
    if not flips:
        return ""
    return "all" if ties == flips else f"{ties:,} of {flips:,}"


def _point(point: SweepPoint) -> str:
    found = Spread.of(point.rates)
    if found is None:
        return "skipped"
    return figures.number(found.median) + (f" {figures.UNSTABLE}" if found.unstable else "")


def _speed_row(report: Report, case: CaseResult) -> Row:
    kind = OURS if case.ours else PLAIN
    if case.skipped is not None:
        return Row((case.title, f"skipped: {case.skipped}", "", "", "", ""), kind)
    notebook, limit = report.to_notebook(case), report.to_limit(case)
    times = "1" if case.name == NOTEBOOK else figures.number(notebook.median) if notebook else ""
    cells = (
        figures.spread(Spread.of(case.rates)),
        times,
        figures.percent(limit.median) if limit else "",
        figures.seconds(report.first_character_of(case.name)),
        figures.mebibytes(case.peak_bytes),
    )
    return Row((case.title, *cells), kind)
