"""The notebook recipe's batches: windows of 40 characters, one target each, in shuffled order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.data.system.errors import CorpusError
from charlm.train.config import STRIDE, WINDOW

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


class Windows:
    """Every third window of 40 characters, in an order shuffled anew for each epoch.

    Each window is read from a zero state and predicts only the character after it, as in the
    notebook this project grew out of.

    Args:
        ids: token ids, shape [characters].
        batch_size: windows in a step; the last step of an epoch may have fewer.
        seed: of the shuffles; epoch n is shuffled by (seed, n).

    Raises:
        CorpusError: the text is shorter than one window and its target.
    """

    def __init__(self, ids: npt.NDArray[Any], batch_size: int, seed: int) -> None:
        if len(ids) <= WINDOW:
            raise CorpusError(
                f"the text's training part has {len(ids)} characters, too few for a window of "
                f"{WINDOW} and its target: use a longer text"
            )
        self.ids = ids
        self.batch_size = batch_size
        self.seed = seed
        self.windows = -(-(len(ids) - WINDOW) // STRIDE)

    def __len__(self) -> int:
        """Steps in an epoch."""
        return -(-self.windows // self.batch_size)

    def characters(self, step: int) -> int:
        """Targets in step `step` of an epoch: one a window."""
        return min(self.batch_size, self.windows - step * self.batch_size)

    def epoch(self, number: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs, int64 [40, batch], and targets, int64 [batch], from step `start` to the end."""
        order = Order(self.windows, (self.seed, number))
        offsets = np.arange(WINDOW + 1)
        for step in range(start, len(self)):
            begin = step * self.batch_size
            starts = order[begin : begin + self.batch_size] * STRIDE
            rows = self.ids[starts + offsets[:, None]].astype(np.int64)
            tokens = torch.from_numpy(rows)
            yield tokens[:-1], tokens[-1]
