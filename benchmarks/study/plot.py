"""The study as a picture: held-out bits per character against CPU time, both ways of judging."""

import io
from itertools import cycle

from charlm.benchmarks.study.record import Record

COLOURS = ("#b3261e", "#d98c3f", "#1b5e8c", "#5b8c5a", "#7a3e9d", "#6b4f3f")


def draw(sides: dict[str, list[Record]]) -> bytes:
    """The bytes of an SVG file; the same records give the same bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    for (side, records), colour in zip(sides.items(), cycle(COLOURS), strict=False):
        minutes = [record.cpu_seconds / 60 for record in records]
        for way, style in (("window", "--"), ("carried", "-")):
            bits = [getattr(record, f"{way}_bits") for record in records]
            axes.plot(minutes, bits, style, color=colour, marker="o", ms=3, label=f"{side}, {way}")
    axes.set_xscale("log")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    axes.set_xlabel("minutes of CPU time (logarithmic)")
    axes.set_ylabel("bits per character, held out")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "charlm"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
