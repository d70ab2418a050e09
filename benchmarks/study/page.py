"""The study's table and picture, from its records."""

import io
from collections import defaultdict
from itertools import cycle
from pathlib import Path

from charlm.benchmarks.study.record import STATEFUL, EpochRecord
from charlm.data.pages.markdown import lay_out
from charlm.data.pages.table import OURS, PLAIN, Row, Table, table
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as, write_bytes, write_text

COLOURS = ("#b3261e", "#d98c3f", "#1b5e8c", "#5b8c5a", "#7a3e9d", "#6b4f3f")


def draw(sides: dict[str, list[EpochRecord]]) -> bytes:
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


ABOUT = """\
The first 95 % of the text are learnt from and the last 5 % judged, after every epoch and in both
ways: **window**, each character from the 40 before it and a zero state, as the notebook generates;
and **carried**, the state passed on from the first character to the last, as `charlm-gen` does.
CPU time is that of all threads while training, with evaluation left out."""


def write(records: list[EpochRecord], folder: Path) -> None:
    """Write `study.md` and `study.svg`.

    Raises:
        SettingsError: nothing was recorded, or the folder can't be written.
    """
    if not records:
        raise SettingsError("no records: run a side first, with the command run")
    with os_errors_as(SettingsError, f"can't write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "study.md", render(records))
        write_bytes(folder / "study.svg", draw(by_side(records)))


def by_side(records: list[EpochRecord]) -> dict[str, list[EpochRecord]]:
    """Each side's records, in the order of their epochs."""
    sides: dict[str, list[EpochRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.epoch):
        sides[record.side].append(record)
    return dict(sides)


def render(records: list[EpochRecord]) -> str:
    """The study as Markdown."""
    sides = by_side(records)
    machines = ", ".join(sorted({record.machine for record in records}))
    sections = [
        "# The notebook's training against stateful training",
        ABOUT,
        "![Held-out bits per character against CPU time](study.svg)",
        lay_out(_ends(sides)),
        *_passed(sides),
        f"CPU: {machines}.",
    ]
    for side, own in sides.items():
        sections += [f"## {side}", lay_out(_epochs(side, own))]
    return "\n\n".join(sections) + "\n"


def _ends(sides: dict[str, list[EpochRecord]]) -> Table:
    """Where each side ends, and what carrying the state past 40 characters is worth to it."""
    heading = ("training", "epochs", "CPU time", "window", "carried", "carried − window")
    rows = []
    for side, own in sides.items():
        last = own[-1]
        cells = (
            side, str(last.epoch), f"{last.cpu_seconds / 60:,.1f} min", f"{last.window_bits:.4f}",
            f"{last.carried_bits:.4f}", f"{last.carried_bits - last.window_bits:+.4f}",
        )  # fmt: skip
        rows.append(Row(cells, _kind(side)))
    return table(heading, rows)


def _passed(sides: dict[str, list[EpochRecord]]) -> list[str]:
    """When ours passed what each notebook's side reached at its end."""
    sentences = []
    ours = [record for side, own in sides.items() if _kind(side) == OURS for record in own]
    for side, own in sides.items():
        last = own[-1]
        passed = [record for record in ours if record.carried_bits <= last.window_bits]
        if _kind(side) == OURS or not passed:
            continue
        first = min(passed, key=lambda record: record.cpu_seconds)
        sentences.append(
            f"**{side}** reaches {last.window_bits:.3f} bits per character (window) in "
            f"{last.epoch} epochs and {last.cpu_seconds / 60:.1f} minutes of CPU time; "
            f"stateful training has {first.carried_bits:.3f} (carried) after "
            f"{first.cpu_seconds / 60:.1f} minutes, "
            f"1/{last.cpu_seconds / first.cpu_seconds:.0f} of that."
        )
    return [" ".join(sentences)] if sentences else []


def _epochs(side: str, records: list[EpochRecord]) -> Table:
    heading = ("epoch", "CPU time", "training", "held out, window", "held out, carried")
    rows = []
    for record in records:
        cells = (
            str(record.epoch), f"{record.cpu_seconds:,.0f} s", f"{record.training_bits:.3f}",
            f"{record.window_bits:.4f}", f"{record.carried_bits:.4f}",
        )  # fmt: skip
        rows.append(Row(cells, _kind(side)))
    return table(heading, rows)


def _kind(side: str) -> str:
    return OURS if side.startswith(STATEFUL) else PLAIN
