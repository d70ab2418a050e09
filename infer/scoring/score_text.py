"""A text that arrives in chunks, as token ids that are taken a run at a time."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import VocabularyError
from charlm.data.text.vocabulary import Unknown
from charlm.export.contract import Metadata

Tokens = npt.NDArray[Any]  # of the vocabulary's integer type


class TokenText:
    """The token ids of a text, normalised as the model's corpus was.

    The text is asked for as it is needed: a file behind it is not open before that, and memory
    holds a chunk.

    Args:
        chunks: the text, as `data.corpus.read_text` yields it.
        where: its name, for messages.
        metadata: of the model.
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
        vocabulary, before = metadata.vocabulary, 0
        for text in metadata.normalisation.stream(chunks):
            try:
                ids = vocabulary.encode(text, self._unknown)
            except VocabularyError as problem:
                known = set(vocabulary.characters)
                index = next(place for place, c in enumerate(text) if c not in known)
                raise VocabularyError(
                    f"{self.where}: character {text[index]!r} (U+{ord(text[index]):04X}) at "
                    f"position {before + index} is not one of the "
                    f"model's {len(vocabulary)} characters; --unknown drop leaves it out"
                ) from problem
            before += len(text)
            if self._unknown != "error":
                self._lacking += vocabulary.lacks(text)
            yield ids


def check_unknown(metadata: Metadata, unknown: Unknown | None) -> None:
    """What stands for unknown characters must be known.

    Raises:
        VocabularyError: it is not.
    """
    metadata.unknown(unknown)
