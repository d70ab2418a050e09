"""The random numbers of sampling by their positions, where Python draws; the operator has its own.

The words are those of `numpy.random.Philox`, whose `advance` goes to any position at once. NumPy's
random numbers take 11 ms to import, so that is left to the first that asks for one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Array = npt.NDArray[np.float32]

BLOCK = 1024  # uniform numbers made at once where they are read one by one: constant memory
LANES = 4  # words that one counter gives
WORD = (1 << 64) - 1
ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)  # Philox4x64 (Salmon et al., 2011)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def uniform_from_word(words: Words) -> Array:
    """u = (float32(w >> 41) + 0.5) * 2^-23 for random words of any shape."""
    upper = (words >> np.uint64(41)).astype(np.float32)
    uniforms: Array = (upper + np.float32(0.5)) * np.float32(2**-23)
    return uniforms


def first_uniform(seed: int, stream: int) -> np.float32:
    """The number of position 0, sooner than `numpy.random` can be imported."""
    a, b, c, d = 1, 0, 0, 0  # the counter: NumPy's begins at 1
    for turn in range(ROUNDS):
        left, right = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        keys = ((key + turn * step) & WORD for key, step in zip((seed, stream), WEYL, strict=True))
        a, c = (right >> 64) ^ b ^ next(keys), (left >> 64) ^ d ^ next(keys)
        b, d = right & WORD, left & WORD
    return np.float32(uniform_from_word(np.array(a, dtype=np.uint64)))


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

    __slots__ = ("_drawn", "_generator", "position", "seed", "stream")

    def __init__(self, seed: int, stream: int, start: int = 0) -> None:
        self.seed, self.stream, self.position = seed, stream, start
        self._generator: Any = None
        self._drawn = -1  # the position that the generator is at

    def take(self, count: int) -> Array:
        """The next `count` numbers, float32 [count]."""
        skip = 0
        if self._drawn != self.position:
            from numpy.random import Philox

            key = np.array([self.seed, self.stream], dtype=np.uint64)
            self._generator = Philox(key=key).advance(self.position // LANES)
            skip = self.position % LANES
        words = self._generator.random_raw(skip + count)[skip:]
        self.position = self._drawn = self.position + count
        return uniform_from_word(words)

    def __iter__(self) -> Iterator[np.float32]:
        """Numbers one by one, without end, from `position`, which stays where it is."""
        ahead = UniformStream(self.seed, self.stream, self.position)
        while True:
            yield from ahead.take(BLOCK)


def take_block(streams: Sequence[UniformStream], count: int) -> Array:
    """The next `count` numbers of each stream, float32 [len(streams), count]; all move on."""
    return np.stack([stream.take(count) for stream in streams])
