"""The loss curve of a run, drawn as SVG."""

import io
from collections.abc import Sequence
from typing import Any


def draw(metrics: Sequence[dict[str, Any]]) -> bytes:
    """Bits per character against epochs, as an SVG file's bytes.

    Args:
        metrics: the records of `metrics.jsonl`, at least one.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [record["epoch"] for record in metrics]
    for key, label, colour in (
        ("train_bits", "training (while learning)", "#8a8a8a"),
        ("validation_bits", "validation", "#b3261e"),
    ):
        values = [record[key] for record in metrics]
        if any(value is not None for value in values):
            axes.plot(epochs, values, label=label, color=colour, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel("bits per character")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    # A fixed salt and no date: the same metrics give the same bytes.
    with rc_context({"svg.hashsalt": "charlm"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
