"""What a smaller precision costs: bits per character before and after, on the same text.

The text is the user's, which the model should not have learned from; or, without one, what the
model draws itself. There the loss estimates the Kullback-Leibler divergence per character of the
smaller model from the float32 one: how many more bits a text of the one costs under the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CorpusError, ExportError, VocabularyError
from charlm.data.text.bits import in_bits
from charlm.data.text.corpus import read_files
from charlm.export import contract
from charlm.export import contract_siblings as siblings
from charlm.export.contract import LARGEST_LOSS, Metadata
from charlm.export.contract_siblings import GENERATE
from charlm.export.graphs import generate_graph
from charlm.export.graphs.cell import FloatProducts
from charlm.export.graphs.native import Native
from charlm.export.proof.proving import open_session
from charlm.export.weights import Weights

Ids = npt.NDArray[np.int64]

DRAWN_STREAMS, DRAWN_LENGTH, DRAWN_SEED = 64, 1024, 0
# A text is read in as few pieces as seconds allow, each from a zero state, which costs the first
# characters of a piece: nothing that shows in pieces of this length, and the same before and after.
PIECE = 100_000
MOST_PIECES = 64
SEGMENT = 1024  # characters in one run


@dataclass(frozen=True)
class Quality:
    """Bits per character of one text in float32 and in a smaller precision.

    Attributes:
        before: in float32.
        after: in the smaller precision.
        measured_on: the text, in words.
    """

    before: float
    after: float
    measured_on: str

    @property
    def loss(self) -> float:
        """Bits per character lost."""
        return self.after - self.before

    def as_dict(self) -> dict[str, Any]:
        """The content of `charlm.quality`."""
        return {
            "before": round(self.before, 5),
            "after": round(self.after, 5),
            "loss": round(self.loss, 5),
            "measured_on": self.measured_on,
        }

    def line(self, precision: str) -> str:
        """One line for people."""
        return (
            f"{precision}: {self.after:.4f} bits per character where float32 has "
            f"{self.before:.4f}: a loss of {round(self.loss, 4) + 0.0:.4f} ({self.measured_on})"
        )

    def check(self, precision: str, where: str) -> None:
        """Refuse a model that loses too much.

        Raises:
            ExportError: the loss is above `LARGEST_LOSS`, or not a number.
        """
        if not self.loss <= LARGEST_LOSS:
            raise ExportError(
                f"{where}: {precision} would take it from {self.before:.4f} to {self.after:.4f} "
                f"bits per character ({self.measured_on}), and a loss of {LARGEST_LOSS} is "
                f"allowed: nothing was written; export it without --{precision}"
            )


@dataclass(frozen=True)
class Sample:
    """A text in pieces that are read side by side.

    Attributes:
        ids: int64 [pieces, characters].
        origin: what it is, in words.
    """

    ids: Ids
    origin: str


def measure(
    content: bytes, precision: str, sample: Sample, metadata: Metadata, where: str
) -> Quality:
    """What a precision costs a model, by the native operator, which rounds as it packs the weights.

    Args:
        content: the native graph.
        precision: `int8`, or `fp16` where there is a GPU.
        sample: the text to measure on.
        metadata: of the model.
        where: its name, for messages.
    """
    before, after = (
        bits_per_character(Native(content, where, each), sample.ids, metadata)
        for each in ("float32", precision)
    )
    return Quality(before, after, sample.origin)


def sample(weights: Weights, metadata: Metadata, text: Path | None) -> Sample:
    """The text to measure a model on.

    Args:
        weights: of the model.
        metadata: of the model.
        text: which the model did not learn from; None: what the model draws itself.

    Raises:
        CorpusError: the text can't be read, or has fewer than two characters.
        VocabularyError: it has a character that the model does not know.
    """
    if text is not None:
        return read_sample(text, metadata)
    content = generate_graph.build(FloatProducts(weights), metadata)
    return draw_sample(open_session(content, GENERATE.name), metadata)


def read_sample(path: Path, metadata: Metadata) -> Sample:
    """A text file, normalised as the corpus was.

    Raises:
        CorpusError: it can't be read, or has fewer than two characters.
        VocabularyError: a character that the model does not know.
    """
    most, parts, found = PIECE * MOST_PIECES, [], 0
    for text in metadata.normalisation.stream(read_files([path])):
        parts.append(_encoded(text, metadata, path, found))
        found += len(parts[-1])
        if found > most:
            break
    ids = np.concatenate(parts)[:most]
    if len(ids) < 2:
        raise CorpusError(f"{path}: too short to measure on: it takes at least two characters")
    pieces = max(1, len(ids) // PIECE)
    ids = ids[: len(ids) // pieces * pieces].reshape(pieces, -1)
    first = "the first " if found > most else ""
    return Sample(ids, f"{first}{ids.size:,} characters of {path.name}")


def _encoded(text: str, metadata: Metadata, path: Path, before: int) -> Ids:
    vocabulary = metadata.vocabulary
    try:
        return vocabulary.encode(text, metadata.unknown(None)).astype(np.int64)
    except VocabularyError as problem:
        known = set(vocabulary.characters)
        place, character = next(each for each in enumerate(text) if each[1] not in known)
        raise VocabularyError(
            f"{path}: character {character!r} (U+{ord(character):04X}) at position "
            f"{before + place} is not one of the model's {len(vocabulary)} characters: "
            "measure on a text without it"
        ) from problem


def draw_sample(generate: Any, metadata: Metadata) -> Sample:
    """A text that the model draws itself at temperature 1, the same each time.

    Args:
        generate: `onnxruntime.InferenceSession` of its float32 graph of kind `generate`.
        metadata: of the model.
    """
    shape = DRAWN_STREAMS, DRAWN_LENGTH
    words = np.random.RandomState(DRAWN_SEED).randint(0, 1 << 23, shape)
    feed = {
        **_zero_state(DRAWN_STREAMS, metadata),
        siblings.UNIFORM: ((words + 0.5) * 2.0**-23).astype(np.float32),
        siblings.INVERSE_TEMPERATURE: np.ones(DRAWN_STREAMS, dtype=np.float32),
    }
    (tokens,) = generate.run([siblings.TOKENS], feed)
    origin = f"{tokens.size:,} characters that it draws itself"
    return Sample(tokens.astype(np.int64), origin)


def bits_per_character(session: Any, ids: Ids, metadata: Metadata) -> float:
    """The mean over all characters but the first of each piece, the state carried through each.

    Args:
        session: of a graph of kind `sequence`, or `Native`.
        ids: int64 [pieces, characters].
        metadata: of the model.
    """
    state: Mapping[str, Any] = _zero_state(len(ids), metadata)
    total, last = 0.0, ids.shape[1] - 1
    for start in range(0, last, SEGMENT):
        end = min(start + SEGMENT, last)
        feed = {
            **state,
            siblings.TOKENS: ids[:, start:end],
            siblings.TARGETS: ids[:, start + 1 : end + 1],
        }
        names = [siblings.LOG_PROBABILITY, contract.H_NEXT, contract.C_NEXT]
        found, h, c = session.run(names, feed)
        state = {contract.H: h, contract.C: c}
        total -= float(found.sum(dtype=np.float64))
    return in_bits(float(total / (len(ids) * last)))


def _zero_state(batch: int, metadata: Metadata) -> dict[str, Any]:
    zeros = np.zeros((batch, metadata.layers, metadata.hidden), dtype=np.float32)
    return {contract.H: zeros, contract.C: zeros}
