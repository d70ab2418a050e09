"""The report's pictures, each as an SVG file that follows a page's theme."""

from collections.abc import Sequence
from typing import Any

from charlm.data.pages import picture
from charlm.data.pages.picture import COLOURS, INK, MARKERS, PALE, SIZE, dress, name_lines, short
from charlm.train.report.measure import Evidence

NARROWEST = 0.1  # bits from bottom to top, lest noise look like drift
OURS, OTHER, LEARNT = COLOURS[0], COLOURS[1], COLOURS[2]
ROW, AROUND = 0.27, 1.0  # inches of a row of dots, and of what is above and below all
HALF, PANELS = (4.6, 3.3), ("drift", "state")  # side by side
Dots = Sequence[tuple[float, str, str]]  # how far right, colour, marker


def draw_all(evidence: Evidence) -> dict[str, bytes]:
    """Every picture that there are figures for, by the names of `DRAWERS`."""
    from matplotlib.figure import Figure

    drawn = {}
    for name, draw in DRAWERS.items():
        with picture.plain_svg():
            figure = Figure(figsize=HALF if name in PANELS else SIZE, layout="constrained")
            if draw(figure, evidence):
                drawn[name] = picture.svg(figure)
    return drawn


def _training(figure: Any, evidence: Evidence) -> bool:
    """Bits against characters seen, with the minutes above and the chosen epoch marked."""
    curve = evidence.curve
    if not curve:
        return False
    axes = figure.subplots()
    dress(axes, "characters seen", "bits per character")
    seen = [point.characters for point in curve]
    learning = [point.train_bits for point in curve]
    axes.plot(seen, learning, color=LEARNT, marker="s", ms=3)
    ends = [(seen[-1], learning[-1], "training", LEARNT)]
    judged = [(point.characters, point.validation_bits) for point in curve
              if point.validation_bits is not None]  # fmt: skip
    if judged:
        axes.plot(*zip(*judged, strict=True), color=OURS, marker="o", ms=3)
        ends.append((*judged[-1], "validation", OURS))
        x, bits = min(judged, key=lambda point: point[1])
        axes.plot([x], [bits], color=OURS, marker="o", ms=9, fillstyle="none")
        axes.annotate("chosen", (x, bits), (0, -9), textcoords="offset points", ha="right",
                      va="top", color=OURS)  # fmt: skip
    best = evidence.best
    axes.axhline(best.bits, color=OTHER, linestyle="--", linewidth=1)
    ends.append((seen[-1], best.bits, best.name, OTHER))
    axes.set_xlim(left=0, right=1.02 * seen[-1])
    axes.margins(y=0.12)
    _count_in_thousands(axes.xaxis)
    _minutes_above(axes, evidence)
    name_lines(axes, ends)
    return True


def _minutes_above(axes: Any, evidence: Evidence) -> None:
    """An axis of time: what was seen then, at the speed of all the training."""
    from matplotlib.ticker import MaxNLocator

    last = evidence.curve[-1]
    if not last.seconds or not last.characters:
        return
    a_minute = last.characters / (last.seconds / 60)
    above = axes.secondary_xaxis(
        "top", functions=(lambda seen: seen / a_minute, lambda minutes: minutes * a_minute)
    )
    above.set_xlabel("minutes", color=INK)
    above.tick_params(colors=INK)
    above.spines["top"].set_visible(False)
    above.xaxis.set_major_locator(MaxNLocator(5))


def _baselines(figure: Any, evidence: Evidence) -> bool:
    """A dot for each baseline, the best first, and a line at the model."""
    rows = [
        (f"{each.name}  {each.bits:.3f}", [(each.bits, PALE if each.weak else OTHER, MARKERS[0])])
        for each in evidence.baselines
    ]
    axes = _rows_of_dots(figure, rows, "bits per character of the held-out text")
    axes.axvline(evidence.bits, color=OURS, linewidth=1.3)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.15 * evidence.bits))
    axes.annotate(f"this model {evidence.bits:.3f}", (evidence.bits, 1), (0, 3), color=OURS,
                  xycoords=("data", "axes fraction"), textcoords="offset points",
                  ha="center", va="bottom")  # fmt: skip
    return True


def _rows_of_dots(figure: Any, rows: Sequence[tuple[str, Dots]], label: str) -> Any:
    """Axes with a level name and some dots in every row, the first on top."""
    figure.set_size_inches(SIZE[0], AROUND + ROW * len(rows))
    axes = figure.subplots()
    dress(axes, label, "")
    for place, (_, dots) in enumerate(rows):
        for value, colour, marker in dots:
            axes.plot([value], [place], color=colour, marker=marker, ms=6, linestyle="none")
    names = [name for name, _ in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    highest = max((value for _, dots in rows for value, *_ in dots), default=1.0)
    axes.set_xlim(0, 1.15 * highest)
    return axes


def _context(figure: Any, evidence: Evidence) -> bool:
    """Bits against how often the state is zeroed, and never as a line."""
    points = [(p.length, p.bits) for p in evidence.context if p.length is not None]
    if not points:
        return False
    axes = figure.subplots()
    dress(axes, "characters between resets of the state", "bits per character")
    axes.plot(*zip(*points, strict=True), color=OURS, marker="o", ms=4)
    never = evidence.context[-1].bits
    axes.axhline(never, color=OTHER, linestyle="--")
    axes.set_xscale("log")
    every = points[::2] if len(points) > 6 else points
    axes.set_xticks([x for x, _ in every], [f"{x:,}" for x, _ in every])
    axes.set_xticks([], minor=True)
    x, bits = points[0]
    axes.annotate("state reset", (x, bits), (8, 0), textcoords="offset points", color=OURS,
                  va="center")  # fmt: skip
    name_lines(axes, [(axes.get_xlim()[1], never, "never reset", OTHER)])
    return True


def _drift(figure: Any, evidence: Evidence) -> bool:
    """Bits along the held-out text, a line for each of some laps over it."""
    drift = evidence.drift
    axes = figure.subplots()
    dress(axes, "place in the held-out text", "bits per character")
    for number, (lap, bits) in enumerate(drift.curves.items()):
        middles = [(n + 0.5) * drift.window for n in range(len(bits))]
        colour = OURS if number == 0 else OTHER if lap == len(drift.laps) else PALE
        axes.plot(middles, bits, color=colour, linestyle="-" if number == 0 else "--",
                  marker="o" if number == 0 else None, ms=4,
                  linewidth=1 if colour == PALE else 1.6)  # fmt: skip
    axes.margins(y=0.2)
    low, high = axes.get_ylim()
    missing = max(0.0, NARROWEST - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)
    axes.margins(x=0.02)
    _count_in_thousands(axes.xaxis)
    curves = list(drift.curves.items())
    ends = [(curves[0], OURS), (curves[-1], OTHER)] if len(curves) > 1 else [(curves[0], OURS)]
    name_lines(axes, [(axes.get_xlim()[1], bits[-1], f"lap {lap}", colour)
                      for (lap, bits), colour in ends])  # fmt: skip
    return True


def _state(figure: Any, evidence: Evidence) -> bool:
    """The norms of the state along the whole reading."""
    from matplotlib.ticker import LogFormatter

    drift = evidence.drift
    axes = figure.subplots()
    dress(axes, "characters read without a reset", "norm of the state")
    axes.plot(drift.places, drift.cell, color=OTHER)
    axes.plot(drift.places, drift.hidden, color=OURS)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.margins(y=0.1)
    _count_in_thousands(axes.xaxis)
    last = drift.places[-1]
    name_lines(axes, [(last, drift.cell[-1], "cell c", OTHER),
                      (last, drift.hidden[-1], "hidden h", OURS)])  # fmt: skip
    return True


def _characters(figure: Any, evidence: Evidence) -> bool:
    """The hardest characters: what the model needs, beside their bare frequency."""
    found = evidence.hardest
    if not found:
        return False
    rows = [
        (shown(each.character), [(each.frequency_bits, PALE, MARKERS[3]), (each.bits, OURS, "o")])
        for each in found
    ]
    axes = _rows_of_dots(figure, rows, "bits each, where it stands in the held-out text")
    _name_dots(axes, rows[0][1], ["by its frequency", "this model"])
    return True


def _name_dots(axes: Any, dots: Dots, names: Sequence[str]) -> None:
    """A key above the rows."""
    for (_, colour, marker), name in zip(dots, names, strict=True):
        axes.plot([], [], color=colour, marker=marker, ms=6, linestyle="none", label=name)
    axes.figure.legend(frameon=False, labelcolor=INK, loc="outside upper left",
                       ncols=3, handletextpad=0.1, columnspacing=1)  # fmt: skip


def _copies(figure: Any, evidence: Evidence) -> bool:
    """The share of substrings found in the training text, by their length; what has none, not."""
    copied = [each for each in evidence.copies if any(each.shares.values())]
    if not copied:
        return False
    axes = figure.subplots()
    dress(axes, "length of the substring, in characters", "share found in the training text")
    ends = []
    for number, each in enumerate(copied):
        held_out = each is evidence.copies[-1]
        colour = INK if held_out else COLOURS[number]
        some = [(length, 100 * share) for length, share in each.shares.items() if share]
        axes.plot(*zip(*some, strict=True), color=colour, marker=MARKERS[number], ms=4,
                  linestyle="--" if held_out else "-")  # fmt: skip
        ends.append((*some[-1], each.name.removeprefix("sample, "), colour))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlim(5, 85)
    name_lines(axes, ends)
    return True


def _distance(figure: Any, evidence: Evidence) -> bool:
    """Divergence of each text from the held-out text, a row for each kind of n-gram."""
    names = list(dict.fromkeys(name for each in evidence.distances for name in each.values))
    colours = [*COLOURS[: len(evidence.distances) - 1], INK]
    rows = [
        (name, [(each.values[name], colour, marker)
                for each, colour, marker in zip(evidence.distances, colours, MARKERS, strict=False)
                if name in each.values])
        for name in names
    ]  # fmt: skip
    axes = _rows_of_dots(figure, rows, "divergence from held-out text, bits")
    _name_dots(axes, rows[0][1], [each.name for each in evidence.distances])
    return True


DRAWERS = {
    "training": _training, "baselines": _baselines, "context": _context, "drift": _drift,
    "state": _state, "characters": _characters, "copies": _copies, "distance": _distance,
}  # fmt: skip


def shown(character: str) -> str:
    """A character so that it can be seen."""
    names = {" ": "space", "\n": "line end", "\t": "tab"}
    if character in names:
        return names[character]
    return character if character.isprintable() else f"U+{ord(character):04X}"


def _count_in_thousands(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
