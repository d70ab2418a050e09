"""The characters that a model knows, and the vectorised way from text to ids and back."""

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import VocabularyError
from charlm.data.text.normalise import AS_IT_IS, Latin

Unknown = Literal["error", "drop"] | str
ABSENT = 255  # no id, where ids are bytes
SHOWN_AT_MOST = 200  # characters that a message lists; a Chinese model has thousands


class Vocabulary:
    """Distinct characters in code-point order; a character's index is its token id.

    Args:
        characters: the distinct characters, in any order.

    Raises:
        VocabularyError: no characters, or an entry that is not one character of Unicode text.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters: tuple[str, ...] = tuple(sorted(set(characters)))
        if not self.characters:
            raise VocabularyError("a vocabulary needs at least one character")
        for character in self.characters:
            if len(character) != 1 or "\ud800" <= character <= "\udfff":  # half of a pair
                raise VocabularyError(f"a vocabulary holds single characters, not {character!r}")

    def __len__(self) -> int:
        return len(self.characters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"Vocabulary({''.join(self.characters)!r})"

    @property
    def is_latin(self) -> bool:
        """Whether all are of Latin-1, so that `encode_counting` takes what becomes of a text."""
        return bool(self._latin)

    @cached_property
    def dtype(self) -> npt.DTypeLike:
        """The smallest unsigned integer type that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    def encode(self, text: str, unknown: Unknown = "error") -> npt.NDArray[Any]:
        """Token ids of `text`, shape [characters], of type `dtype`.

        Args:
            text: normalised text.
            unknown: `"error"`, `"drop"`, or the one character of the vocabulary that
                stands for every character outside it.

        Raises:
            VocabularyError: a character outside the vocabulary, named with its position.
        """
        return self.encode_counting(text, unknown)[0]

    def encode_counting(
        self, text: str, unknown: Unknown, latin: Latin = AS_IT_IS
    ) -> tuple[npt.NDArray[Any], int]:
        """The same, and how many characters are outside the vocabulary.

        Args:
            text, unknown: see `encode`.
            latin: what becomes of the text first; only of text and a vocabulary of Latin-1.
        """
        plain = self._plain_ids(text, latin)
        if plain is not None:
            lacking = plain.count(ABSENT) if ABSENT in plain else 0
            if lacking:
                if unknown == "error":
                    raise self._unknown_character(text, plain.index(ABSENT))
                other = b"" if unknown == "drop" else bytes([self.id_of(unknown)])
                plain = plain.replace(bytes([ABSENT]), other)
            return np.frombuffer(bytearray(plain), dtype=np.uint8), lacking
        ids = self._looked_up(text)
        missing = ids < 0
        lacking = int(missing.sum())
        if lacking:
            if unknown == "error":
                raise self._unknown_character(text, int(missing.argmax()))
            if unknown == "drop":
                ids = ids[~missing]
            else:
                ids[missing] = self.id_of(unknown)
        return ids.astype(self.dtype), lacking

    def lacks(self, text: str) -> int:
        """How many characters of `text` are outside the vocabulary; see `encode`."""
        return self.encode_counting(text, "drop")[1]

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of token ids, shape [characters], any integer type, each below `len(self)`."""
        found = np.asarray(ids)
        if self._latin and found.dtype == np.uint8 and found.max(initial=0) < len(self):
            return found.tobytes().translate(self._latin).decode("latin-1")
        return self._code_points[found.astype(np.intp)].tobytes().decode("utf-32-le")

    def id_of(self, character: str) -> int:
        """The id of one character.

        Raises:
            VocabularyError: the character is outside the vocabulary.
        """
        try:
            return self.characters.index(character)
        except ValueError as problem:
            raise VocabularyError(
                f"{character!r} is not one of the model's {len(self)} characters: {self.shown()}"
            ) from problem

    def places_in(self, other: "Vocabulary") -> npt.NDArray[np.intp]:
        """The id in `other` of each character, shape [len(self)]; -1 where `other` lacks it."""
        ids = {character: index for index, character in enumerate(other.characters)}
        return np.array([ids.get(character, -1) for character in self.characters], dtype=np.intp)

    def shown(self) -> str:
        """The characters in one readable line, for messages; the first ones, if there are many."""
        shown = self.characters[:SHOWN_AT_MOST]
        line = " ".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
        return line if len(self) <= SHOWN_AT_MOST else f"{line} …"

    def to_json(self) -> str:
        """A JSON list; a character's place is its id."""
        return json.dumps(list(self.characters), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Read the list that `to_json` writes.

        Raises:
            VocabularyError: not a JSON list of distinct characters in order.
        """
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as problem:  # too long a number, too deep a list
            raise VocabularyError(f"the vocabulary is not JSON: {problem}") from problem
        if not isinstance(listed, list) or not all(isinstance(c, str) for c in listed):
            raise VocabularyError("the vocabulary is not a JSON list of characters")
        vocabulary = cls(listed)
        if list(vocabulary.characters) != listed:
            raise VocabularyError("the vocabulary's characters are not distinct and in order")
        return vocabulary

    # Most texts and vocabularies are of Latin-1, where a character is a byte, and `bytes.translate`
    # ten times as fast as a look-up in an array.

    @cached_property
    def _latin(self) -> bytes:
        """What takes ids to characters; empty where some are not of Latin-1, or none is absent."""
        if self.characters[-1] > "\xff" or len(self) > ABSENT:
            return b""
        return "".join(self.characters).encode("latin-1").ljust(256)

    @cached_property
    def _to_ids(self) -> bytes:
        ids = bytearray([ABSENT]) * 256
        for number, character in enumerate(self._latin[: len(self)]):
            ids[character] = number
        return bytes(ids)

    def _plain_ids(self, text: str, latin: Latin) -> bytes | None:
        """The ids of a text of Latin-1, `ABSENT` for those outside; None of any other text."""
        if not self._latin:
            return None
        try:
            plain = text.encode("latin-1")
        except UnicodeEncodeError:
            return None
        return plain.translate(latin.table.translate(self._to_ids), latin.removed)

    @cached_property
    def _code_points(self) -> npt.NDArray[np.uint32]:
        return np.array([ord(c) for c in self.characters], dtype="<u4")

    @cached_property
    def _lookup(self) -> npt.NDArray[np.int32]:
        """Token id by code point, -1 outside the vocabulary; the last entry is always -1."""
        table = np.full(int(self._code_points[-1]) + 2, -1, dtype=np.int32)
        table[self._code_points] = np.arange(len(self), dtype=np.int32)
        return table

    def _looked_up(self, text: str) -> npt.NDArray[np.int32]:
        return self._lookup[np.minimum(code_points(text), len(self._lookup) - 1)]

    def _unknown_character(self, text: str, index: int) -> VocabularyError:
        character = text[index]
        around = text[max(0, index - 10) : index + 10]
        return VocabularyError(
            f"character {character!r} (U+{ord(character):04X}) at position {index} (from 0, as "
            f"normalised), in {around!r}, is not one of the model's {len(self)} characters; "
            "`unknown` drop leaves it out"
        )


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """The code points of `text`, shape [characters]; a lone surrogate counts as itself."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
