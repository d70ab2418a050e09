"""What a model is held against: n-gram models with Kneser-Ney smoothing, and compressors.

The n-gram models are interpolated, with modified Kneser-Ney smoothing: Chen and Goodman, "An
empirical study of smoothing techniques for language modeling" (1998). Counts of a whole text are
sorted arrays: an n-gram's number is its rank among the n-grams of the text, and its key that of its
first n-1 characters times the vocabulary's size, plus the last character. So nothing overflows,
however many characters a vocabulary has.
"""

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Smoothed:
    """One order's counts, discounted."""

    kept: Floats  # each n-gram's count less its discount, shape [n-grams]
    total: Floats  # of the counts after each context, shape [contexts]
    reserved: Floats  # of the discounts after each context, for the order below


@dataclass(frozen=True)
class NgramOrder:
    """What a text has of n-grams of one length."""

    keys: Integers  # of its distinct n-grams, ascending
    highest: Smoothed  # by occurrences, as the highest order of a model counts
    # By distinct characters before them, as the orders below it do; None for the last.
    lower: Smoothed | None


class NgramModels:
    """Models of every order from 1 to `order`, of one text.

    Args:
        ids: the text to learn, shape [characters], of at least `order` + 1.
        vocabulary: how many characters there are.
        order: of the longest n-grams: the character that is predicted, and those before it.
    """

    def __init__(self, ids: Ids, vocabulary: int, order: int) -> None:
        self.vocabulary = vocabulary
        self.orders: list[NgramOrder] = []
        numbers = np.zeros(len(ids) + 1, dtype=np.int64)  # the empty context, before each character
        keys, counts, contexts = np.zeros(1, np.int64), np.zeros(0, np.int64), 1
        for length in range(1, order + 1):
            every = numbers[:-1] * vocabulary + ids[length - 1 :]
            found, first, ranks, occurrences = np.unique(
                every, return_index=True, return_inverse=True, return_counts=True
            )
            if length > 1:
                before = np.bincount(numbers[first + 1], minlength=len(keys))
                self._add(keys, counts, before, contexts)
                contexts = len(keys)
            keys, counts, numbers = found, occurrences, ranks.astype(np.int64)
        self._add(keys, counts, None, contexts)

    def _add(self, keys: Integers, counts: Ids, before: Ids | None, contexts: int) -> None:
        after = keys // self.vocabulary
        lower = None if before is None else _smoothed(before, after, contexts)
        self.orders.append(NgramOrder(keys, _smoothed(counts, after, contexts), lower))

    def bits_per_character(self, ids: Ids) -> tuple[float, ...]:
        """Mean of -log2 p over all characters of a text but the first, for each order from 1."""
        return tuple(float(-np.log2(each).mean()) for each in self.probabilities(ids))

    def probabilities(self, ids: Ids) -> list[Floats]:
        """For each order, p(character | those before it), shape [characters - 1].

        The first character is read, not predicted; where a text has just begun, a model takes
        the shorter context that there is.

        Args:
            ids: the text to judge.
        """
        predicted = ids[1:].astype(np.int64)
        numbers = np.zeros(len(ids), dtype=np.int64)  # of the n-gram that ends at each character
        below: Floats = np.full(len(predicted), 1 / self.vocabulary)
        found = []
        for length, order in enumerate(self.orders, start=1):
            contexts = numbers[:-1]
            places = _find(order.keys, contexts, predicted, self.vocabulary)
            found.append(_interpolated(order.highest, contexts, places, below))
            if order.lower is not None:
                below = _interpolated(order.lower, contexts, places, below)
            numbers = np.concatenate([[-1], places])
            if length == 1:
                numbers[:1] = _find(order.keys, contexts[:1], ids[:1], self.vocabulary)
        return found


def _find(keys: Integers, contexts: Integers, characters: Ids, vocabulary: int) -> Integers:
    """The rank of each n-gram among `keys`; -1 for one that is new."""
    wanted = contexts * vocabulary + characters
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((contexts >= 0) & (keys[places] == wanted), places, -1)


def _smoothed(counts: Ids, after: Integers, contexts: int) -> Smoothed:
    discounts: Floats = np.minimum(_discounts(counts)[np.minimum(counts, 3)], counts)
    return Smoothed(
        counts - discounts,
        np.bincount(after, counts, contexts).astype(np.float64),
        np.bincount(after, discounts, contexts).astype(np.float64),
    )


def _discounts(counts: Ids) -> Floats:
    """What is taken from a count of 0, 1, 2, and 3 or more.

    Where too few n-grams are as rare as the formulas need, half a count goes from each.
    """
    once, twice, thrice, four = (int((counts == n).sum()) for n in (1, 2, 3, 4))
    if not (once and twice and thrice and four):
        return np.array([0, 0.5, 0.5, 0.5])
    share = once / (once + 2 * twice)
    found = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice,
             3 - 4 * share * four / thrice]  # fmt: skip
    return np.array([0.0, *np.clip(found, [0.05] * 3, [0.95, 1.95, 2.95])])


def _interpolated(own: Smoothed, contexts: Integers, places: Integers, below: Floats) -> Floats:
    """p of one order from p of the order below; that alone where the context is new."""
    known = (contexts >= 0) & (own.total[contexts] > 0)
    total = np.where(known, own.total[contexts], 1.0)
    kept = np.where(places >= 0, own.kept[places], 0.0)
    return np.where(known, (kept + own.reserved[contexts] * below) / total, below)


@dataclass(frozen=True)
class Baseline:
    """What a model is held against; `weak` where a better one of its kind is there."""

    name: str
    bits: float
    weak: bool = False


@dataclass(frozen=True)
class Compressed:
    """Bits per character of one compressor."""

    name: str  # with its setting
    alone: float  # of the held-out text by itself
    # What the held-out text adds to the compressed training text. How far back a compressor sees
    # limits what it can gain: gzip 32 KB, bz2 `BLOCK`.
    after: float


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, filters=[_xz(len(data))]),
}


# bz2 begins anew with every block of 900 KB, wherever that falls. What it is given at once stays
# below that, with room for the bytes that its first stage may add.
BLOCK = 800_000
REACH = {"bz2 -9": BLOCK}


def _xz(size: int) -> dict[str, int]:
    """As `xz -9e`, with no larger a dictionary than the text fills: that one takes 700 MB."""
    extreme, room = 9 | lzma.PRESET_EXTREME, min(64 << 20, max(4096, size))
    return {"id": lzma.FILTER_LZMA2, "preset": extreme, "dict_size": room}


def compress(learnt: str, held_out: str) -> tuple[Compressed, ...]:
    """Compress a held-out text in UTF-8, by itself and after the text that was learnt."""
    before, text, found = learnt.encode(), held_out.encode(), []
    for name, run in COMPRESSORS.items():
        sizes = len(run(text)), _added(run, before, text, REACH.get(name))
        found.append(Compressed(name, *(8 * size / len(held_out) for size in sizes)))
    return tuple(found)


def _added(run: Callable[[bytes], bytes], before: bytes, text: bytes, reach: int | None) -> int:
    """Bytes that a text adds to what stands before it, to a compressor.

    It sees `reach` bytes together, which are always the last ones: a text that leaves no half of
    them for what is before it is cut in pieces that do. None for all. At least 0, though bz2 may
    make fewer bytes of a line when it repeats once more.
    """
    whole = before + text
    piece = len(text) if reach is None else min(len(text), reach // 2)
    added = 0
    for begin in range(len(before), len(whole), piece):
        end = min(begin + piece, len(whole))
        first = 0 if reach is None else max(0, end - reach)
        added += len(run(whole[first:end])) - len(run(whole[first:begin]))
    return max(0, added)
