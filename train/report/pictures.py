"""The report's pictures, each as an SVG file that follows a page's theme."""

from typing import Any

from charlm.data.pages.picture import (
    COLOURS,
    INK,
    MARKERS,
    SIZE,
    dress,
    plain_svg,
    short,
    svg,
)
from charlm.train.report import PICTURES
from charlm.train.report.measure import Evidence

NARROWEST = 0.1  # bits from bottom to top, lest noise look like drift
OURS, OTHER, LEARNT = COLOURS[0], COLOURS[1], COLOURS[2]


def draw_all(evidence: Evidence) -> dict[str, bytes]:
    """Every picture that there are figures for, by the names of `report.PICTURES`."""
    drawn = {name: _draw(name, evidence) for name in PICTURES}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _draw(name: str, evidence: Evidence) -> bytes | None:
    from matplotlib.figure import Figure

    width, height = SIZE
    wide = {"training": (2.0 * width, height), "drift": (2.0 * width, height)}
    with plain_svg():
        figure = Figure(figsize=wide.get(name, SIZE), layout="constrained")
        return svg(figure) if DRAWERS[name](figure, evidence) else None


def _training(figure: Any, evidence: Evidence) -> bool:
    """Bits against epochs, time and characters seen, side by side."""
    curve = evidence.curve
    if not curve:
        return False
    panels: list[tuple[str, list[float]]] = [
        ("epochs", [point.epoch for point in curve]),
        ("minutes", [(point.seconds or 0) / 60 for point in curve]),
        ("characters seen", [float(point.characters) for point in curve]),
    ]
    every = figure.subplots(1, len(panels), sharey=True)
    for axes, (label, places) in zip(every, panels, strict=True):
        dress(axes, label, "bits per character" if axes is every[0] else "")
        axes.plot(places, [point.train_bits for point in curve], color=LEARNT, marker="s", ms=3,
                  label="training, while learning")  # fmt: skip
        judged = [(x, point.validation_bits) for x, point in zip(places, curve, strict=True)
                  if point.validation_bits is not None]  # fmt: skip
        if judged:
            axes.plot(*zip(*judged, strict=True), color=OURS, marker="o", ms=3, label="validation")
        axes.axhline(evidence.bits, color=OURS, linestyle=":", linewidth=1,
                     label="held out, at the end")  # fmt: skip
        if evidence.ngrams:
            axes.axhline(min(evidence.ngrams), color=OTHER, linestyle="--", linewidth=1,
                         label="best n-gram")  # fmt: skip
    _count_in_thousands(every[-1].xaxis)
    every[0].legend(frameon=False, labelcolor=INK, fontsize=9)
    return True


def _baselines(figure: Any, evidence: Evidence) -> bool:
    """Bars: the model, n-grams, compressors."""
    bars = [("this model", evidence.bits, OURS)]
    bars += [(f"{n}-gram", bits, OTHER) for n, bits in enumerate(evidence.ngrams, start=1)]
    bars += [(f"{each.name}, after training text", each.after, LEARNT)
             for each in evidence.compressed]  # fmt: skip
    axes = figure.subplots()
    dress(axes, "bits per character of the held-out text", "")
    axes.grid(False, axis="y")
    _bars(axes, bars)
    return True


def _bars(axes: Any, bars: list[tuple[str, float, str]], form: str = ".3f") -> None:
    places = range(len(bars))
    axes.barh(places, [value for _, value, _ in bars], height=0.65,
              color=[colour for *_, colour in bars])  # fmt: skip
    axes.set_yticks(places, [name for name, *_ in bars])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(value for _, value, _ in bars))
    for place, (_, value, _) in zip(places, bars, strict=True):
        axes.annotate(f"{value:{form}}", (value, place), (4, 0), textcoords="offset points",
                      va="center", color=INK, fontsize=9)  # fmt: skip


def _context(figure: Any, evidence: Evidence) -> bool:
    """Bits against how often the state is zeroed, and never as a line."""
    points = [(p.length, p.bits) for p in evidence.context if p.length is not None]
    if not points:
        return False
    axes = figure.subplots()
    dress(axes, "characters between resets of the state", "bits per character")
    axes.plot(*zip(*points, strict=True), color=OURS, marker="o", ms=4, label="state reset")
    axes.axhline(evidence.context[-1].bits, color=OTHER, linestyle="--", label="never reset")
    axes.set_xscale("log")
    axes.set_xticks([x for x, _ in points], [f"{x:,}" for x, _ in points])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, labelcolor=INK)
    return True


def _drift(figure: Any, evidence: Evidence) -> bool:
    """Bits along a long reading, and the norms of the state beside it."""
    from matplotlib.ticker import LogFormatter

    drift = evidence.drift
    left, right = figure.subplots(1, 2)
    dress(left, "characters read without a reset", "bits per character")
    middles = [(n + 0.5) * drift.window for n in range(len(drift.windows))]
    left.plot(middles, drift.windows, color=OURS, marker="o", ms=3,
              label=f"each {short(drift.window)} characters")  # fmt: skip
    if 1 < len(drift.laps) <= 100:
        ends = [(n + 0.5) * drift.lap for n in range(len(drift.laps))]
        left.plot(ends, drift.laps, color=OTHER, marker=MARKERS[1], ms=4, linestyle="none",
                  label="each lap, always the same text")  # fmt: skip
    _at_least(left, NARROWEST)
    left.legend(frameon=False, labelcolor=INK, fontsize=9)
    dress(right, "characters read without a reset", "norm of the state")
    right.plot(drift.places, drift.cell, color=OTHER, label="cell c")
    right.plot(drift.places, drift.hidden, color=OURS, label="hidden h")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(lambda value, _: short(value))
    right.yaxis.set_minor_formatter(LogFormatter())
    right.legend(frameon=False, labelcolor=INK)
    for axes in (left, right):
        _count_in_thousands(axes.xaxis)
    return True


def _characters(figure: Any, evidence: Evidence) -> bool:
    """The hardest characters: what the model needs, beside their bare frequency."""
    found = evidence.hardest
    if not found:
        return False
    figure.set_size_inches(SIZE[0], 1.2 + 0.24 * len(found))
    axes = figure.subplots()
    dress(axes, "bits each, where it stands in the held-out text", "")
    axes.grid(False, axis="y")
    places = range(len(found))
    axes.barh(places, [each.bits for each in found], height=0.65, color=OURS, label="this model")
    axes.plot([each.frequency_bits for each in found], places, "D", color=OTHER, ms=5,
              label="by its frequency alone")  # fmt: skip
    axes.set_yticks(places, [shown(each.character) for each in found], parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    figure.legend(frameon=False, labelcolor=INK, loc="outside upper left", ncols=2)
    return True


def _copies(figure: Any, evidence: Evidence) -> bool:
    """The share of substrings found in the training text, by their length."""
    axes = figure.subplots()
    dress(axes, "length of the substring, in characters", "share found in the training text")
    for number, each in enumerate(evidence.copies):
        if each.shares:
            axes.plot(list(each.shares), [100 * part for part in each.shares.values()],
                      color=COLOURS[number], marker=MARKERS[number], ms=4,
                      linestyle="--" if number == len(evidence.copies) - 1 else "-",
                      label=each.name)  # fmt: skip
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylim(0, 120)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.legend(frameon=False, labelcolor=INK)
    return True


def _distance(figure: Any, evidence: Evidence) -> bool:
    """Divergence of each text from the held-out text, by n-gram."""
    axes = figure.subplots()
    dress(axes, "", "divergence from held-out text, bits")
    for number, each in enumerate(evidence.distances):
        plain = each.name == "training text"
        axes.plot(list(each.values), list(each.values.values()), marker=MARKERS[number % 6], ms=4,
                  color=INK if plain else COLOURS[number % 6], linestyle="--" if plain else "-",
                  label=each.name)  # fmt: skip
    axes.tick_params(axis="x", rotation=20)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return True


DRAWERS = {
    "training": _training, "baselines": _baselines, "context": _context, "drift": _drift,
    "characters": _characters, "copies": _copies, "distance": _distance,
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


def _at_least(axes: Any, height: float) -> None:
    """Room above and below, and no less of it than so much in all."""
    axes.margins(y=0.4)
    low, high = axes.get_ylim()
    missing = max(0.0, height - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)
