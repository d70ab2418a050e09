"""Scoring a text by windows: each character judged after exactly its last N, from a zero state.

So the notebook that charlm grew out of judges, and a model that was trained on windows is at its
best. It takes N times the work of carrying the state, which is done beside it.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from charlm.data.text.vocabulary import Unknown
from charlm.infer.engines.sequence import Array, Sequence, open_sequence, run_length
from charlm.infer.model.artifact import Model
from charlm.infer.scoring.score import Score, WindowScore, bits, checked
from charlm.infer.scoring.score_batch import WIDTHS
from charlm.infer.scoring.score_text import Tokens, TokenText, check_unknown
from charlm.infer.window import check_window

PIECE = 1 << 14  # characters whose windows are shared out at a time, more than any window's


Costs = npt.NDArray[np.float64]


class WindowScorer:
    """Scores texts by windows, many windows side by side, on several cores, in constant memory.

    Each window is a row of a sequence graph, from a zero state, of which the last character's cost
    alone is counted. The first `window` characters of a text that are judged (all but its very
    first) follow from all before them, as with the state carried.

    Args:
        model: an open model.
        window: characters.
        unknown: what becomes of characters that the model does not know (see `TokenText`).
        precision: of the graph that reads the text.
        workers: threads that run one session side by side, each with its share of the windows.

    Raises:
        SettingsError: a window out of range, or no graph of that precision.
        VocabularyError: the model does not know the character `unknown` either.
        ModelFileError: a graph beside the model is damaged or of other weights.
    """

    def __init__(
        self,
        model: Model,
        window: int,
        unknown: Unknown | None = None,
        precision: str = "float32",
        *,
        workers: int = 1,
    ) -> None:
        check_window(window)
        check_unknown(model.metadata, unknown)
        self.model, self.window, self.unknown = model, window, unknown
        self._width = WIDTHS[model.device]
        self._sequences = [open_sequence(model, precision) for _ in range(workers)]

    def score(self, chunks: Iterable[str], where: str = "the text") -> WindowScore:
        """Score a text that arrives in chunks, normalised here as the corpus was.

        Raises:
            VocabularyError, CorpusError, ModelFileError: as `Scorer.score`.
        """
        text = TokenText(chunks, where, self.model.metadata, self.unknown)
        h = c = self._zeros(1)
        before = np.zeros(0, dtype=self.model.metadata.vocabulary.dtype)  # up to `window`
        found = WindowScore(Score(0, 0.0), self.window, Score(0, 0.0))
        with ThreadPoolExecutor(len(self._sequences)) as pool:
            while (count := text.have(PIECE)) > 0:
                ids = text.take(count)
                carried, h, c = self._carried(ids, h, c)
                known = ids if not len(before) else np.concatenate((before, ids[1:]))
                costs = self._windows(known, pool)
                first = float(carried[: count - len(costs)].sum())  # of a text's beginning
                own = Score(count, first + float(costs.sum()))
                found += WindowScore(own, self.window, Score(count, float(carried.sum())))
                before = known[-self.window :]
        return WindowScore(
            checked(found.score.of(text), where),
            self.window,
            checked(found.carried.of(text), where),
        )

    def _carried(self, ids: Tokens, h: Array, c: Array) -> tuple[Costs, Array, Array]:
        """The cost of each of ids[1:], and the state after ids[:-1]."""
        costs, longest = np.empty(len(ids) - 1), run_length(1, self.model)
        for start in range(0, len(costs), longest):
            read = self._sequences[0].run(ids[None, start : start + longest + 1], h, c)
            h, c = read.h, read.c
            costs[start : start + longest] = bits(read.log_probability)[0]
        return costs, h, c

    def _windows(self, ids: Tokens, pool: ThreadPoolExecutor) -> Costs:
        """The cost of each character that follows on `window` others."""
        if len(ids) <= self.window:
            return np.zeros(0)
        rows = np.lib.stride_tricks.sliding_window_view(ids, self.window + 1)
        shares = np.array_split(rows, len(self._sequences))
        return np.concatenate(list(pool.map(self._read, self._sequences, shares)))

    def _read(self, sequence: Sequence, rows: Tokens) -> Costs:
        """The cost of the last character of each row [rows, window + 1]."""
        costs = np.empty(len(rows))
        for start in range(0, len(rows), self._width):
            block = rows[start : start + self._width]
            costs[start : start + self._width] = self._last(sequence, block)
        return costs

    def _last(self, sequence: Sequence, block: Tokens) -> Costs:
        h = c = self._zeros(len(block))
        longest = run_length(len(block), self.model)
        for start in range(0, self.window, longest):
            part = block[:, start : start + longest + 1]
            read = sequence.run(part, h, c)
            h, c = read.h, read.c
        return bits(read.log_probability)[:, -1]

    def _zeros(self, count: int) -> Array:
        metadata = self.model.metadata
        return np.zeros((count, metadata.layers, metadata.hidden), dtype=np.float32)
