"""Beginning a run in several processes: rank 0 reads and makes the folder, the others are told.

So the text and the run folder need to be on rank 0's machine only.
"""

from dataclasses import replace

import numpy as np
import torch

from charlm.data.corpus import Splits
from charlm.data.errors import SettingsError
from charlm.train.distributed import Group
from charlm.train.start import Request, Started, start


def start_together(request: Request, group: Group) -> Started:
    """What `start` gives; on ranks above 0 the splits hold the training part only.

    Raises:
        FirstRankError: rank 0 could not start; there `start`'s own error is raised.
        SettingsError: a machine has fewer GPUs than processes.
    """
    if group.size == 1:
        return start(request)
    _take_gpu(request, group)
    here: list[Started] = []

    def begin() -> Started:
        here.append(start(replace(request, processes=group.size)))
        return replace(here[0], splits=_only(np.empty(0, np.uint8)))

    told = group.from_first(begin)
    ids = group.ids_from_first(lambda: here[0].splits.train)
    return here[0] if here else replace(told, splits=_only(ids))


def _take_gpu(request: Request, group: Group) -> None:
    """Give every process of a machine a GPU of its own, if they are to use any."""
    wanted = (request.options or {}).get("device") or "auto"
    if not group.from_first(lambda: wanted != "cpu" and torch.cuda.is_available()):
        return
    there = torch.cuda.device_count()
    if group.any(group.local_size > there):
        raise SettingsError(
            "--device cuda gives every process its own GPU, and a machine has fewer GPUs than "
            f"processes (rank 0's: {there} and {group.local_size}): start as many as it has with "
            "--nproc-per-node, or use --device cpu"
        )
    torch.cuda.set_device(group.local_rank)


def _only(train: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> Splits:
    return Splits(train, train[:0], train[:0])
