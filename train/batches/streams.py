"""The stateful recipe's batches: the text as a few long streams, read window by window."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.data.system.errors import CorpusError

EVERYTHING = slice(None)


class Streams:
    """A text cut into `batch_size` contiguous streams, each read from its start to its end.

    Window t of every stream follows window t - 1, so the state carried between steps is the
    true state: truncated back-propagation through time, with a loss at every character.

    Args:
        ids: token ids, shape [characters].
        batch_size: number of streams.
        seq_len: characters in a window; the last window of an epoch may be shorter.
        share: the streams that are read here; others read the rest.

    Raises:
        CorpusError: the text is too short for even one window in each stream.
    """

    def __init__(
        self,
        ids: npt.NDArray[Any],
        batch_size: int,
        seq_len: int,
        share: slice = EVERYTHING,
    ) -> None:
        self.batch_size, self.seq_len = batch_size, seq_len
        self.length = (len(ids) - 1) // batch_size  # targets in a stream
        if self.length < seq_len:
            raise CorpusError(
                f"the text's training part has {len(ids)} characters, too few for {batch_size} "
                f"streams of {seq_len}: use a longer text, or a smaller --batch-size or --seq-len"
            )
        self.ids = ids  # perhaps mapped from a file: never more than a window of it is copied
        self.starts = np.arange(batch_size)[share] * self.length
        self.rows: Tensor | None = None  # [length + 1, share of the batch], where it was kept

    def __len__(self) -> int:
        """Steps in an epoch."""
        return -(-self.length // self.seq_len)

    def characters(self, step: int) -> int:
        """Targets in step `step` of an epoch, over all streams, wherever they are read."""
        begin = step * self.seq_len
        return int(min(self.seq_len, self.length - begin)) * self.batch_size

    def epoch(self, number: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, int64 of shape [time, share], from step `start` to the end.

        Every epoch reads the same windows in the same order; `number` is not used.
        """
        del number
        for step in range(start, len(self)):
            begin = step * self.seq_len
            end = min(begin + self.seq_len, self.length)
            rows = self._rows(begin, end + 1)
            yield rows[:-1], rows[1:]

    def nbytes(self) -> int:
        """What `keep` takes."""
        return int(self.ids.itemsize * (self.length + 1) * len(self.starts))

    def keep(self, device: str) -> None:
        """Hold all that is read here on a device, instead of reading it window by window."""
        rows = [self.ids[start : start + self.length + 1] for start in self.starts]
        self.rows = torch.from_numpy(np.stack(rows, axis=1)).to(device)

    def _rows(self, begin: int, end: int) -> Tensor:
        if self.rows is not None:
            return self.rows[begin:end].to(torch.int64)
        places = self.starts + np.arange(begin, end)[:, None]
        return torch.from_numpy(self.ids[places].astype(np.int64))
