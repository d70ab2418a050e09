"""How well a model predicts a text: bits per character, with the state carried throughout.

Here one text, exactly; `score_batch` has many texts side by side, `score_segments` one text cut up,
and `score_window` a text judged by windows, with no state carried.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CorpusError, ModelFileError
from charlm.data.text.bits import in_bits
from charlm.data.text.vocabulary import Unknown
from charlm.infer.engines.sequence import open_sequence, run_length
from charlm.infer.model.artifact import Model
from charlm.infer.scoring.score_text import TokenText, check_unknown


@dataclass(frozen=True)
class Score:
    """What a text cost a model.

    Attributes:
        characters: how many were predicted: all but a text's first.
        bits: the sum of -log2 p(character | all before it).
        replaced: how many of the text's characters the model lacks and read as another.
        dropped: how many it lacks that were left out.
    """

    characters: int
    bits: float
    replaced: int = 0
    dropped: int = 0

    @property
    def bits_per_character(self) -> float:
        """The mean."""
        return self.bits / self.characters

    @property
    def perplexity(self) -> float:
        """2 to the bits per character: among how many equal choices the model wavers."""
        bits = self.bits_per_character
        return float(2**bits) if bits < sys.float_info.max_exp else math.inf

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.characters + other.characters,
            self.bits + other.bits,
            self.replaced + other.replaced,
            self.dropped + other.dropped,
        )

    def of(self, text: TokenText) -> "Score":
        """The same score, once `text` has been read, with what the model lacks of it."""
        return replace(self, replaced=text.replaced, dropped=text.dropped)


@dataclass(frozen=True)
class WindowScore:
    """The score of a text by windows, and with the state carried.

    Attributes:
        score: each character judged after its last `window`, or all before it where it has fewer.
        window: characters.
        carried: the score of the same text with the state carried from its first character.
    """

    score: Score
    window: int
    carried: Score

    def __add__(self, other: "WindowScore") -> "WindowScore":
        return WindowScore(self.score + other.score, self.window, self.carried + other.carried)


def checked(score: Score, where: str) -> Score:
    """The same score, if there is one.

    Raises:
        CorpusError: fewer than two characters: nothing to predict.
        ModelFileError: the model's weights are damaged.
    """
    if score.characters == 0:
        raise CorpusError(f"{where}: too short to score: it takes at least two characters")
    if not math.isfinite(score.bits):
        raise ModelFileError("the model gives logits that are not finite: its weights are damaged")
    return score


def bits(log_probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """-log2 of each probability whose natural logarithm is given, in the same shape."""
    return in_bits(-log_probability.astype(np.float64))


class Scorer:
    """Scores texts with one model, each from a zero state, in constant memory.

    The characters of a run are the same however the text arrives, so the result is, bit by bit.

    Args:
        model: an open model.
        unknown: what becomes of characters that the model does not know (see `TokenText`).
        precision: of the graph that reads the text.
        threads: CPU threads of one text; more than one helps models far beyond a core's cache.

    Raises:
        VocabularyError: the model does not know the character `unknown` either.
        SettingsError: the model has no graph of that precision.
        ModelFileError: a graph beside the model is damaged or of other weights.
    """

    def __init__(
        self,
        model: Model,
        unknown: Unknown | None = None,
        precision: str = "float32",
        threads: int = 1,
    ) -> None:
        check_unknown(model.metadata, unknown)
        self.model, self.unknown = model, unknown
        self._sequence = open_sequence(model, precision, threads)

    def score(self, chunks: Iterable[str], where: str = "the text") -> Score:
        """Score a text that arrives in chunks, normalised here as the corpus was.

        Args:
            chunks: the text, as `data.corpus.read_files` yields it.
            where: its name, for messages.

        Raises:
            VocabularyError: a character that the model does not know.
            CorpusError: fewer than two characters: nothing to predict.
            ModelFileError: the model's weights are damaged.
        """
        metadata = self.model.metadata
        text = TokenText(chunks, where, metadata, self.unknown)
        longest = run_length(1, self.model)
        h = c = np.zeros((1, metadata.layers, metadata.hidden), dtype=np.float32)
        found = Score(0, 0.0)
        while (count := text.have(longest)) > 0:
            read = self._sequence.run(text.take(count)[None], h, c)
            h, c = read.h, read.c
            found += Score(count, float(bits(read.log_probability).sum()))
        return checked(found.of(text), where)
