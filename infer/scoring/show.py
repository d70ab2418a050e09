"""A text in a terminal, the background of each character by its bits."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import IO

from charlm.export.contract import Metadata
from charlm.infer.scoring.predictions import LEVEL_NAMES, Judged, Look

RESET = "\x1b[0m"
# Background and letters of each level: what is expected stays as it is. Every background has
# letters of its own and a middling lightness at first, so both hold on light and on dark; from
# blue over red to yellow also those who don't tell red from green see an order.
BLACK, WHITE = "30", "97"
WIDE = (
    (74, 98, 138, WHITE), (122, 79, 160, WHITE), (173, 63, 131, WHITE), (201, 56, 51, WHITE),
    (240, 140, 40, BLACK), (250, 215, 50, BLACK),
)  # fmt: skip
NARROW = ((60, WHITE), (97, WHITE), (126, WHITE), (160, WHITE), (208, BLACK), (226, BLACK))
CODES = {
    "plain": ("",) * 7,
    "256": ("", *(f"\x1b[48;5;{color};{ink}m" for color, ink in NARROW)),
    "wide": ("", *(f"\x1b[48;2;{r};{g};{b};{ink}m" for r, g, b, ink in WIDE)),
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line end


def codes_of(color: str, environment: Mapping[str, str], *, terminal: bool) -> str:
    """Which of `CODES`: `wide` where a terminal says that it has all colours."""
    if color == "auto":
        refused = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        color = "always" if terminal and not refused else "never"
    if color == "never":
        return "plain"
    return "wide" if environment.get("COLORTERM") in ("truecolor", "24bit") else "256"


@contextlib.contextmanager
def coloured(out: IO[str], metadata: Metadata, kind: str) -> Iterator[Look]:
    """Takes a text's stretches and writes them, and at the end what the colours mean.

    Args:
        out: a terminal, or what keeps it for one; control characters are spelt for it.
    """
    codes, decode = CODES[kind], metadata.vocabulary.decode

    begun = False

    def take(judged: Judged) -> None:
        nonlocal begun
        begun = True
        if kind == "plain":
            out.write(decode(judged.opening) + decode(judged.ids))
        else:
            out.write(_visible(decode(judged.opening)))
            pairs = zip(judged.levels.tolist(), decode(judged.ids), strict=True)
            for level, run in groupby(pairs, key=itemgetter(0)):
                out.write(_painted("".join(character for _, character in run), codes[level]))
        out.flush()

    try:
        yield take
    finally:
        if begun:
            out.write("\n" if kind == "plain" else f"{RESET}\n{_legend(codes)}\n")
            out.flush()


def _painted(text: str, code: str) -> str:
    """Text on a background, which ends before a line does: a space stands for a line end."""
    text = _visible(text)
    if not code:
        return text
    return code + text.replace("\n", f" {RESET}\n{code}") + RESET


def _visible(text: str) -> str:
    """Text that a terminal only shows, and does not obey."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _legend(codes: tuple[str, ...]) -> str:
    named = zip(codes, LEVEL_NAMES, strict=True)
    return "bits: " + " ".join(f"{code} {name} {RESET if code else ''}" for code, name in named)
