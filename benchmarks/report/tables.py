"""The report's tables as plain cells, and how figures are written in them."""

from charlm.benchmarks.report.report import BenchReport
from charlm.benchmarks.report.results import (
    NOTEBOOK,
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    CaseResult,
    Spread,
    SweepResult,
)
from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, Table, table

MEBIBYTE = 1 << 20
UNSTABLE = "unstable"
UNSTABLE_MEANS = (
    "Unstable: the middle half of the trials spans more than 15 % of the median, or the highest "
    "is over 1.5 times the lowest"
)


def number(value: float) -> str:
    """Three digits are what a spread leaves; thousands are set apart."""
    return f"{value:.3g}" if value < 100 else f"{float(f'{value:.3g}'):,.0f}"


def answer_table(report: BenchReport) -> Table:
    """For each job: what to use, how fast that is, how many times the notebook, what it costs."""
    rows = []
    for answer in report.answers():
        case = answer.case
        use, times = case.use or case.title, _times(report.to_notebook(case))
        loss = answer.loss
        lost = f"{round(loss, 3) or 0.0:+.3f}" if loss is not None else ""  # never -0.000
        rows.append(Row((answer.job, use, _middle(case.spread), times, lost), OURS))
    heading = ("your case", "use this", "characters/s", "× notebook", "bits/character")
    return table(heading, rows, words=(1,))


def speed_table(report: BenchReport) -> Table:
    """The procedures: speed, ratios to the notebook and to the limit, start, memory."""
    heading = (
        "procedure", "characters/s", "spread", "× notebook", "of float32's limit",
        "first character", "peak memory",
    )  # fmt: skip
    rows = [_speed_row(report, case) for case in report.cases]
    for limit, streams in ((VECTOR_LIMIT, "one stream"), (PRODUCT_LIMIT, "many streams")):
        best = report.best_limit(limit)
        if best is not None:
            title = f"float32's limit, {streams}: {best.title}, {best.gflops:.3g} GFLOP/s"
            rows.append(Row((title, *_rates(best.spread), "", "100 %", "", ""), LIMIT))
    return table(heading, rows)


def process_table(report: BenchReport) -> Table:
    """Seconds from outside."""
    rows = []
    for each in report.processes:
        first, end = _seconds(Spread.of(each.first_byte)), _seconds(Spread.of(each.seconds))
        cells = (first, end, _mebibytes(each.peak_bytes))
        if each.skipped is not None:
            cells = (f"skipped: {each.skipped}", "", "")
        rows.append(Row((each.title, *cells), CODE if each.case is None else PLAIN))
    return table(("process", "to the first byte", "to the end", "peak memory"), rows)


def sweep_table(sweep: SweepResult) -> Table:
    """Median characters a second: a line for each value, a column for each series."""
    rows = []
    for place, point in enumerate(sweep.series[0].points):
        found = (series.points[place].spread for series in sweep.series)
        rows.append(Row((point.label, *(_middle(each) or "skipped" for each in found))))
    return table((sweep.label, *(series.shown for series in sweep.series)), rows)


def quality_table(report: BenchReport) -> Table:
    """Bits per character of each precision."""
    rows = [
        Row((each.precision, f"{each.bits:.4f}", f"{each.characters:,}"))
        if each.bits is not None
        else Row((each.precision, f"skipped: {each.skipped}", ""))
        for each in report.quality
    ]
    return table(("precision", "bits per character", "characters scored"), rows)


def _speed_row(report: BenchReport, case: CaseResult) -> Row:
    kind = OURS if case.ours else PLAIN
    if case.skipped is not None:
        return Row((case.title, f"skipped: {case.skipped}", *[""] * 5), kind)
    limit = report.to_limit(case)
    start = report.first_character_of(case.name)
    cells = (
        *_rates(case.spread),
        "1" if case.name == NOTEBOOK else _times(report.to_notebook(case)),
        f"{float(f'{100 * limit.median:.2g}'):g} %" if limit else "",
        f"{start.median:.3f} s" if start else "",
        _mebibytes(case.peak_bytes),
    )
    return Row((case.title, *cells), kind)


def _times(found: Spread | None) -> str:
    return number(found.median) if found else ""


def _middle(found: Spread | None) -> str:
    return _warned(number(found.median), found) if found else ""


def _rates(found: Spread | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    span = f"{number(found.low)} to {number(found.high)}"
    return number(found.median), _warned(span, found)


def _seconds(found: Spread | None) -> str:
    if found is None:
        return ""
    return _warned(f"{found.median:.3f} s ({found.low:.3f} to {found.high:.3f})", found)


def _warned(text: str, found: Spread) -> str:
    """The word stands first, so that figures in a column still end in line."""
    return f"{UNSTABLE} {text}" if found.unstable else text


def _mebibytes(size: int | None) -> str:
    return f"{size / MEBIBYTE:.1f} MiB" if size is not None else ""
