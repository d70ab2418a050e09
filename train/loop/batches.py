"""What a run learns from: which part of its text, in which batches, in how many shares."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.data.system.errors import CorpusError, SettingsError
from charlm.data.text.corpus import Splits, split
from charlm.train.config import TrainingConfig

if TYPE_CHECKING:
    from charlm.train.loop.windows import Windows

EVERYTHING = slice(None)
MINIMUM_CHARACTERS = 1000  # less leaves fewer than fifty characters to be judged by


def learnt_percent(final: bool) -> int:
    """Percent of a text, from its beginning, that is learnt from."""
    return 95 if final else 90


def split_text(ids: npt.NDArray[Any], final: bool) -> Splits:
    """The splits of a corpus; with `final`, validation is learnt from too and is empty."""
    splits = split(ids)
    if not final:
        return splits
    learnt = len(splits.train) + len(splits.validation)
    return Splits(ids[:learnt], ids[learnt:learnt], splits.test)


def check_length(texts: Sequence[Path], characters: int) -> None:
    """Whether a corpus has enough characters for its splits to mean something.

    Raises:
        CorpusError: it has not.
    """
    if characters < MINIMUM_CHARACTERS:
        raise CorpusError(
            f"{', '.join(map(str, texts))}: {characters} characters after normalisation, and a "
            f"model needs {MINIMUM_CHARACTERS} at the least (a hundred thousand to be worth while)"
        )


class Streams:
    """The stateful recipe: the text cut into contiguous streams, each read from start to end.

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
        self, ids: npt.NDArray[Any], batch_size: int, seq_len: int, share: slice = EVERYTHING
    ) -> None:
        self.batch_size, self.seq_len = batch_size, seq_len
        self.length = (len(ids) - 1) // batch_size  # targets in a stream
        if self.length < seq_len:
            raise CorpusError(
                f"the text's training part has {len(ids)} characters, too few for {batch_size} "
                f"streams of {seq_len}: use a longer text, or a smaller `batch_size` or `seq_len`"
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

    def keep(self, device: str, free: int) -> None:
        """Hold all that is read here on a device, if that takes a quarter of its `free` bytes.

        It is a byte a character, or two where there are more than 256 distinct ones.
        """
        if self.ids.itemsize * (self.length + 1) * len(self.starts) <= free // 4:
            rows = [self.ids[start : start + self.length + 1] for start in self.starts]
            self.rows = torch.from_numpy(np.stack(rows, axis=1)).to(device)

    def _rows(self, begin: int, end: int) -> Tensor:
        if self.rows is not None:
            return self.rows[begin:end].to(torch.int64)
        places = self.starts + np.arange(begin, end)[:, None]
        return torch.from_numpy(self.ids[places].astype(np.int64))


def make_batches(
    config: TrainingConfig, ids: npt.NDArray[Any], share: slice = EVERYTHING
) -> "Streams | Windows":
    """The batches of a recipe.

    Args:
        config: of which it takes the sizes, and the seed of the shuffles.
        ids: token ids, shape [characters].
        share: the streams that are wanted (see `check_shares`); windows are not shared out.

    Raises:
        CorpusError: `ids` are too few for them.
    """
    if config.recipe == "stateful":
        return Streams(ids, config.batch_size, config.seq_len, share)
    from charlm.train.loop.windows import Windows

    return Windows(ids, config.batch_size, config.seed)


def check_shares(config: TrainingConfig, processes: int) -> None:
    """Whether so many processes can share the batches of a recipe equally, and its steps.

    Raises:
        SettingsError: they can't.
    """
    alone = f"is for one process, and torchrun started {processes}: leave torchrun out, or"
    if processes > 1 and config.recipe == "notebook":
        raise SettingsError(f"`recipe` notebook {alone} the recipe")
    if processes > 1 and config.step == "graph":
        raise SettingsError(f"`step` graph {alone} choose `step` eager")
    if config.batch_size % processes:
        below = config.batch_size - config.batch_size % processes
        near = f"{below} or {below + processes}" if below else f"{processes}"
        raise SettingsError(
            f"`batch_size` {config.batch_size} is the streams of all {processes} processes, which "
            f"can't share them equally: make it {near}, or start another number of processes"
        )


def sent(tensor: Tensor, device: str) -> Tensor:
    """The tensor on its device, without waiting until it is there."""
    if tensor.device.type == device:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
