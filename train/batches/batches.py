"""Which batches a recipe reads, and how several processes share them."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from charlm.data.system.errors import SettingsError
from charlm.train.batches.streams import EVERYTHING, Streams
from charlm.train.batches.windows import Windows
from charlm.train.config import TrainingConfig


def make_batches(
    config: TrainingConfig, ids: npt.NDArray[Any], share: slice = EVERYTHING
) -> Streams | Windows:
    """The batches of a recipe.

    Args:
        config: the settings.
        ids: token ids, shape [characters].
        share: the streams that are wanted (see `check_shares`); windows are not shared out.

    Raises:
        CorpusError: `ids` are too few for them.
    """
    if config.recipe == "notebook":
        return Windows(ids, config.batch_size, config.seed)
    return Streams(ids, config.batch_size, config.seq_len, share)


def check_shares(config: TrainingConfig, processes: int) -> None:
    """Whether so many processes can share the batches of a recipe equally, and its steps.

    Raises:
        SettingsError: they can't.
    """
    if processes > 1 and config.recipe == "notebook":
        raise SettingsError(
            f"--recipe notebook is for one process, and torchrun started {processes}: "
            "leave torchrun out, or the recipe"
        )
    if processes > 1 and config.step == "graph":
        raise SettingsError(
            f"--step graph is for one process, and torchrun started {processes}: "
            "leave torchrun out, or choose --step eager"
        )
    if config.batch_size % processes:
        below = config.batch_size - config.batch_size % processes
        near = f"{below} or {below + processes}" if below else f"{processes}"
        raise SettingsError(
            f"--batch-size {config.batch_size} is the streams of all {processes} processes, which "
            f"can't share them equally: make it {near}, or start another number of processes"
        )


def keep_on(device: str, batches: Streams | Windows) -> None:
    """Move the text of streams to a GPU once, if that takes at most a quarter of what is free.

    It is a byte a character, or two where there are more than 256 distinct ones.
    """
    if device == "cuda" and isinstance(batches, Streams):
        free, _ = torch.cuda.mem_get_info()
        if batches.nbytes() <= free // 4:
            batches.keep(device)


def sent(tensor: Tensor, device: str) -> Tensor:
    """The tensor on its device, without waiting until it is there."""
    if tensor.device.type == device:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
