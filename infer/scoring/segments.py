"""Scoring one text in segments side by side, and measuring how far that is from the exact figure.

A segment has no state to begin with, so it reads the characters before it first, without their
being counted: it warms up. What that leaves undone is measured where segments meet: the segment
before has warmed up for all of its own length, and reads on there.
"""

import math
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import SettingsError
from charlm.data.text.vocabulary import Unknown
from charlm.export.contract import native as contract_native
from charlm.infer.engines.base import Array, TextReader, Tokens, read_in_runs
from charlm.infer.model.open import Model
from charlm.infer.scoring.score import Score, Scorer, TokenText, total_bits, zero_states
from charlm.infer.scoring.sharing import Share, side_by_side

# What a segment of the shipped model's test text costs more than in the exact figure, in bits: 34
# without warming up, 0.9 after 64 characters, 0.005 after 256, less than rounding after 1024.
WARM_UP = 256
MOST_WARM_UP = 1 << 16
SEGMENTS = 64  # of a worker, side by side, on the CPU
# On a GPU, of each multiprocessor: as many as a thread block of the kernel has at most.
SEGMENTS_OF_PROCESSOR = {"float32": 64, "fp16": 128}
MOST_SEGMENTS = 1 << 16
# A longer segment spends a smaller share of its time on warming up: 256 of 16,384 are 1.6 %.
# Text and ids of so many are all that memory holds; a longer text is scored piece after piece.
LONGEST_SEGMENT = 1 << 14
LONGEST_PIECE = 1 << 27
# A shorter one is not worth it, and leaves no state behind to measure the next one's against.
SHORTEST_SEGMENT = 1 << 10
FEWER = 16  # of so many segments one may be left out, for all to be of equal length
SHORTEST_IN_WARM_UPS = 4  # at most a fifth of the time goes into warming up
MEASURED = 16  # borders of a piece where the difference is measured, and
CHECKED = 256  # the characters after each: no difference was left beyond them
SMALLEST_SHOWN = 1e-5  # bits per character: the figure itself has four decimals


Costs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SegmentedScore(Score):
    """The score of a text that was cut into segments.

    Attributes:
        excess: bits that the second one cost more than in the exact figure, at the borders where
            that was measured.
    """

    ADDED: ClassVar[tuple[str, ...]] = (*Score.ADDED, "segments", "borders", "excess")

    segments: int = 0  # into how many it was cut; 1: the score is exact
    warm_up: int = 0  # characters that each but the first read beforehand, at least
    borders: int = 0  # between how many segments the second one had to warm up
    excess: tuple[float, ...] = ()

    @property
    def difference(self) -> float:
        """Bits per character by which the figure exceeds the exact one, if all borders are alike.

        Where it is negative, the figure is too small.
        """
        if not self.excess:
            return 0.0
        return float(np.mean(self.excess)) * self.borders / self.characters

    @property
    def difference_error(self) -> float:
        """The standard error of `difference`: some borders were measured, and not the others."""
        count = len(self.excess)
        if count == self.borders or count < 2:
            return 0.0
        error = float(np.std(self.excess, ddof=1)) / math.sqrt(count)
        return error * self.borders / self.characters

    def fields(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {
            **super().fields(),
            "parallel": True,
            "segments": self.segments,
            "warm_up": self.warm_up,
            "difference_from_exact": self.difference,
            "difference_error": self.difference_error,
            "borders_measured": len(self.excess),
        }

    def described(self) -> str:
        """What people are told of it, and of what cutting the text up has done to it."""
        if self.borders == 0:
            return f"{super().described()}; too short to be cut, exact"
        difference, error = self.difference, self.difference_error
        if abs(difference) + 2 * error < SMALLEST_SHOWN:
            shown = f"less than {SMALLEST_SHOWN:.5f}"
        else:
            shown = f"{difference:+.5f}" + (f" ± {error:.5f}" if error >= SMALLEST_SHOWN else "")
        return (
            f"{super().described()}; {self.segments:,} segments, {self.borders:,} of them warmed "
            f"up on {self.warm_up} characters: {shown} bits/char from the exact figure, "
            f"measured at {len(self.excess)} of these {self.borders:,}"
        )


@dataclass(frozen=True)
class _Rows:
    """What rows of text gave, in bits.

    Attributes:
        h, c: float32 [rows, layers, hidden], after the last character.
    """

    warming: Costs  # float64 [rows], cost of the characters that are there to warm up
    own: Costs  # float64 [rows], cost of the others
    first: Costs  # float64 [rows], of the first `CHECKED` of them
    h: Array
    c: Array


class SegmentScorer(Scorer):
    """Scores texts in segments side by side, on several cores, in constant memory.

    Args:
        segments: side by side at most, up to a sixteenth fewer so that all are of equal length;
            None: `SEGMENTS` for each worker, far more on a GPU.
        warm_up: characters that a segment reads before its own.
        measured: borders of a piece at most where the difference is measured.

    Raises:
        SettingsError: segments or warm-up out of range; see `Scorer`, too.
    """

    def __init__(
        self,
        model: Model,
        unknown: Unknown | None = None,
        precision: str = "float32",
        *,
        workers: int = 1,
        segments: int | None = None,
        warm_up: int | None = None,
        shortest: int = SHORTEST_SEGMENT,
        longest: int = LONGEST_SEGMENT,
        measured: int = MEASURED,
    ) -> None:
        super().__init__(model, unknown, precision, workers=workers)
        self.warm_up = WARM_UP if warm_up is None else warm_up
        own = SEGMENTS
        if model.device == "cuda":
            own = max(1, SEGMENTS_OF_PROCESSOR[precision] * contract_native.gpu()[0])
        self.segments = min(own * workers, MOST_SEGMENTS) if segments is None else segments
        if not 1 <= self.segments <= MOST_SEGMENTS:
            raise SettingsError(f"`segments` is from 1 to {MOST_SEGMENTS}, not {segments}")
        if not 0 <= self.warm_up <= MOST_WARM_UP:
            raise SettingsError(f"`warm_up` is from 0 to {MOST_WARM_UP}, not {warm_up}")
        self._shortest, self._longest, self._measured = shortest, longest, measured

    def score(self, chunks: Iterable[str], where: str = "the text") -> SegmentedScore:
        """See `Scorer.score`."""
        text = TokenText(chunks, where, self.model.metadata, self.unknown)
        h = c = zero_states(self.model.metadata, 1)
        found = SegmentedScore(0, 0.0, warm_up=self.warm_up)
        longest = min(self.segments * self._longest, LONGEST_PIECE)
        with side_by_side(self._readers) as share:
            for ids in _ahead(text, longest):
                piece, h, c = self._piece(ids, h, c, share)
                found += piece
        return found.finished(text)

    def _piece(
        self, ids: Tokens, h: Array, c: Array, share: Share
    ) -> tuple[SegmentedScore, Array, Array]:
        """Score a piece [characters + 1] from the state before it, float32 [1, layers, hidden].

        Returns:
            Its score, and the state after it.
        """
        rows, warm_up = self._cut(ids)
        zeros = zero_states(self.model.metadata, len(rows) - 1)
        states = (np.concatenate((h, zeros)), np.concatenate((c, zeros)))
        parts = min(len(self._readers), len(rows))
        shares = [np.array_split(each, parts) for each in (rows, *states)]
        read = _joined(list(share(self._read, *shares, repeat(warm_up))))
        cost = float(read.own.sum() + read.warming[0])  # the first has no one before it
        excess = tuple(self._excess(rows, warm_up, read).tolist())
        found = SegmentedScore(
            len(ids) - 1, cost, segments=len(rows), warm_up=self.warm_up, borders=len(rows) - 1,
            excess=excess,
        )  # fmt: skip
        return found, read.h[-1:], read.c[-1:]

    def _cut(self, ids: Tokens) -> tuple[Tokens, int]:
        """Rows of equal length and how many characters of each but the first are another's.

        The first row has a warm-up's length more of its own, so that all are equal; so the others
        warm up on some characters more where the length is no multiple. Of thousands of rows these
        might be as many as their own: a few rows less are taken where that is less work.
        """
        length = len(ids) - 1
        shortest = max(self._shortest, SHORTEST_IN_WARM_UPS * self.warm_up)
        most = max(1, min(self.segments, (length - self.warm_up) // shortest))
        if most == 1:
            return ids[None], 0
        counts = np.arange(most, most - most // FEWER - 1, -1)
        owns = (length - self.warm_up) // counts
        rows = length - (counts - 1) * owns
        best = (-(-counts // len(self._readers)) * rows).argmin()
        own, row = int(owns[best]), int(rows[best])
        return np.lib.stride_tricks.sliding_window_view(ids, row + 1)[::own], row - own

    def _read(self, reader: TextReader, rows: Tokens, h: Array, c: Array, warm_up: int) -> _Rows:
        """Read rows [rows, characters + 1] to their ends."""
        warming, own, first = np.zeros((3, len(rows)))
        for start, read in read_in_runs(reader, self.model, rows, h, c):
            h, c, found = read.h, read.c, read.log_probability
            cut = max(0, warm_up - start)
            warming += total_bits(found[:, :cut])
            own += total_bits(found[:, cut:])
            place = start + cut - warm_up  # among the row's own characters
            first += total_bits(found[:, cut : cut + max(0, CHECKED - place)])
        return _Rows(warming, own, first, h, c)

    def _excess(self, rows: Tokens, warm_up: int, read: _Rows) -> Costs:
        """Bits that segments cost more than if read from where the one before them ended."""
        borders = np.arange(1, len(rows))
        if len(borders) == 0:
            return np.zeros(0)
        chosen = (
            np.linspace(0, len(borders) - 1, min(self._measured, len(borders))).round().astype(int)
        )
        after = borders[chosen]
        own = rows[after, warm_up : warm_up + CHECKED + 1]
        longer = self._read(self._readers[0], own, read.h[after - 1], read.c[after - 1], 0)
        excess: Costs = read.first[after] - longer.own
        return excess


def _ahead(text: TokenText, longest: int) -> Iterator[Tokens]:
    """Pieces of a text, each with the character after it; the next is read while one is scored.

    Nobody waits for the thread that reads it: it may wait for a pipe that is never written.
    """
    found: queue.SimpleQueue[Tokens | BaseException] = queue.SimpleQueue()

    def read() -> None:
        try:
            found.put(text.take(text.have(longest)))
        except BaseException as problem:
            found.put(problem)

    def begin() -> None:
        threading.Thread(target=read, daemon=True).start()

    begin()
    while True:
        if isinstance(piece := found.get(), BaseException):
            raise piece
        if len(piece) < 2:
            return
        begin()
        yield piece


def _joined(parts: list[_Rows]) -> _Rows:
    fields = ("warming", "own", "first", "h", "c")
    return _Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
