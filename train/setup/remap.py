"""From one vocabulary's token ids to another's, character by character."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.text.ids import chunks, collect
from charlm.data.text.vocabulary import Vocabulary


def places(old: Vocabulary, new: Vocabulary) -> npt.NDArray[np.intp]:
    """The id in `new` of each character of `old`, shape [len(old)]; -1 where `new` lacks it."""
    ids = {character: index for index, character in enumerate(new.characters)}
    return np.array([ids.get(character, -1) for character in old.characters], dtype=np.intp)


def re_encode(
    ids: npt.NDArray[Any], old: Vocabulary, new: Vocabulary, scratch: Path | None = None
) -> npt.NDArray[Any]:
    """Token ids of the same text by another vocabulary.

    Args:
        ids: by `old`, shape [characters].
        old: whose ids they are.
        new: has all characters of `old`.
        scratch: where many ids are kept; None to keep them in memory.

    Returns:
        Ids by `new`, shape [characters], of its smallest type; `ids` itself where the vocabularies
        are the same.
    """
    if old == new:
        return ids
    table = places(old, new).astype(new.dtype)
    return collect((table[part] for part in chunks(ids)), len(ids), new.dtype, scratch)
