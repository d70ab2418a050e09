"""How well a model predicts a text: bits per character, with the state carried throughout.

Here one text, exactly; `many` has many texts side by side, `segments` one text cut up, and
`windows` a text judged by windows, with no state carried.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CorpusError, ModelFileError, VocabularyError
from charlm.data.text.normalise import AS_IT_IS, is_latin
from charlm.data.text.vocabulary import Unknown
from charlm.export.contract import Metadata
from charlm.infer.engines.base import Array, Tokens, run_length
from charlm.infer.engines.planning import open_text_reader
from charlm.infer.model.open import Model


@dataclass(frozen=True)
class Score:
    """What a text cost a model.

    Attributes:
        characters: how many were predicted: all but a text's first.
        bits: the sum of -log2 p(character | all before it).
        replaced: how many of the text's characters the model lacks and read as another.
        dropped: how many it lacks that were left out.
        read: how many the text has, its first and those that were left out, too.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("characters", "bits", "replaced", "dropped", "read")

    characters: int
    bits: float
    replaced: int = 0
    dropped: int = 0
    read: int = field(default=0, kw_only=True)

    @property
    def bits_per_character(self) -> float:
        """The mean."""
        return self.bits / self.characters

    @property
    def perplexity(self) -> float:
        """2 to the bits per character: among how many equal choices the model wavers."""
        bits = self.bits_per_character
        return float(2**bits) if bits < sys.float_info.max_exp else math.inf

    def __add__(self, other: Self) -> Self:
        return replace(
            self, **{name: getattr(self, name) + getattr(other, name) for name in self.ADDED}
        )

    def finished(self, text: "TokenText") -> Self:
        """The same score, once `text` has been read, with what the model lacks of it.

        Raises:
            CorpusError: fewer than two characters: nothing to predict.
            ModelFileError: the model's weights are damaged.
        """
        if self.characters == 0:
            raise CorpusError(f"{text.where}: too short to score: it takes at least two characters")
        self.check_finite()
        read = self.characters + 1 + text.dropped
        return replace(self, replaced=text.replaced, dropped=text.dropped, read=read)

    def check_finite(self) -> None:
        """What is not finite is no cost.

        Raises:
            ModelFileError: the model's weights are damaged.
        """
        if not math.isfinite(self.bits):
            raise ModelFileError(
                "the model gives logits that are not finite: its weights are damaged"
            )

    def fields(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {
            "bits_per_character": self.bits_per_character,
            "perplexity": self.perplexity,
            "characters": self.characters,
            "bits": self.bits,
            "replaced": self.replaced,
            "dropped": self.dropped,
        }

    def described(self) -> str:
        """What people are told of it."""
        figures = (
            f"{self.bits_per_character:.4f} bits/char, perplexity {self.perplexity:.3f}, "
            f"{self.characters:,} character{'' if self.characters == 1 else 's'}"
        )
        lacking = self.dropped + self.replaced
        if not lacking:
            return figures
        share = lacking / self.read
        shown = f"{share:.2%}" if share >= 0.0001 else "<0.01%"
        fate = "left out" if self.dropped else "counted as another"
        return f"{figures}; the model lacks {lacking:,} of all {self.read:,} ({shown}): {fate}"


def bits(log_probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """-log2 of each probability whose natural logarithm is given, in the same shape."""
    return log_probability.astype(np.float64) / -math.log(2)


def total_bits(log_probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The sums of `bits` along the last axis; no array of them is made, which takes long."""
    total: npt.NDArray[np.float64] = log_probability.sum(axis=-1, dtype=np.float64)
    return total / -math.log(2)


def zero_states(metadata: Metadata, count: int) -> Array:
    """h, or c, of so many texts before their first character: float32 [count, layers, hidden]."""
    return np.zeros((count, metadata.layers, metadata.hidden), dtype=np.float32)


class TokenText:
    """The token ids of a text, normalised as the model's corpus was.

    The text is asked for as it is needed: a file behind it is not open before that, and memory
    holds a chunk.

    Args:
        unknown: what becomes of characters that the model does not know (see `Vocabulary`); None:
            what became of rare ones of its corpus.
    """

    def __init__(
        self, chunks: Iterable[str], where: str, metadata: Metadata, unknown: Unknown | None = None
    ) -> None:
        self.where = where
        self._unknown = metadata.unknown(unknown)
        self._lacking = 0  # characters that the model does not know
        self._arriving = self._encoded(chunks, metadata)
        self._ids: Tokens = np.zeros(0, dtype=metadata.vocabulary.dtype)
        self._place = 0

    def have(self, wanted: int) -> int:
        """How many characters can be predicted now: `wanted`, or fewer where the text ends.

        Raises:
            VocabularyError: a character that the model does not know.
            CorpusError: the text can't be read.
        """
        parts = [self._ids[self._place :]]
        there = len(parts[0])
        while there <= wanted:
            more = next(self._arriving, None)
            if more is None:
                break
            parts.append(more)
            there += len(more)
        if len(parts) > 1:
            self._ids, self._place = np.concatenate(parts), 0
        return max(0, min(wanted, there - 1))

    def take(self, count: int) -> Tokens:
        """The next `count` characters and the one after them, which comes first the next time.

        Args:
            count: no more than `have` has found.
        """
        first = self._place
        self._place += count
        return self._ids[first : self._place + 1]

    @property
    def dropped(self) -> int:
        """How many characters were left out so far."""
        return self._lacking if self._unknown == "drop" else 0

    @property
    def replaced(self) -> int:
        """How many characters became another so far."""
        return self._lacking - self.dropped

    def _encoded(self, chunks: Iterable[str], metadata: Metadata) -> Iterator[Tokens]:
        """Token ids of the normalised text, in chunks."""
        vocabulary, normalisation = metadata.vocabulary, metadata.normalisation
        lines = columns = 0  # before this part
        for part in normalisation.parts(chunks):
            if vocabulary.is_latin and is_latin(part):  # normalised as it is encoded
                text, latin = part, normalisation.latin
            else:
                text, latin = normalisation(part), AS_IT_IS
            try:
                ids, lacking = vocabulary.encode_counting(text, self._unknown, latin)
            except VocabularyError as problem:
                text = normalisation(part)
                known = set(vocabulary.characters)
                index = next(place for place, c in enumerate(text) if c not in known)
                before = part[: normalisation.place(part, index)]
                column = len(before) - (before.rfind("\n") + 1)
                if "\n" not in before:
                    column += columns
                raise VocabularyError(
                    f"{self.where}: character {text[index]!r} (U+{ord(text[index]):04X}) at line "
                    f"{lines + before.count(chr(10)) + 1}, column {column + 1}, is not one of the "
                    f"model's {len(vocabulary)} characters; `unknown` drop leaves it out"
                ) from problem
            if self._unknown == "error":  # else nobody asks for a place
                ends = part.count("\n")
                columns = len(part) - (part.rfind("\n") + 1) + (0 if ends else columns)
                lines += ends
            self._lacking += lacking
            yield ids


class Scorer:
    """Scores texts with one model, each from a zero state, in constant memory.

    The characters of a run are the same however the text arrives, so the result is, bit by bit.

    Args:
        threads: CPU threads of one text; more than one helps models far beyond a core's cache.
        workers: Python's threads that run one session side by side, where a text is cut up.

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
        workers: int = 1,
    ) -> None:
        model.metadata.unknown(unknown)  # it must be known
        self.model, self.unknown = model, unknown
        self._readers = [open_text_reader(model, precision, threads) for _ in range(workers)]

    def score(self, chunks: Iterable[str], where: str = "the text") -> Score:
        """Score a text that arrives in chunks, normalised here as the corpus was.

        Raises:
            VocabularyError: a character that the model does not know.
            CorpusError: fewer than two characters: nothing to predict.
            ModelFileError: the model's weights are damaged.
        """
        text = TokenText(chunks, where, self.model.metadata, self.unknown)
        longest = run_length(1, self.model)
        h = c = zero_states(self.model.metadata, 1)
        found = Score(0, 0.0)
        while (count := text.have(longest)) > 0:
            read = self._readers[0].run(text.take(count)[None], h, c)
            h, c = read.h, read.c
            found += Score(count, float(total_bits(read.log_probability[0])))
        return found.finished(text)
