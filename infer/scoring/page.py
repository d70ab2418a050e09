"""A text as a page, each character coloured by its bits, with what was expected in its place."""

import contextlib
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from charlm.data.pages import markup
from charlm.data.pages.style import BASE
from charlm.data.system import console
from charlm.data.system.files import writing
from charlm.export.contract import Metadata
from charlm.infer.scoring.page_script import SCRIPT, STYLE
from charlm.infer.scoring.predictions import LEVEL_NAMES, LEVELS, Judged, Look
from charlm.infer.scoring.score import Score

MOST_CHARACTERS = 20_000  # that a phone still lays out at once; a page of 1 MiB
ALTERNATIVES = 5
LEAST_SHARE = 0.001  # less likely alternatives are left out
HINT = (
    "Point at a character, or tap it, to see what the model expected in its place. With the "
    "keyboard: Tab into the text, then the arrow keys; up and down go to the next of "
    f"{LEVELS[3]} bits or more."
)


@contextlib.contextmanager
def page(file: IO[bytes], path: Path, metadata: Metadata, name: str, about: str) -> Iterator[Look]:
    """Takes a text's stretches and writes a page of them at the end."""
    made = _Page(metadata)
    yield made.take
    if made.left_out:
        console.say(
            f"charlm-score: {path} shows the first {MOST_CHARACTERS:,} characters of "
            f"{made.whole.characters + 1:,}; --tokens writes a line for each"
        )
    with writing(path):
        file.write(made.document(name, about).encode("utf-8", "replace"))


class _Page:
    """Gathers what is shown of a text, and the figures of its whole."""

    def __init__(self, metadata: Metadata) -> None:
        self._vocabulary = metadata.vocabulary
        self._spans: list[str] = []
        self._seen: list[list[int]] = []
        self._count = np.zeros(len(LEVELS) + 1, dtype=np.int64)
        self._bits = np.zeros(len(LEVELS) + 1)
        self.shown = self.whole = Score(0, 0.0)
        self.left_out = False

    def take(self, judged: Judged) -> None:
        """See `Look`."""
        self.whole += Score(len(judged.ids), float(judged.bits.sum()))
        for character in self._vocabulary.decode(judged.opening):
            self._spans.append(_span(character, 0))
            self._seen.append([])
        room = MOST_CHARACTERS - len(self._spans)
        self.left_out |= len(judged.ids) > room
        if room <= 0:
            return
        part = Judged(judged.ids[:room], judged.log_probability[:room], judged.opening)
        self.shown += Score(len(part.ids), float(part.bits.sum()))
        self._count += np.bincount(part.levels, minlength=len(self._count))
        self._bits += np.bincount(part.levels, part.bits, minlength=len(self._bits))
        characters = self._vocabulary.decode(part.ids)
        self._spans += map(_span, characters, part.levels.tolist())
        self._seen += _seen(part)

    def document(self, name: str, about: str) -> str:
        """The page."""
        score = self.shown
        figures = (
            f"<p><b>{score.bits_per_character:.3f} bits per character</b> under "
            f"{html.escape(about)}: {score.characters:,} characters, as if from "
            f"{score.perplexity:.2f} equally likely ones. The first character is read, not "
            "predicted.</p>"
        )
        cut = (
            f"<p class=warning>These are the first {len(self._spans):,} characters. All "
            f"{self.whole.characters + 1:,} take {self.whole.bits_per_character:.3f} bits each.</p>"
        )
        given: Any = {"characters": self._vocabulary.characters, "seen": self._seen}
        data = json.dumps(given, separators=(",", ":")).replace("<", "\\u003c")
        body = "\n".join((
            f"<h1>{html.escape(name)}</h1>",
            figures,
            cut if self.left_out else "",
            f"<p class=quiet>{HINT}</p>",
            "<noscript><p class=warning>What was expected is shown by a script in this page, "
            "which is turned off here.</p></noscript>",
            self._legend(),
            '<div id=text dir=auto role=group aria-label="The text, character by character">'
            f"{''.join(self._spans)}</div>",
            "<aside id=card role=status hidden></aside>",
            f"<script type=application/json id=data>{data}</script>",
            f"<script>{SCRIPT}</script>",
        ))  # fmt: skip
        return markup.document(f"{name}: bits by character", BASE + STYLE, body)

    def _legend(self) -> str:
        """The colours, and how the bits of the text are spread over them."""
        names = [f"<i class=b{level}>{name}</i>" for level, name in enumerate(LEVEL_NAMES)]
        count, cost = self._count / self._count.sum(), self._bits / max(self._bits.sum(), 1e-9)
        rows = "".join(
            f"<tr><td>{name}</td><td>{100 * share:.1f} %</td><td>{100 * part:.1f} %</td></tr>"
            for name, share, part in zip(names, count, cost, strict=True)
        )
        return (
            f"<p class=legend>Bits: {' '.join(names)}</p>"
            "<details><summary>How the bits are spread</summary><table class=legend><thead><tr>"
            "<th scope=col>bits</th><th scope=col>of the characters</th>"
            f"<th scope=col>of all bits</th></tr></thead><tbody>{rows}</tbody></table></details>"
        )


def _span(character: str, level: int) -> str:
    kind = f"b{level}" if level else ""
    if character == "\n":
        kind = f'"{kind} n"' if kind else "n"
    return f"<i{f' class={kind}' if kind else ''}>{html.escape(character)}</i>"


def _seen(part: Judged) -> list[list[int]]:
    """Of each character: hundredths of a bit, rank, and likely ids with thousandths each."""
    likely = part.likeliest(ALTERNATIVES)
    shares = np.exp(np.take_along_axis(part.log_probability, likely, axis=1))
    thousandths = np.rint(shares * 1000).astype(np.int64)
    kept = (shares >= LEAST_SHARE).sum(axis=1).tolist()
    pairs = np.stack((likely, thousandths), axis=2).reshape(len(likely), -1).tolist()
    hundredths = np.rint(part.bits * 100).astype(np.int64).tolist()
    return [
        [*own, *listed[: 2 * count]]
        for *own, listed, count in zip(hundredths, part.ranks.tolist(), pairs, kept, strict=True)
    ]
