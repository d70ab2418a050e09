"""How every picture looks, and making a file of it."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

INK, FAINT, PALE = "#24292e", "#c9ced3", "#8c959f"
COLOURS = ("#1b5e8c", "#a34a00", "#2f6f3e", "#7a3e9d", "#8a6d00", "#6b4f3f")
ON_DARK = {  # what stands for each colour on a dark page
    INK: "#e2e6ea",
    FAINT: "#3a424a",
    PALE: "#7d8791",
    COLOURS[0]: "#6cb6e8",
    COLOURS[1]: "#f09a52",
    COLOURS[2]: "#7cc48c",
    COLOURS[3]: "#c79be6",
    COLOURS[4]: "#d9bd4a",
    COLOURS[5]: "#c9a893",
}
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZE = (6.0, 3.9)  # inches; small, so that its letters stay readable on a phone
LETTERS = 10
APART = 13  # points between two names at the right


@contextlib.contextmanager
def plain_svg() -> Iterator[None]:
    """matplotlib so that the same figures give the same bytes, and letters stay letters.

    So a letter that matplotlib's own font lacks is the viewer's to find.
    """
    from matplotlib import rc_context

    settings: Any = {"svg.hashsalt": "charlm", "svg.fonttype": "none", "font.size": LETTERS}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def dress(axes: Any, label: str, height: str) -> None:
    """Axes without a box, on whatever lies behind them, with a faint grid."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, which="both")
    axes.grid(True, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(label, color=INK)
    axes.set_ylabel(height, color=INK)


def name_lines(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names right of the lines' ends, in their colours, pushed apart where they would overlap.

    Args:
        axes: that have their limits.
        ends: x, y, name and colour of each.
    """
    axes.figure.draw_without_rendering()
    scale = 72 / axes.figure.dpi
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [axes.transData.transform((x, y))[1] * scale for x, y, *_ in ordered]
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + APART) if placed else height)
    middle = (sum(placed) - sum(heights)) / max(1, len(heights))  # pushed up as much as down
    for (x, y, title, colour), height, own in zip(ordered, placed, heights, strict=True):
        axes.annotate(
            title, (x, y), (8, height - middle - own), textcoords="offset points", color=colour,
            va="center", annotation_clip=False,
        )  # fmt: skip


def svg(figure: Any) -> bytes:
    """The file of a figure, without a date and with nothing behind it.

    It follows the theme of whoever looks at it, wherever it is shown.
    """
    figure.patch.set_alpha(0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    rules = "\n".join(
        f'[style*="{what}: {colour}"] {{ {what}: {dark} !important }}'
        for colour, dark in ON_DARK.items()
        for what in ("fill", "stroke")
        if f"{what}: {colour}" in text
    )
    theme = f"<style>@media (prefers-color-scheme: dark) {{\n{rules}\n}}</style>"
    return text.replace("<defs>", f"{theme}\n <defs>", 1).encode()


def short(value: float) -> str:
    """A round figure for an axis: 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
