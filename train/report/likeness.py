"""How like its text a sample is: what it copies word for word, and how far its n-grams are."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]
SHARES = (10, 20, 30, 40, 60, 80)
CHARACTERS = (1, 2, 3, 4)
WORDS = (1, 2)
WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Copies:
    """What some texts have word for word from the training text, a run of blanks as one blank."""

    name: str  # of the texts
    characters: int  # of all together
    longest: int  # the longest copy, in characters
    text: str  # that copy
    # Of their substrings of so many characters, those that the training text has.
    shares: dict[int, float]


@dataclass(frozen=True)
class Distances:
    """Jensen-Shannon divergence of a text from the held-out text, by the n-grams' name."""

    name: str
    values: dict[str, float]


def find_copies(
    corpus: Ids,
    texts: Mapping[str, Sequence[Ids]],
    blanks: npt.NDArray[np.bool_],
    decode: Callable[[Ids], str],
) -> tuple[Copies, ...]:
    """What named texts copy from a corpus.

    A run of blanks counts as its first: two texts that are indented alike copy nothing.
    Substrings are compared by hashes of 64 bits: of a million characters and a corpus of five
    million, two that differ are taken for the same once in a million reports.

    Args:
        corpus: token ids, shape [characters].
        texts: likewise, any number by each name; a copy ends with its text.
        blanks: for each character of the vocabulary, whether it is one.
        decode: characters of token ids.
    """
    every = [text for named in texts.values() for text in named]
    kept = [_without_runs(text, blanks) for text in every]
    whole = _Substrings(corpus[_without_runs(corpus, blanks)], len(blanks))
    parts = [_Substrings(text[at], len(blanks)) for text, at in zip(every, kept, strict=True)]

    @cache
    def copied(length: int) -> list[npt.NDArray[np.bool_]]:
        """For each text, whether the corpus has the substring that begins at each place."""
        hashes = [part.hashes(length) for part in parts]
        asked, where = np.unique(np.concatenate(hashes), return_inverse=True)
        found = np.zeros(len(asked), dtype=bool)
        if len(asked):
            there = _likely(whole.hashes(length), asked)
            places = np.minimum(np.searchsorted(asked, there), len(asked) - 1)
            found[places[asked[places] == there]] = True
        return np.split(found[where], np.cumsum([len(each) for each in hashes])[:-1])

    def copies_of(name: str, begin: int, end: int) -> Copies:
        longest = _highest(lambda n: any(each.any() for each in copied(n)[begin:end]))
        which, start = 0, 0
        if longest:
            which = next(k for k in range(begin, end) if copied(longest)[k].any())
            start = int(copied(longest)[which].argmax())
        at = kept[which][start : start + longest]
        text = decode(every[which][at[0] : at[-1] + 1]) if longest else ""
        hits = {n: np.concatenate(copied(n)[begin:end]) for n in SHARES}
        shares = {n: float(each.mean()) for n, each in hits.items() if len(each)}
        return Copies(name, sum(map(len, every[begin:end])), longest, text, shares)

    ends = list(accumulate(map(len, texts.values()), initial=0))
    return tuple(map(copies_of, texts, ends, ends[1:]))


def _without_runs(ids: Ids, blanks: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The places in a text, without those of blanks that follow another blank."""
    blank = blanks[ids]
    blank[1:] &= blank[:-1].copy()
    blank[:1] = False
    return np.flatnonzero(~blank)


class _Substrings:
    """The hashes of a text's substrings, in a moment for each length (Karp and Rabin, 1987).

    A character has an odd random number, a substring the sum of its characters', each times the
    base to the power of its place in it, modulo 2^64.
    """

    def __init__(self, ids: Ids, vocabulary: int) -> None:
        random = np.random.default_rng(0)
        numbers = random.integers(1 << 63, size=vocabulary + 1, dtype=np.uint64) * 2 + 1
        base = int(numbers[-1])
        self.sums = np.zeros(len(ids) + 1, dtype=np.uint64)
        np.cumsum(numbers[ids] * _powers(base, len(ids)), out=self.sums[1:])
        # What takes the power of a substring's own place out of its sum.
        self.inverses = _powers(pow(base, -1, 1 << 64), len(ids))

    def hashes(self, length: int) -> Hashes:
        """Of the substring of so many characters that begins at each place."""
        places = max(0, len(self.inverses) - length + 1)
        sums = self.sums[length : length + places] - self.sums[:places]
        return sums * self.inverses[:places]


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    np.cumprod(powers, out=powers)
    return powers


def _likely(hashes: Hashes, asked: Hashes) -> Hashes:
    """Those that share their first 24 bits with one that is asked for: few, and soon found."""
    marks = np.zeros(1 << 24, dtype=bool)
    marks[asked >> np.uint64(40)] = True
    likely: Hashes = hashes[marks[hashes >> np.uint64(40)]]
    return likely


def _highest(holds: Callable[[int], bool]) -> int:
    """The highest number for which something holds that holds for all below it; at least 0."""
    low, high = 0, 1
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def distances(ids: Ids, text: str, others: Ids, other: str, vocabulary: int) -> dict[str, float]:
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
        f"{n} character{'s' if n > 1 else ''}": of_characters(ids, others, n, vocabulary)
        for n in CHARACTERS
        if min(len(ids), len(others)) >= n
    }
    for n in WORDS:
        counts = _words(text, n), _words(other, n)
        if all(counts):
            found[f"{n} word{'s' if n > 1 else ''}"] = _of_counters(*counts)
    return found


def of_characters(left: Ids, right: Ids, n: int, vocabulary: int) -> float:
    """Of sequences of n characters; for any n with vocabulary ** n below 2^63."""
    keys = [_keys(ids, n, vocabulary) for ids in (left, right)]
    _, places = np.unique(np.concatenate(keys), return_inverse=True)
    size = int(places.max()) + 1
    p, q = np.split(places, [len(keys[0])])
    return divergence(np.bincount(p, minlength=size), np.bincount(q, minlength=size))


def divergence(left: Ids, right: Ids) -> float:
    """Jensen-Shannon divergence of two distributions in bits, from counts of the same events."""
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2
    return float((_relative(p, middle) + _relative(q, middle)) / 2)


def _relative(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())


def _keys(ids: Ids, n: int, vocabulary: int) -> npt.NDArray[np.int64]:
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
