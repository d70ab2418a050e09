"""An order of many things, drawn by a seed, that need not be held in memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

LISTED = 1 << 24  # so many are shuffled as a list, 128 MiB; of more, places are computed
ROUNDS = 6

Places = npt.NDArray[np.int64]


class Order:
    """A permutation of 0, …, length - 1 that is read slice by slice.

    Up to `LISTED` things it is NumPy's. Of more, place p goes through a Feistel network, which
    permutes the numbers of 2k bits, until it falls below `length`: a permutation as well.

    Args:
        length: how many things.
        seed: of the permutation.
    """

    def __init__(self, length: int, seed: tuple[int, int]) -> None:
        self.length = length
        generator = np.random.default_rng(seed)
        self._listed: Places | None = None
        if length <= LISTED:
            self._listed = generator.permutation(length)
        else:
            self._half = np.uint64(((length - 1).bit_length() + 1) // 2)
            self._low = np.uint64((1 << int(self._half)) - 1)
            self._keys = generator.integers(1 << 63, size=ROUNDS, dtype=np.uint64)

    def __getitem__(self, places: slice) -> Places:
        """What stands at these places, int64 of the slice's length."""
        if self._listed is not None:
            return self._listed[places]
        found = self._mixed(np.arange(*places.indices(self.length), dtype=np.uint64))
        while (outside := found >= self.length).any():
            found[outside] = self._mixed(found[outside])
        return found.astype(np.int64)

    def _mixed(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        left, right = numbers >> self._half, numbers & self._low
        for key in self._keys:
            left, right = right, left ^ (_scattered(right ^ key) & self._low)
        return (left << self._half) | right


def _scattered(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The finaliser of SplitMix64: every bit depends on every bit."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))
