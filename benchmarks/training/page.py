"""The times of training steps as Markdown."""

import torch

from charlm.benchmarks import machine
from charlm.benchmarks.training.measure import StepTime
from charlm.benchmarks.training.parts import PREFIXES, SIDE

NOTES = f"""
*Of the peak*: floating-point operations a second of all products in a step, the model's and Muon's,
beside those of a product of two {SIDE} × {SIDE} matrices with as many threads, measured in the same
turns. *By the model*: the model's products alone. The input's product is not counted: it is an
index in principle, and the library forms it. Each time is the difference of the medians of two
prefixes of the step; *spread* is the distance of the quartiles of the whole step.
"""


def as_markdown(times: list[StepTime]) -> str:
    """A table with a row for each size and number of threads."""
    described = machine.describe("cpu")
    heading = ["step", "threads", "characters/s", *(f"{name} ms" for name in PREFIXES)]
    heading += ["step ms", "spread", "peak GFLOP/s", "of the peak", "by the model"]
    lines = [
        "# Where the time of a training step goes",
        "",
        f"{described.cpu}, Torch {torch.__version__}.",
        "",
        "| " + " | ".join(heading) + " |",
        "|---" + "|--:" * (len(heading) - 1) + "|",
        *map(_row, times),
    ]
    return "\n".join(lines) + "\n" + NOTES


def _row(time: StepTime) -> str:
    rate = 1e3 * time.size.characters() / time.step()
    cells = [str(time.size), str(time.threads), f"{rate:,.0f}"]
    cells += [f"{time.milliseconds[name]:.1f}" for name in PREFIXES]
    cells += [f"{time.step():.1f}", f"{100 * time.spread:.0f} %", f"{time.peak / 1e9:.0f}"]
    cells += [f"{time.of_peak():.2f}", f"{time.of_peak_by_the_model():.2f}"]
    return "| " + " | ".join(cells) + " |"
