"""The speeds as a picture: bars on a logarithmic scale, the notebook's apart, the limit a line."""

import io
from typing import Any

from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import NOTEBOOK, CaseResult, Spread
from charlm.benchmarks.report.tables import HEADINGS

OURS, OTHERS, NOTEBOOKS, LIMIT = "#1b5e8c", "#a3adb5", "#b3261e", "#333333"
ROOM = 2.2  # the space right of the longest bar, as a factor, for its figure


def draw(report: Report) -> dict[str, bytes] | None:
    """The picture as the bytes of an SVG and of a PNG file; None where no case was measured."""
    bars = _bars(report)
    if not bars:
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.3 + 0.42 * len(bars)), layout="constrained")
    axes = figure.subplots()
    _draw_bars(axes, bars)
    _draw_limits(axes, report)
    axes.set_xscale("log")
    axes.set_xlim(
        left=1, right=ROOM * max(axes.get_xlim()[1], *(spread.high for _, spread in bars))
    )
    axes.set_xlabel("characters a second (whiskers: lowest to highest)")
    threads = "one thread" if report.threads == 1 else f"{report.threads} threads"
    axes.set_title(f"{report.machine.cpu}, {threads}", fontsize=10, pad=18)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    files = {}
    # A fixed salt and no date: the same report gives the same bytes.
    with rc_context({"svg.hashsalt": "charlm"}):
        for name, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=name, dpi=150, metadata=metadata)
            files[name] = buffer.getvalue()
    return files


def _bars(report: Report) -> list[tuple[CaseResult, Spread]]:
    found = [(case, Spread.of(case.rates)) for case in report.cases]
    return [(case, spread) for case, spread in found if spread is not None]


def _draw_bars(axes: Any, bars: list[tuple[CaseResult, Spread]]) -> None:
    places = range(len(bars))
    middles = [spread.median for _, spread in bars]
    below = [spread.median - spread.low for _, spread in bars]
    above = [spread.high - spread.median for _, spread in bars]
    axes.barh(places, middles, height=0.62, color=[_colour(case) for case, _ in bars])
    axes.errorbar(
        middles, places, xerr=[below, above], fmt="none", ecolor="#222222", capsize=2.5,
        elinewidth=0.9,
    )  # fmt: skip
    axes.set_yticks(places, [case.title for case, _ in bars])
    axes.invert_yaxis()
    for place, (case, spread) in zip(places, bars, strict=True):
        weight = "bold" if case.name == NOTEBOOK or case.ours else "normal"
        axes.annotate(
            f"{spread.median:,.0f}", (spread.high, place), (5, 0), textcoords="offset points",
            va="center", fontsize=9, fontweight=weight,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def _draw_limits(axes: Any, report: Report) -> None:
    for (limit, streams), side in zip(HEADINGS.items(), ("right", "left"), strict=True):
        best = report.best_limit(limit)
        middle = Spread.of(best.rates) if best else None
        if middle is None:
            continue
        axes.axvline(middle.median, color=LIMIT, linestyle="--", linewidth=1)
        axes.annotate(
            f"limit, {streams}", (middle.median, 1.01), xycoords=("data", "axes fraction"),
            ha=side, va="bottom", fontsize=8, color=LIMIT,
        )  # fmt: skip


def _colour(case: CaseResult) -> str:
    return NOTEBOOKS if case.name == NOTEBOOK else OURS if case.ours else OTHERS
