"""Which characters a model is to know: of a new corpus, by how often each occurs, or as before."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CorpusError
from charlm.data.text.rare import (
    ALPHABETS,
    MAX_VOCABULARY,
    MIN_COUNT,
    Rare,
    RareSettings,
    named,
    rule,
)
from charlm.data.text.vocabulary import Vocabulary

NAMED = 5  # characters that a message names
FIX = "choose another `rare`, a lower `min_count` or a higher `max_vocabulary`"

Counts = npt.NDArray[np.int64]


class Alphabet(NamedTuple):
    """The characters that a model knows, and what becomes of all others."""

    vocabulary: Vocabulary
    rare: Rare

    def covering(self, counts: Counts, where: str) -> "Alphabet":
        """The same for another text, its rare characters counted anew.

        Args:
            counts: how often each code point occurs in the normalised text, shape [0x110000].
            where: the text's name, for messages.

        Raises:
            CorpusError: some are outside the vocabulary, and are neither dropped nor replaced.
        """
        own = [ord(character) for character in self.vocabulary.characters]
        outside = np.setdiff1d(np.flatnonzero(counts), own)
        if len(outside) and self.rare.policy == "error":
            raise CorpusError(
                f"{where}: {_listed(outside, counts)} outside the model's vocabulary: begin "
                "another run from this one with `init_from`, which adds them"
            )
        share = _share(counts, outside)
        rare = replace(self.rare, characters=len(outside), share=share, held_out_share=share)
        return Alphabet(self.vocabulary, rare)


def limit(
    counts: Counts,
    count_learnt: Callable[[], Counts],
    wanted: RareSettings,
    where: str,
    keep: Sequence[int] = (),
) -> Alphabet:
    """Choose the characters of a corpus that a model is to know.

    Args:
        counts: how often each code point occurs in the whole normalised text, shape [0x110000].
        count_learnt: gives the same of the part that is learnt from; called where it matters.
        wanted: what the user said.
        where: the text's name, for messages.
        keep: code points that are never rare, so far as the text has them.

    Raises:
        CorpusError: something is rare, and `wanted` has that as an error; or all but one is.
    """
    present = np.flatnonzero(counts)
    least, most = wanted.min_count, wanted.max_vocabulary
    if least is None:
        least = MIN_COUNT if len(present) > ALPHABETS else 0
    if most is None:
        most = MAX_VOCABULARY
    learnt = count_learnt() if least or 0 < most <= len(present) else counts
    own = np.intersect1d(present, np.asarray(keep, present.dtype))
    kept = np.union1d(own, _frequent(present, learnt, least, most or len(present)))
    plain = Rare(min_count=least, max_vocabulary=most)
    if wanted.rare in (None, "error"):
        if len(kept) == len(present):
            return Alphabet(Vocabulary(map(chr, present)), plain)
        if wanted.rare == "error":
            listed = _listed(np.setdiff1d(present, kept), counts)
            raise CorpusError(f"{where}: {listed} rare ({rule(least, most, len(kept))}); {FIX}")
    replacement = wanted.replacement
    if replacement is not None:  # it takes a place of its own, however rare it is itself
        others = present[present != ord(replacement)]
        kept = _frequent(others, learnt, least, most - 1 if most else len(others))
        kept = np.union1d(kept, [*own, ord(replacement)])
    if len(kept) < 2:
        why = rule(least, most, len(kept))
        raise CorpusError(f"{where}: all characters are rare ({why}); {FIX}")
    rare = np.setdiff1d(present, kept)
    found = replace(
        plain,
        policy="drop" if replacement is None else "replace",
        replacement=replacement,
        characters=len(rare),
        share=_share(learnt, rare),
        held_out_share=_share(counts - learnt, rare),
    )
    return Alphabet(Vocabulary(map(chr, kept)), found)


def _frequent(present: Counts, learnt: Counts, least: int, most: int) -> Counts:
    """Of the code points `present`, the most frequent ones that are frequent enough."""
    enough = present[learnt[present] >= least]
    by_count = np.argsort(-learnt[enough], kind="stable")  # the lowest code point first of equals
    return enough[by_count[:most]]


def _share(counts: Counts, rare: Counts) -> float:
    total = int(counts.sum())
    return round(int(counts[rare].sum()) / total, 6) if total else 0.0


def _listed(characters: Counts, counts: Counts) -> str:
    """The most frequent of some characters, how many more there are, and the verb."""
    frequent_first = characters[np.argsort(-counts[characters], kind="stable")]
    shown = ", ".join(named(chr(code)) for code in frequent_first[:NAMED])
    beside = len(characters) - NAMED
    more = f" and {beside:,} more characters" if beside > 0 else ""
    return f"{shown}{more} {'is' if len(characters) == 1 else 'are'}"
