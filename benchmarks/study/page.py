"""The study's table and picture, from its records."""

from collections import defaultdict
from itertools import cycle
from pathlib import Path

from charlm.benchmarks.study.record import STATEFUL, EpochRecord
from charlm.data.pages.markdown import lay_out
from charlm.data.pages.picture import COLOURS, SIZE, dress, name_lines, plain_svg, short, svg
from charlm.data.pages.table import OURS, PLAIN, Row, Table, table
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as, write_bytes, write_text


def draw(sides: dict[str, list[EpochRecord]]) -> bytes:
    """The bytes of an SVG file; the same records give the same bytes.

    A side is a colour; its bits with the state carried are a line, those of a window dashed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ours, others = cycle(COLOURS[::2]), cycle(COLOURS[1::2])
    with plain_svg():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        dress(axes, "minutes of CPU time, logarithmic", "bits per character, held out")
        ends: list[tuple[float, float, str, str]] = []
        for side, records in sides.items():
            colour = next(ours if _kind(side) == OURS else others)
            minutes = [record.cpu_seconds / 60 for record in records]
            window = [record.window_bits for record in records]
            carried = [record.carried_bits for record in records]
            axes.plot(minutes, window, "--", color=colour, linewidth=1)
            axes.plot(minutes, carried, color=colour, marker="o", markersize=4, linewidth=1.6)
            end = minutes[-1], carried[-1]
            if len(records) > 1:
                ends.append((*end, side, colour))
            else:  # of a single dot the name stands below, where no line goes on
                axes.annotate(
                    side, end, (0, -14), textcoords="offset points", color=colour, ha="left"
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        name_lines(axes, ends)
        return svg(figure)


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
