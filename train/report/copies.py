"""How much of a text stands word for word in a corpus: the longest copy from every character on.

By a suffix array of the corpus and the texts together, made by prefix doubling (Manber and Myers,
1990; Karp, Miller and Rosenberg, 1972): a name for every substring of 1, 2, 4, … characters that
orders them, until no text shares one with the corpus. In that order a suffix's longest common
prefix with the corpus is the one with the nearest suffix of the corpus before or after it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
SAFE = 2**62  # names are paired in 64 bits as long as a pair's name stays below it


def copied_lengths(corpus: Ids, texts: Sequence[Ids]) -> list[Integers]:
    """For each character of each text, how long a copy from the corpus begins there.

    Memory: about eight names of 8 bytes for each character of all.

    Args:
        corpus: token ids, shape [characters], at least one.
        texts: the same; a copy ends with its text.

    Returns:
        For each text, lengths in characters, int64 of the text's shape; 0 for a character that
        the corpus lacks.
    """
    whole, starts = _joined(corpus, texts)
    asked = np.arange(len(corpus) + 1, len(whole))  # what follows the corpus and its end mark
    names = _names(whole, len(corpus))
    before, after = _neighbours(names[-1], len(corpus))
    lengths = np.maximum(
        _common(names[:-1], asked, before[asked]), _common(names[:-1], asked, after[asked])
    )
    offset = len(corpus) + 1
    return [
        lengths[start - offset : start - offset + len(text)]
        for start, text in zip(starts, texts, strict=True)
    ]


def _joined(corpus: Ids, texts: Sequence[Ids]) -> tuple[Integers, list[int]]:
    """All in one, from 1, each followed by a mark that occurs once; where the texts begin."""
    mark = max(int(part.max(initial=0)) for part in (corpus, *texts)) + 2
    parts: list[Integers] = []
    starts: list[int] = []
    length = 0
    for number, part in enumerate((corpus, *texts)):
        starts.append(length)
        parts += [part.astype(np.int64) + 1, np.array([mark + number])]
        length += len(part) + 1
    return np.concatenate(parts), starts[1:]


def _names(whole: Integers, corpus: int) -> list[Integers]:
    """Names of the substrings of 1, 2, 4, … characters at each place, in the substrings' order.

    The last of them no text shares with the corpus. 0 stands for what is beyond the end.
    """
    names = [whole]
    while _any_shared(names[-1], corpus):
        length = 1 << (len(names) - 1)
        size = int(names[-1].max()) + 1
        if size * size >= SAFE:
            names[-1] = np.unique(names[-1], return_inverse=True)[1].astype(np.int64) + 1
            size = int(names[-1].max()) + 1
        later = np.concatenate([names[-1][length:], np.zeros(length, np.int64)])[: len(whole)]
        names.append(names[-1] * size + later)
    return names


def _any_shared(names: Integers, corpus: int) -> bool:
    inside, outside = np.sort(names[:corpus]), np.sort(names[corpus:])
    places = np.minimum(np.searchsorted(inside, outside), len(inside) - 1)
    return bool((inside[places] == outside).any())


def _neighbours(names: Integers, corpus: int) -> tuple[Integers, Integers]:
    """For each place the nearest one of the corpus before it and after it, in order; -1: none."""
    order = np.argsort(names)
    ranks = np.arange(len(order))
    inside = order < corpus
    last = np.maximum.accumulate(np.where(inside, ranks, -1))
    following = np.minimum.accumulate(np.where(inside, ranks, len(ranks))[::-1])[::-1]
    order_or_none = np.append(order, -1)  # so that both ends lead to none
    before, after = np.empty_like(order), np.empty_like(order)
    before[order], after[order] = order_or_none[last], order_or_none[following]
    return before, after


def _common(names: Sequence[Integers], left: Integers, right: Integers) -> Integers:
    """The length of the longest common prefix of the suffixes at `left` and `right`; 0 at -1."""
    length = np.zeros(len(left), dtype=np.int64)
    some = right >= 0
    for level in range(len(names) - 1, -1, -1):
        same = some & (names[level][left + length] == names[level][right + length])
        length += same.astype(np.int64) << level
    return length


def share(lengths: Integers, length: int) -> float | None:
    """The share of a text's substrings of `length` characters that the corpus has, if any."""
    places = len(lengths) - length + 1
    return float((lengths[:places] >= length).mean()) if places > 0 else None
