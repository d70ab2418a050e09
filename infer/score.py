"""How well a model predicts a text: bits per character, with the state carried throughout."""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.data.errors import CorpusError, ModelFileError, VocabularyError
from charlm.data.vocabulary import Unknown
from charlm.infer.artifact import Model
from charlm.infer.session import Stepper

CHUNK = 4096  # characters whose logits are held at once


@dataclass(frozen=True)
class Score:
    """What a text cost a model.

    Attributes:
        characters: how many were predicted: all but a text's first.
        bits: the sum of -log2 p(character | all before it).
    """

    characters: int
    bits: float

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
        return Score(self.characters + other.characters, self.bits + other.bits)


class Scorer:
    """Scores texts with one model, each from a zero state, in constant memory.

    Args:
        model: an open model.
        unknown: what becomes of characters that the model does not know (see `Vocabulary`).
    """

    def __init__(self, model: Model, unknown: Unknown = "error") -> None:
        if unknown not in ("error", "drop"):
            model.metadata.vocabulary.id_of(unknown)
        self.model, self.unknown = model, unknown
        self.stepper = Stepper(model, batch=1)
        self.logits = np.empty((CHUNK, len(model.metadata.vocabulary)), dtype=np.float32)

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
        h, c = self.stepper.state()
        self.stepper.set_state(np.zeros_like(h), np.zeros_like(c))
        characters, bits, last = 0, 0.0, -1
        for ids in self._encoded(chunks, where):
            if len(ids) == 0:
                continue
            if last >= 0:
                ids = np.concatenate(([last], ids))
            for start in range(0, len(ids) - 1, CHUNK):
                bits += self._bits(ids[start : start + CHUNK + 1])
            characters += len(ids) - 1
            last = int(ids[-1])
        if characters == 0:
            raise CorpusError(f"{where}: too short to score: it takes at least two characters")
        if not math.isfinite(bits):
            raise ModelFileError(
                "the model gives logits that are not finite: its weights are damaged"
            )
        return Score(characters, bits)

    def _encoded(self, chunks: Iterable[str], where: str) -> Iterator[npt.NDArray[np.int64]]:
        """Token ids of the normalised text, in chunks."""
        vocabulary, before = self.model.metadata.vocabulary, 0
        for text in self.model.metadata.normalisation.stream(chunks):
            try:
                ids = vocabulary.encode(text, self.unknown)
            except VocabularyError as problem:
                known = set(vocabulary.characters)
                index = next(place for place, c in enumerate(text) if c not in known)
                raise VocabularyError(
                    f"{where}: character {text[index]!r} (U+{ord(text[index]):04X}) at position "
                    f"{before + index} is not one of the "
                    f"model's {len(vocabulary)} characters; --unknown drop leaves it out"
                ) from problem
            before += len(text)
            yield ids.astype(np.int64)

    def _bits(self, ids: npt.NDArray[np.int64]) -> float:
        """Bits that `ids[1:]` cost, each after those before it; the state moves on."""
        stepper, count = self.stepper, len(ids) - 1
        token, step, row = stepper.token, stepper.step, stepper.logits[0]
        logits = self.logits[:count]
        for index, value in enumerate(ids[:-1].tolist()):
            token[0] = value
            step()
            logits[index] = row
        wide = logits.astype(np.float64)
        wide -= wide.max(axis=1, keepdims=True)
        chosen = wide[np.arange(count), ids[1:]]
        return float((np.log(np.exp(wide).sum(axis=1)) - chosen).sum() / math.log(2))
