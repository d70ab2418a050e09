"""The report's tables as plain cells, and how figures are written in them."""

from charlm.benchmarks.report import answers
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import (
    NOTEBOOK,
    PRODUCT_LIMIT,
    VECTOR_LIMIT,
    CaseResult,
    Spread,
    SweepPoint,
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


def spread(found: Spread | None) -> str:
    """Median and ends, and whether they lie too far apart."""
    if found is None:
        return ""
    text = f"{number(found.median)} ({number(found.low)} to {number(found.high)})"
    return f"{text} {UNSTABLE}" if found.unstable else text


def seconds(found: Spread | None) -> str:
    """Median and ends in seconds."""
    if found is None:
        return ""
    text = f"{found.median:.3f} s ({found.low:.3f} to {found.high:.3f})"
    return f"{text} {UNSTABLE}" if found.unstable else text


def mebibytes(size: int | None) -> str:
    """A size of memory."""
    return f"{size / MEBIBYTE:.1f} MiB" if size is not None else ""


def percent(share: float) -> str:
    """A share with two digits."""
    return f"{float(f'{100 * share:.2g}'):g} %"


HEADINGS = {VECTOR_LIMIT: "one stream", PRODUCT_LIMIT: "many streams"}


def answer_table(report: Report) -> Table:
    """For each job: what to use, how fast it is, and how many times the notebook."""
    rows = []
    for answer in answers.find(report):
        loss = f" (+{answer.loss:.3f} bits per character)" if answer.loss is not None else ""
        notebook = f"{number(answer.notebook.median)}" if answer.notebook else ""
        rate = number(answer.rate.median)
        warning = f" {UNSTABLE}" if answer.rate.unstable else ""
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
            rate = spread(Spread.of(best.rates))
            rows.append(Row((title, rate, "", "100 %", "", ""), LIMIT))
    return table(heading, rows)


def limit_table(report: Report) -> Table:
    """Every library's way to the limits; the best of each kind counts."""
    heading = ("limit", "library", "GFLOP/s", "characters/s if only this cost time")
    rows = []
    for each in report.limits:
        measured = f"{each.gflops:.3g}" if each.gflops is not None else ""
        rate = spread(Spread.of(each.rates)) or f"skipped: {each.skipped}"
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
        cells = (seconds(first), seconds(end), mebibytes(each.peak_bytes))
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
    return number(found.median) + (f" {UNSTABLE}" if found.unstable else "")


def _speed_row(report: Report, case: CaseResult) -> Row:
    kind = OURS if case.ours else PLAIN
    if case.skipped is not None:
        return Row((case.title, f"skipped: {case.skipped}", "", "", "", ""), kind)
    notebook, limit = report.to_notebook(case), report.to_limit(case)
    times = "1" if case.name == NOTEBOOK else number(notebook.median) if notebook else ""
    cells = (
        spread(Spread.of(case.rates)),
        times,
        percent(limit.median) if limit else "",
        seconds(report.first_character_of(case.name)),
        mebibytes(case.peak_bytes),
    )
    return Row((case.title, *cells), kind)
