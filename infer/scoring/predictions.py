"""What a model expected before each character of a text: all probabilities, bits and ranks.

The state is carried from stretch to stretch. Where the sum of the bits is enough, `score` has it in
less memory, faster.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charlm.data.text.vocabulary import Unknown
from charlm.infer.engines.base import Array, Tokens, run_length
from charlm.infer.engines.planning import open_predictor
from charlm.infer.model.open import Model
from charlm.infer.scoring.score import Score, TokenText, bits, zero_states

LEVELS = (1, 2, 3, 4, 6, 8)  # bits where a character gets the next colour
LEVEL_NAMES = ("under 1", "1 to 2", "2 to 3", "3 to 4", "4 to 6", "6 to 8", "8 and more")


@dataclass(frozen=True)
class Judged:
    """A stretch of a text, and what the model expected before each character of it.

    Attributes:
        opening: the text's first character, which is read, not predicted; else nothing, [0 or 1].
    """

    ids: Tokens  # integers [characters]
    log_probability: Array  # float32 [characters, vocabulary], natural logarithm
    opening: Tokens

    @cached_property
    def bits(self) -> npt.NDArray[np.float64]:
        """What each character cost, [characters]."""
        return bits(self._chosen[:, 0])

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        """The place of each among the characters by probability, 1 the likeliest, [characters]."""
        likelier = self.log_probability > self._chosen
        found: npt.NDArray[np.int64] = 1 + likelier.sum(axis=1, dtype=np.int64)
        return found

    @cached_property
    def levels(self) -> npt.NDArray[np.int64]:
        """How many of `LEVELS` each character's bits reach, [characters]."""
        return np.searchsorted(LEVELS, self.bits, side="right").astype(np.int64)

    def likeliest(self, count: int) -> npt.NDArray[np.int64]:
        """The ids of so many likeliest characters at each place, in order, [characters, count]."""
        order: npt.NDArray[np.int64] = np.argsort(-self.log_probability, axis=1, kind="stable")
        return order[:, :count]

    @cached_property
    def _chosen(self) -> Array:
        ids = self.ids.astype(np.int64)[:, None]
        return np.take_along_axis(self.log_probability, ids, axis=1)


Look = Callable[[Judged], object]


def judge(
    model: Model, text: TokenText, state: tuple[Array, Array] | None = None
) -> Iterator[Judged]:
    """Yield a text in stretches of bounded size, with all probabilities.

    Args:
        state: (h, c) before the text's first character, each float32 [1, layers, hidden]; None:
            zeros.

    Raises:
        VocabularyError, CorpusError: see `TokenText`.
        ModelFileError: the graph can't be run.
    """
    predictor, longest = open_predictor(model), run_length(1, model, "cpu")
    h, c = state or (zero_states(model.metadata, 1),) * 2
    opening = 1
    while (count := text.have(longest)) > 0:
        ids = text.take(count)
        expected, h, c = predictor.predict(ids[None], h, c)
        yield Judged(ids[1:], expected[0], ids[:opening])
        opening = 0


def score_with_looks(
    model: Model,
    unknown: Unknown | None,
    looks: Callable[[str], AbstractContextManager[Sequence[Look]]],
    chunks: Iterable[str],
    where: str = "the text",
) -> Score:
    """Score a text from all its predictions, which others see, too; see `Scorer.score`.

    Args:
        looks: opened with a text's name, gives those that are handed its stretches in order.
    """
    text = TokenText(chunks, where, model.metadata, unknown)
    found = Score(0, 0.0)
    with looks(where) as shown:
        for judged in judge(model, text):
            found += Score(len(judged.ids), float(judged.bits.sum()))
            found.check_finite()
            for look in shown:
                look(judged)
        return found.finished(text)
