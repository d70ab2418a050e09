"""The notebook recipe's batches: windows of 40 characters, one target each, in shuffled order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.data.system.errors import CorpusError
from charlm.train.config import STRIDE, WINDOW


class Windows:
    """Every third window of 40 characters, in an order shuffled anew for each epoch.

    Each window is read from a zero state and predicts only the character after it, as in the
    notebook this project grew out of. An epoch's order is a list of all windows: four bytes each,
    1.3 a character of the text, so that training goes on anywhere in it.

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
        order = np.arange(self.windows, dtype=np.min_scalar_type(self.windows))
        np.random.default_rng((self.seed, number)).shuffle(order)
        offsets = np.arange(WINDOW + 1)
        for step in range(start, len(self)):
            begin = step * self.batch_size
            starts = order[begin : begin + self.batch_size].astype(np.int64) * STRIDE
            rows = self.ids[starts + offsets[:, None]].astype(np.int64)
            tokens = torch.from_numpy(rows)
            yield tokens[:-1], tokens[-1]
