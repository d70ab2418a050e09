"""A sweep as a picture: a line for each procedure, and the machine's limits dashed."""

from collections.abc import Sequence
from typing import Any

from charlm.benchmarks.report.results import Spread, SweepPoint, SweepResult, SweepSeries
from charlm.data.pages.picture import COLOURS, INK, MARKERS, SIZE, dress, plain_svg, short, svg

APART = 13  # points between two names at the right
Drawn = list[tuple[SweepPoint, float, Spread]]


def draw(sweep: SweepResult) -> bytes | None:
    """The picture as SVG; None where nothing was measured."""
    lines = [(series, _measured(series)) for series in sweep.series]
    if not any(points for series, points in lines if not series.is_limit):
        return None
    from matplotlib.figure import Figure

    with plain_svg():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        dress(axes, sweep.label, "characters/s")
        ends = [
            _line(axes, series, points, number, sweep.logarithmic)
            for number, (series, points) in enumerate(lines)
            if points
        ]
        _scale(axes, sweep, [points for _, points in lines])
        if sweep.logarithmic:
            _name_lines(axes, ends)
        else:
            axes.legend(frameon=False, labelcolor=INK, loc="best")
        return svg(figure)


def _measured(series: SweepSeries) -> Drawn:
    found = [(point, point.x, Spread.of(point.rates)) for point in series.points]
    return [(point, x, spread) for point, x, spread in found if x is not None and spread]


def _line(
    axes: Any, series: SweepSeries, points: Drawn, number: int, joined: bool
) -> tuple[float, float, str, str]:
    """Draw one series; where it ends, its name and its colour."""
    places = [x for _, x, _ in points]
    middles = [spread.median for *_, spread in points]
    colour = INK if series.is_limit else COLOURS[number % len(COLOURS)]
    if series.is_limit:
        axes.plot(places, middles, color=colour, linestyle="--", linewidth=1)
    else:
        errors = [
            [spread.median - spread.low for *_, spread in points],
            [spread.high - spread.median for *_, spread in points],
        ]
        axes.errorbar(
            places, middles, yerr=errors, color=colour, capsize=2, elinewidth=0.8,
            marker=MARKERS[number % len(MARKERS)], markersize=5, linewidth=1.6 if joined else 0,
            label=series.title,
        )  # fmt: skip
    if not joined:
        for point, x, spread in points:
            axes.annotate(
                point.label, (x, spread.median), (7, 4), textcoords="offset points", color=INK
            )
    return places[-1], middles[-1], series.title, colour


def _scale(axes: Any, sweep: SweepResult, lines: Sequence[Drawn]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    highest = max(spread.high for points in lines for *_, spread in points)
    lowest = min(spread.low for points in lines for *_, spread in points)
    axes.set_ylim(lowest / 1.5, highest * 1.7)
    if sweep.logarithmic:
        values = sorted({x for points in lines for _, x, _ in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.margins(x=0.3)


def _name_lines(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names right of the lines' ends, pushed apart where they would overlap."""
    axes.figure.draw_without_rendering()
    scale = 72 / axes.figure.dpi
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [axes.transData.transform((x, y))[1] * scale for x, y, *_ in ordered]
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + APART) if placed else height)
    middle = (sum(placed) - sum(heights)) / len(heights)  # share the push between up and down
    for (x, y, title, colour), height, own in zip(ordered, placed, heights, strict=True):
        axes.annotate(
            title, (x, y), (10, height - middle - own), textcoords="offset points", color=colour,
            va="center", annotation_clip=False,
        )  # fmt: skip
