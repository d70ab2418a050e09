"""Scoring a text by windows: each character judged after exactly its last N, from a zero state.

So the notebook that charlm grew out of judges, and a model that was trained on windows is at its
best. It takes N times the work of carrying the state, which is done beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from charlm.data.text.vocabulary import Unknown
from charlm.infer.engines.base import Array, TextReader, Tokens, read_in_runs
from charlm.infer.model.open import Model
from charlm.infer.request import check_window
from charlm.infer.scoring.many import WIDTHS
from charlm.infer.scoring.score import Score, Scorer, TokenText, bits, zero_states
from charlm.infer.scoring.sharing import Share, side_by_side

PIECE = 1 << 14  # more than any window has

Costs = npt.NDArray[np.float64]
NOTHING = Score(0, 0.0)


@dataclass(frozen=True)
class WindowScore(Score):
    """The score of a text by windows, and with the state carried.

    Each character is judged after its last `window`, or all before it where it has fewer.

    Attributes:
        carried: the score of the same text with the state carried from its first character.
    """

    ADDED: ClassVar[tuple[str, ...]] = (*Score.ADDED, "carried")

    window: int = 0  # characters
    carried: Score = NOTHING

    def fields(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {**super().fields(), "window": self.window, "carried": self.carried.fields()}

    def described(self) -> str:
        """What people are told of it."""
        return (
            f"{super().described()}; each after the last {self.window} alone; "
            f"state carried: {self.carried.bits_per_character:.4f} bits/char"
        )


class WindowScorer(Scorer):
    """Scores texts by windows, many windows side by side, on several cores, in constant memory.

    Each window is a row of a sequence graph, from a zero state, of which the last character's cost
    alone is counted. The first `window` characters of a text that are judged (all but its very
    first) follow from all before them, as with the state carried.

    Args:
        piece: characters whose windows are shared out at a time.

    Raises:
        SettingsError: a window out of range; see `Scorer`, too.
    """

    def __init__(
        self,
        model: Model,
        window: int,
        unknown: Unknown | None = None,
        precision: str = "float32",
        *,
        workers: int = 1,
        piece: int = PIECE,
    ) -> None:
        check_window(window)
        self.window, self._piece, self._width = window, piece, WIDTHS[model.device]
        super().__init__(model, unknown, precision, workers=workers)

    def score(self, chunks: Iterable[str], where: str = "the text") -> WindowScore:
        """See `Scorer.score`."""
        text = TokenText(chunks, where, self.model.metadata, self.unknown)
        h = c = zero_states(self.model.metadata, 1)
        before = np.zeros(0, dtype=self.model.metadata.vocabulary.dtype)  # up to `window`
        found = WindowScore(0, 0.0, window=self.window)
        with side_by_side(self._readers) as share:
            while (count := text.have(self._piece)) > 0:
                ids = text.take(count)
                carried, h, c = self._carried(ids, h, c)
                known = ids if not len(before) else np.concatenate((before, ids[1:]))
                costs = self._windows(known, share)
                first = float(carried[: count - len(costs)].sum())  # of a text's beginning
                own = Score(count, float(carried.sum()))
                found += WindowScore(count, first + float(costs.sum()), carried=own)
                before = known[-self.window :]
        return replace(found.finished(text), carried=found.carried.finished(text))

    def _carried(self, ids: Tokens, h: Array, c: Array) -> tuple[Costs, Array, Array]:
        """The cost of each of ids[1:], and the state after ids[:-1]."""
        costs = []
        for _, read in read_in_runs(self._readers[0], self.model, ids[None], h, c):
            h, c = read.h, read.c
            costs.append(bits(read.log_probability)[0])
        return np.concatenate(costs), h, c

    def _windows(self, ids: Tokens, share: Share) -> Costs:
        """The cost of each character that follows on `window` others."""
        if len(ids) <= self.window:
            return np.zeros(0)
        rows = np.lib.stride_tricks.sliding_window_view(ids, self.window + 1)
        shares = np.array_split(rows, len(self._readers))
        return np.concatenate(list(share(self._read, shares)))

    def _read(self, reader: TextReader, rows: Tokens) -> Costs:
        """The cost of the last character of each row [rows, window + 1]."""
        costs = np.empty(len(rows))
        for first in range(0, len(rows), self._width):
            block = rows[first : first + self._width]
            h = c = zero_states(self.model.metadata, len(block))
            for _, read in read_in_runs(reader, self.model, block, h, c):
                last = read.log_probability[:, -1]
            costs[first : first + self._width] = bits(last)
        return costs
