"""The report's pictures as SVG: the speed of every procedure, and a line for each of a sweep.

One form serves the page and the Markdown: letters stay letters, and the page gives the colours.
"""

from typing import Any

from charlm.benchmarks.report.report import JOBS, BenchReport
from charlm.benchmarks.report.results import (
    LOOP,
    NOTEBOOK,
    CaseResult,
    Spread,
    SweepResult,
    SweepSeries,
)
from charlm.benchmarks.report.tables import number
from charlm.data.pages.picture import (
    COLOURS,
    INK,
    LETTERS,
    MARKERS,
    SIZE,
    dress,
    name_lines,
    plain_svg,
    short,
    svg,
)

SPEED = "speed"
OUR_COLOUR, NOTEBOOKS_COLOUR, OTHERS_COLOUR = COLOURS[0], COLOURS[1], "#8c959f"
BAR_HEIGHT = 0.42  # inches, with its name above
Drawn = list[tuple[float, Spread]]


def draw(report: BenchReport) -> dict[str, bytes]:
    """The pictures by their names; without those of which nothing was measured."""
    found = {SPEED: draw_speeds(report)}
    found |= {sweep.name: draw_sweep(sweep) for sweep in report.sweeps}
    return {name: picture for name, picture in found.items() if picture is not None}


def draw_speeds(report: BenchReport) -> bytes | None:
    """A bar for each procedure on one logarithmic scale, by job, with its name above it.

    Whiskers go from the lowest trial to the highest; a dashed mark is what the products alone
    would allow. None where no procedure was measured.
    """
    groups = _groups(report)
    if not groups:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    rows = sum(1 + len(cases) for _, cases in groups)
    with plain_svg():
        figure = Figure(figsize=(SIZE[0], BAR_HEIGHT * (rows + 2)), layout="constrained")
        axes = figure.subplots()
        dress(axes, "characters/s; × is times the notebook, dashed: the products alone", "")
        axes.grid(visible=False, axis="y")
        axes.set_xscale("log")
        place = 0
        for title, cases in groups:
            _write(axes, place + 0.35, title, weight="bold")
            for offset, case in enumerate(cases, 1):
                _bar(axes, place + offset, report, case)
            place += 1 + len(cases)
        axes.set_ylim(rows, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        spreads = [spread for _, cases in groups for case in cases if (spread := case.spread)]
        lowest, highest = min(s.low for s in spreads), max(s.high for s in spreads)
        axes.set_xlim(lowest / 2, highest * 1.05)
        return svg(figure)


def _groups(report: BenchReport) -> list[tuple[str, list[CaseResult]]]:
    """The measured procedures by job, those of the GPU last."""
    found: dict[str, list[CaseResult]] = {}
    measured = [case for case in report.cases if case.rates]
    for cuda in (False, True):
        for job in (*JOBS, LOOP):
            some = [case for case in measured if (case.job, case.cuda) == (job, cuda)]
            found[f"{job} on the {'GPU' if cuda else 'CPU'}"] = some
    return [(title, cases) for title, cases in found.items() if cases]


def _bar(axes: Any, place: float, report: BenchReport, case: CaseResult) -> None:
    spread = case.spread
    assert spread is not None
    colour = OUR_COLOUR if case.ours else OTHERS_COLOUR
    colour = NOTEBOOKS_COLOUR if case.name == NOTEBOOK else colour
    times = report.to_notebook(case)
    ratio = f"  {number(times.median)} ×" if times and case.name != NOTEBOOK else ""
    _write(axes, place - 0.2, case.title)
    _write(axes, place - 0.2, f"{number(spread.median)}{ratio}", right=True)
    middle = place + 0.1
    axes.barh(middle, spread.median, height=0.4, color=colour)
    axes.plot([spread.low, spread.high], [middle] * 2, color=INK, linewidth=1)
    if (limit := report.limit_of(case)) and limit.spread:
        ends = [middle - 0.3, middle + 0.3]
        dashed = (0, (2, 1))
        axes.plot([limit.spread.median] * 2, ends, color=INK, linewidth=1.3, linestyle=dashed)


def _write(axes: Any, place: float, text: str, right: bool = False, weight: str = "normal") -> None:
    """A line of text at the left edge, or the right."""
    axes.text(
        float(right), place, text, transform=axes.get_yaxis_transform(), color=INK,
        fontsize=LETTERS + 1, va="bottom", ha="right" if right else "left", fontweight=weight,
    )  # fmt: skip


def draw_sweep(sweep: SweepResult) -> bytes | None:
    """A line for each procedure, and the machine's limits dashed; None of nothing measured."""
    lines = [(series, _measured(series)) for series in sweep.series]
    if not any(points for series, points in lines if not series.is_limit):
        return None
    from matplotlib.figure import Figure

    with plain_svg():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        dress(axes, sweep.label, "characters/s")
        ends = [
            _line(axes, series, points, place)
            for place, (series, points) in enumerate(lines)
            if points
        ]
        _scale(axes, [pair for _, points in lines for pair in points])
        name_lines(axes, ends)
        return svg(figure)


def _measured(series: SweepSeries) -> Drawn:
    return [(point.x, spread) for point in series.points if (spread := point.spread)]


def _line(
    axes: Any, series: SweepSeries, points: Drawn, place: int
) -> tuple[float, float, str, str]:
    """Draw one series; where it ends, its name and its colour."""
    places = [x for x, _ in points]
    middles = [spread.median for _, spread in points]
    colour = INK if series.is_limit else COLOURS[place % len(COLOURS)]
    if series.is_limit:
        axes.plot(places, middles, color=colour, linestyle="--", linewidth=1)
    else:
        below = [spread.median - spread.low for _, spread in points]
        above = [spread.high - spread.median for _, spread in points]
        axes.errorbar(
            places, middles, yerr=[below, above], color=colour, capsize=2, elinewidth=0.8,
            marker=MARKERS[place % len(MARKERS)], markersize=5, linewidth=1.6,
        )  # fmt: skip
    return places[-1], middles[-1], series.title, colour


def _scale(axes: Any, points: Drawn) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    lowest, highest = min(s.low for _, s in points), max(s.high for _, s in points)
    axes.set_ylim(lowest / 1.5, highest * 1.7)
    values = sorted({x for x, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
