"""How far the n-grams of one text are from those of another."""

import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

CHARACTERS = (1, 2, 3, 4)
WORDS = (1, 2)
WORD = re.compile(r"\w+(?:['’]\w+)*")


def distances(
    ids: npt.NDArray[Any], text: str, others: npt.NDArray[Any], other: str, vocabulary: int
) -> dict[str, float]:
    """Jensen-Shannon divergence in bits, from 0 (the same) to 1 (nothing in common).

    It grows with shorter texts, whose rare n-grams meet less often: compare texts of one length.

    Args:
        ids: of a text, shape [characters].
        text: the same in characters.
        others: of the text that it is compared with.
        other: the same in characters.
        vocabulary: how many characters there are.
    """
    found = {
        f"{n} character{'s' if n > 1 else ''}": characters(ids, others, n, vocabulary)
        for n in CHARACTERS
        if min(len(ids), len(others)) >= n
    }
    for n in WORDS:
        counts = _words(text, n), _words(other, n)
        if all(counts):
            found[f"{n} word{'s' if n > 1 else ''}"] = _of_counters(*counts)
    return found


def characters(left: npt.NDArray[Any], right: npt.NDArray[Any], n: int, vocabulary: int) -> float:
    """Of sequences of n characters; for any n with vocabulary ** n below 2^63."""
    keys = [_keys(ids, n, vocabulary) for ids in (left, right)]
    _, places = np.unique(np.concatenate(keys), return_inverse=True)
    size = int(places.max()) + 1
    p, q = np.split(places, [len(keys[0])])
    return divergence(np.bincount(p, minlength=size), np.bincount(q, minlength=size))


def divergence(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Jensen-Shannon divergence of two distributions in bits, from counts of the same events."""
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2
    return float((_relative(p, middle) + _relative(q, middle)) / 2)


def _relative(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())


def _keys(ids: npt.NDArray[Any], n: int, vocabulary: int) -> npt.NDArray[np.int64]:
    keys = np.zeros(len(ids) - n + 1, dtype=np.int64)
    for place in range(n):
        keys = keys * vocabulary + ids[place : len(ids) - n + 1 + place]
    return keys


def _words(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return Counter(zip(*(words[place:] for place in range(n)), strict=False))


def _of_counters(left: Counter[tuple[str, ...]], right: Counter[tuple[str, ...]]) -> float:
    events = [*left, *(event for event in right if event not in left)]
    return divergence(
        np.array([left[event] for event in events]), np.array([right[event] for event in events])
    )
