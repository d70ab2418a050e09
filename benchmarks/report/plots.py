"""The report's pictures as SVG: the speed of every procedure, and a line for each of a sweep.

One form serves the page and the Markdown: letters stay letters, and the page gives the colours.
"""

import math
import statistics
from collections.abc import Sequence
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
    FAINT,
    INK,
    MARKERS,
    PALE,
    SIZE,
    dress,
    name_lines,
    plain_svg,
    short,
    svg,
)

SPEED = "speed"
OUR_COLOUR, NOTEBOOKS_COLOUR, OTHERS_COLOUR = COLOURS[0], COLOURS[1], PALE
ROW_HEIGHT = 0.36  # inches, for a procedure's name and its dot below
PLOT_WIDTH = 0.66  # of the picture; the rest is for figures
COLUMNS = (1.22, 1.47)  # where these end, in widths of the plot
NAME_LEFT_FROM = 0.75  # of the plot's width: right of a limit there is no room for its name
CLOSE_TICKS = 10  # on a scale with more of them every second one is named
Drawn = list[tuple[float, Spread]]
Groups = Sequence[tuple[str, Sequence[CaseResult]]]


def draw(report: BenchReport) -> dict[str, bytes]:
    """The pictures by their names; without those of which nothing was measured."""
    found = {SPEED: draw_speeds(report)}
    found |= {sweep.name: draw_sweep(sweep) for sweep in report.sweeps}
    return {name: picture for name, picture in found.items() if picture is not None}


def draw_speeds(report: BenchReport) -> bytes | None:
    """A dot for each procedure on one logarithmic scale, by job and the fastest first.

    A line through the dot goes from the lowest trial to the highest; a dashed one through a job's
    procedures is the limit of float32. None where no procedure was measured.
    """
    groups = _groups(report)
    if not groups:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    rows = sum(1 + len(cases) for _, cases in groups)
    height = ROW_HEIGHT * (rows + 2)  # two for the scale
    with plain_svg():
        figure = Figure(figsize=(SIZE[0], height))
        axes = figure.add_axes((0.02, 1.6 * ROW_HEIGHT / height, PLOT_WIDTH, rows / (rows + 2)))
        dress(axes, "characters/s, logarithmic", "")
        axes.grid(visible=False, axis="y")
        axes.set_xscale("log")
        axes.set_xlim(*_ends(report, groups))
        axes.set_ylim(rows - 0.3, -0.3)
        place = 0
        for title, cases in groups:
            _write(axes, 0, place, title, weight="bold")
            _limit(axes, place, report, cases)
            for offset, case in enumerate(cases, 1):
                _dot(axes, place + offset, report, case)
            place += 1 + len(cases)
        _write(axes, COLUMNS[0], 0, "characters/s", ha="right")
        _write(axes, COLUMNS[1], 0, "× notebook" if report.has_notebook else "", ha="right")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        return svg(figure)


def _groups(report: BenchReport) -> list[tuple[str, list[CaseResult]]]:
    """The measured procedures by job, the fastest first; the jobs of the GPU last."""
    measured = [case for case in report.cases if case.spread]
    measured.sort(key=lambda case: -statistics.median(case.rates))
    found = [
        (job + " on the GPU" * cuda, [c for c in measured if (c.job, c.cuda) == (job, cuda)])
        for cuda in (False, True)
        for job in (*JOBS, LOOP)
    ]
    return [(title, cases) for title, cases in found if cases]


def _ends(report: BenchReport, groups: Groups) -> tuple[float, float]:
    """Of the scale: room for every trial, and for the limits."""
    cases = [case for _, some in groups for case in some]
    spreads = [case.spread for case in cases]
    spreads += [limit.spread for case in cases if (limit := report.limit_of(case))]
    found = [spread for spread in spreads if spread]
    return min(each.low for each in found) / 1.5, max(each.high for each in found) * 1.3


def _dot(axes: Any, place: float, report: BenchReport, case: CaseResult) -> None:
    """A procedure: its name, below that its dot, and its figures in their columns."""
    spread = case.spread
    assert spread is not None
    colour = OUR_COLOUR if case.ours else OTHERS_COLOUR
    colour = NOTEBOOKS_COLOUR if case.name == NOTEBOOK else colour
    times = report.to_notebook(case)
    _write(axes, 0, place - 0.38, case.title)
    _write(axes, COLUMNS[0], place, number(spread.median), ha="right")
    _write(axes, COLUMNS[1], place, number(times.median) if times else "", ha="right")
    axes.axhline(place, color=FAINT, linewidth=0.6, zorder=0)
    axes.plot([spread.low, spread.high], [place] * 2, color=colour, linewidth=1.6)
    axes.plot([spread.median], [place], "o", color=colour, markersize=6)


def _limit(axes: Any, place: float, report: BenchReport, cases: Sequence[CaseResult]) -> None:
    """A dashed line through a job's procedures, named beside the job's title."""
    limits = [limit.spread for case in cases if (limit := report.limit_of(case))]
    if not limits or limits[0] is None:
        return
    where = limits[0].median
    dashed = (0, (2, 1.5))
    axes.plot([where] * 2, [place, place + len(cases) + 0.3], color=INK, lw=1, linestyle=dashed)
    low, high = axes.get_xlim()
    left = math.log(where / low) > NAME_LEFT_FROM * math.log(high / low)
    axes.annotate(
        "float32's limit", (where, place), (-4 if left else 4, 0), textcoords="offset points",
        color=INK, va="center", ha="right" if left else "left",
    )  # fmt: skip


def _write(
    axes: Any, x: float, place: float, text: str, ha: str = "left", weight: str = "normal"
) -> None:
    """A line of text, at a share of the plot's width."""
    where = axes.get_yaxis_transform()
    axes.text(x, place, text, transform=where, color=INK, va="center", ha=ha, fontweight=weight)


def draw_sweep(sweep: SweepResult) -> bytes | None:
    """A line for each procedure, and the limits of float32 dashed; None of nothing measured."""
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
    return places[-1], middles[-1], series.shown, colour


def _scale(axes: Any, points: Drawn) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    lowest, highest = min(s.low for _, s in points), max(s.high for _, s in points)
    axes.set_ylim(lowest / 1.5, highest * 1.7)
    values = sorted({x for x, _ in points})
    axes.set_xscale("log", base=2)
    named = values[:: -2 if len(values) > CLOSE_TICKS else -1]
    axes.set_xticks(values, [f"{value:g}" if value in named else "" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
