"""What a smaller precision costs: bits per character before and after, on the same text.

The text is the user's, which the model should not have learned from; or, without one, what the
model draws itself. There the loss estimates the Kullback-Leibler divergence per character of the
smaller model from the float32 one: how many more bits a text of the one costs under the other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.data.system.errors import CorpusError, ExportError, VocabularyError
from charlm.data.text.bits import in_bits
from charlm.data.text.corpus import read_files
from charlm.export.contract import GENERATE, LARGEST_LOSS, LOG_PROBABILITY, Metadata
from charlm.export.graphs import generate_graph
from charlm.export.proof import sessions
from charlm.export.proof.sessions import Ids, NativeGraph
from charlm.export.weights import Weights

DRAWN_STREAMS, DRAWN_LENGTH = 64, 1024
# A text is read in as few pieces as seconds allow, each from a zero state, which costs the first
# characters of a piece: nothing that shows in pieces of this length, and the same before and after.
PIECE = 100_000
MOST_PIECES = 64
SEGMENT = 1024  # characters in one run
LEAST = 1000  # characters of a text: fewer can't tell a loss of 0.01 from none


@dataclass(frozen=True)
class Quality:
    """Bits per character of one text in float32 and in a smaller precision."""

    before: float  # in float32
    after: float  # in the smaller precision
    measured_on: str  # the text, in words

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
    """A text in pieces that are read side by side."""

    ids: Ids  # int64 [pieces, characters]
    origin: str  # what it is, in words


def measure(
    content: bytes, precision: str, sample: Sample, metadata: Metadata, where: str
) -> Quality:
    """What a precision costs a model, by the native operator, which rounds as it packs the weights.

    Args:
        precision: `int8`, or `fp16` where there is a GPU.
    """
    before, after = (
        bits_per_character(NativeGraph(content, where, each), sample.ids, metadata)
        for each in ("float32", precision)
    )
    return Quality(before, after, sample.origin)


def draw_sample(weights: Weights, metadata: Metadata, length: int = DRAWN_LENGTH) -> Sample:
    """Texts that the model draws itself at temperature 1, the same each time."""
    graph = sessions.GenerateGraph(generate_graph.build(weights, metadata), GENERATE.name)
    ones = np.ones(DRAWN_STREAMS, dtype=np.float32)
    _, tokens, _ = graph.draw(sessions.zero_state(DRAWN_STREAMS, metadata), ones, length)
    return Sample(tokens, f"{tokens.size:,} characters that it draws itself")


def read_sample(
    path: Path,
    metadata: Metadata,
    encoding: str = "utf-8",
    piece: int = PIECE,
    most_pieces: int = MOST_PIECES,
) -> Sample:
    """A text file, normalised as the corpus was.

    Args:
        piece: characters that are read one after another.
        most_pieces: of the text's beginning.

    Raises:
        CorpusError: it can't be read, or has fewer than `LEAST` characters.
        VocabularyError: a character that the model does not know.
    """
    most, parts, found = piece * most_pieces, [], 0
    for text in metadata.normalisation.stream(read_files([path], encoding)):
        parts.append(_encoded(text, metadata, path, found))
        found += len(parts[-1])
        if found > most:
            break
    ids = np.concatenate(parts)[:most]
    if len(ids) < LEAST:
        raise CorpusError(
            f"{path}: too short to measure on: it has {len(ids)} characters, and it takes {LEAST:,}"
        )
    pieces = max(1, len(ids) // piece)
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


def bits_per_character(
    graph: sessions.Reader, ids: Ids, metadata: Metadata, segment: int = SEGMENT
) -> float:
    """The mean over all characters but the first of each piece, the state carried through each.

    Args:
        ids: int64 [pieces, characters].
        segment: characters in one run.
    """
    state, total, last = sessions.zero_state(len(ids), metadata), 0.0, ids.shape[1] - 1
    for start in range(0, last, segment):
        found = graph.read(ids[:, start : min(start + segment, last) + 1], state)
        total -= float(found[LOG_PROBABILITY].sum(dtype=np.float64))
        state = sessions.carried(found)
    return float(in_bits(total / (len(ids) * last)))
