"""The random numbers of sampling: Philox-4x64-10 by position, and as uniform numbers.

The words are those of `numpy.random.Philox`. Its C is fast once it is there, but importing it takes
as long as drawing a few hundred characters: short texts use the arithmetic below instead.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Array = npt.NDArray[np.float32]

BLOCK = 1024  # uniform numbers made at once where they are read one by one: constant memory
FIRST_BLOCK = 256  # takes no longer than a smaller one, and a short text has no second
# The arithmetic below takes 100 µs and 20 to 50 ns a word, NumPy's generator 7 µs a stream to start
# and 15 to 20 ns a word in short blocks: the first is the faster for this many streams, this far.
SEVERAL, NEAR = 16, 256
# Importing NumPy's generator takes 11 ms, which the arithmetic below reaches after so many words.
WORTH_IMPORTING = 1 << 16

# Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
ROUNDS = 10
LANES = 4  # words that one counter gives
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
MULTIPLIERS = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], dtype=np.uint64)[:, None, None]
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
MULTIPLIERS_HIGH, MULTIPLIERS_LOW = MULTIPLIERS >> HALF, MULTIPLIERS & LOW
ROWS_AT_ONCE = 1 << 13  # counters whose temporaries stay in the cache


def words(seed: int, stream: int, start: int, count: int) -> Words:
    """Words `start` to `start + count - 1` of a stream, uint64 [count].

    They equal `numpy.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw()`.

    Args:
        seed, stream: from 0 to 2^64 - 1.
        start: from 0; `start + count` stays below 2^64.
        count: from 0.
    """
    if _by_hand(start + count, 1):
        found: Words = _computed([seed], [stream], [start], count)[0]
        return found
    return _drawn(_numpy_generator(seed, stream, start), start % LANES, count)


def uniform_from_word(words: Words) -> Array:
    """u = (float32(w >> 41) + 0.5) * 2^-23 for random words of any shape."""
    upper = (words >> np.uint64(41)).astype(np.float32)
    uniforms: Array = (upper + np.float32(0.5)) * np.float32(2**-23)
    return uniforms


class UniformStream:
    """A stream's uniform numbers in (0, 1), read forward from a position.

    Position t owns word t of Philox with the key (seed, stream); its upper 23 bits and a half
    make a float32 without rounding.

    Args:
        seed, stream: from 0 to 2^64 - 1.
        start: the first position to read.

    Attributes:
        position: the next position that `take` reads.
    """

    __slots__ = ("_generator", "position", "seed", "stream")

    def __init__(self, seed: int, stream: int, start: int = 0) -> None:
        self.seed, self.stream, self.position = seed, stream, start
        self._generator: Any = None  # NumPy's, at `position`, once it is worth its start

    def take(self, count: int) -> Array:
        """The next `count` numbers, float32 [count]."""
        found: Array = take_block([self], count)[0]
        return found

    def __iter__(self) -> Iterator[np.float32]:
        """Numbers one by one, without end, from `position`, which stays where it is."""
        ahead = UniformStream(self.seed, self.stream, self.position)
        yield from ahead.take(FIRST_BLOCK)
        while True:
            yield from ahead.take(BLOCK)

    def _draw(self, count: int) -> Words:
        skip = 0
        if self._generator is None:
            self._generator = _numpy_generator(self.seed, self.stream, self.position)
            skip = self.position % LANES
        return _drawn(self._generator, skip, count)


def take_block(streams: Sequence[UniformStream], count: int) -> Array:
    """The next `count` numbers of each stream, float32 [len(streams), count]; all move on."""
    found = np.empty((len(streams), count), dtype=np.uint64)
    by_hand = []
    for row, stream in enumerate(streams):
        if stream._generator is None and _by_hand(stream.position + count, len(streams)):
            by_hand.append(row)
        else:
            found[row] = stream._draw(count)
    if by_hand:
        chosen = [streams[row] for row in by_hand]
        keys = [each.seed for each in chosen], [each.stream for each in chosen]
        found[by_hand] = _computed(*keys, [each.position for each in chosen], count)
    for stream in streams:
        stream.position += count
    return uniform_from_word(found)


def _by_hand(end: int, streams: int) -> bool:
    """Whether the arithmetic here is the faster way to streams' words before position `end`."""
    if "numpy.random" in sys.modules:
        return streams >= SEVERAL and end <= NEAR
    return end <= NEAR or end * streams <= WORTH_IMPORTING


def _numpy_generator(seed: int, stream: int, start: int) -> Any:
    """NumPy's generator at the counter that `start` belongs to."""
    from numpy.random import Philox

    generator = Philox(key=np.array([seed, stream], dtype=np.uint64))
    return generator.advance(start // LANES)


def _drawn(generator: Any, skip: int, count: int) -> Words:
    found: Words = generator.random_raw(skip + count)
    return found[skip:]


def _computed(
    seeds: Sequence[int], streams: Sequence[int], starts: Sequence[int], count: int
) -> Words:
    """Words from `starts` on of several streams, uint64 [streams, count]."""
    keys = np.array([seeds, streams], dtype=np.uint64)[:, :, None]
    first = np.array(starts, dtype=np.uint64)
    blocks = (count + 2 * (LANES - 1)) // LANES
    # NumPy counts up before it draws, so that its first block has counter 1.
    lowest: Words = first // np.uint64(LANES) + np.uint64(1)
    counters: Words = np.add.outer(lowest, np.arange(blocks, dtype=np.uint64))
    wanted = (first % np.uint64(LANES)).astype(np.intp)[:, None] + np.arange(count)
    found = np.empty((len(first), count), dtype=np.uint64)
    rows = max(1, ROWS_AT_ONCE // max(1, blocks))
    for row in range(0, len(first), rows):
        part = slice(row, row + rows)
        words = _blocks(keys[:, part], counters[part])
        found[part] = np.take_along_axis(words, wanted[part], axis=1)
    return found


def _blocks(keys: Words, counters: Words) -> Words:
    """The words of some counters in order.

    Args:
        keys: uint64 [2, streams, 1].
        counters: uint64 [streams, blocks], the lowest word of each counter; the others are 0.

    Returns:
        uint64 [streams, blocks * 4].
    """
    even = np.stack((counters, np.zeros_like(counters)))  # words 0 and 2 of each counter
    odd = np.zeros_like(even)  # words 1 and 3
    weyl = np.array(WEYL, dtype=np.uint64)[:, None, None]
    for number in range(ROUNDS):
        high, low = _products(even)
        even = high[::-1] ^ odd ^ (keys + weyl * np.uint64(number))
        odd = low[::-1]
    return np.stack((even[0], odd[0], even[1], odd[1]), axis=-1).reshape(len(counters), -1)


def _products(factors: Words) -> tuple[Words, Words]:
    """Upper and lower halves of the 128-bit products with MULTIPLIERS, by 32-bit limbs."""
    high, low = factors >> HALF, factors & LOW
    middle = MULTIPLIERS_HIGH * low + (MULTIPLIERS_LOW * low >> HALF)
    other = MULTIPLIERS_LOW * high + (middle & LOW)
    return MULTIPLIERS_HIGH * high + (middle >> HALF) + (other >> HALF), MULTIPLIERS * factors
