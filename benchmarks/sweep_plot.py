"""A sweep as a picture: a line for each procedure, and the machine's limits dashed."""

import io
from collections.abc import Sequence
from typing import Any

from charlm.benchmarks.results import SweepPoint, SweepResult, SweepSeries
from charlm.benchmarks.spread import Spread

INK, FAINT = "#24292e", "#c9ced3"
COLOURS = ("#1b5e8c", "#a34a00", "#2f6f3e", "#7a3e9d", "#8a6d00", "#6b4f3f")
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZE = (6.0, 3.9)  # inches; small, so that its letters stay readable on a phone
LETTERS = 10
APART = 13  # points between two names at the right
Drawn = list[tuple[SweepPoint, float, Spread]]


def draw(sweep: SweepResult) -> bytes | None:
    """The picture as SVG; None where nothing was measured."""
    lines = [(series, _measured(series)) for series in sweep.series]
    if not any(points for series, points in lines if not series.is_limit):
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # A fixed salt and no date: the same report gives the same bytes. Letters stay letters.
    settings: Any = {"svg.hashsalt": "charlm", "svg.fonttype": "none", "font.size": LETTERS}
    with rc_context(settings):
        figure = Figure(figsize=SIZE, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        _dress(axes, sweep)
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
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _measured(series: SweepSeries) -> Drawn:
    found = [(point, point.x, Spread.of(point.rates)) for point in series.points]
    return [(point, x, spread) for point, x, spread in found if x is not None and spread]


def _dress(axes: Any, sweep: SweepResult) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, which="both")
    axes.grid(True, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(sweep.label, color=INK)
    axes.set_ylabel("characters/s", color=INK)


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


def short(value: float) -> str:
    """A round figure for an axis: 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
