"""Several processes that train one model: who they are, and what they tell one another.

`torchrun` starts them and says in the environment which one each is. What the processes share
goes through gloo on the CPU; only gradients on a GPU go through NCCL.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from charlm.data.system.errors import CharlmError, SettingsError, TrainingError

T = TypeVar("T")
NAMED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun, and others like it
PATIENCE = datetime.timedelta(minutes=30)  # for rank 0, which evaluates while the others wait
LOST = ("gloo", "Connection", "connect", "Timed out", "timed out", "NCCL")  # in Torch's messages


class LostRankError(TrainingError):
    """Another process of the group died, or can no longer be reached."""


class FirstRankError(TrainingError):
    """Rank 0 has failed and has said why: nothing is left to say."""


@dataclass(frozen=True)
class Group:
    """The processes that train one model; by default this one alone.

    Every method but `first` and `share` must be called by all of them, in the same order.
    """

    rank: int = 0  # which of them this is. Rank 0 reads, evaluates, decides, and writes.
    size: int = 1  # how many there are
    local_rank: int = 0  # which of those on this machine, and the number of its GPU
    local_size: int = 1  # how many there are on this machine

    @property
    def first(self) -> bool:
        """Whether this is the process that reads, evaluates, decides, and writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` streams, which `check_shares` allowed."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def from_first(self, function: Callable[[], T]) -> T:
        """What `function` returns on rank 0; it is called nowhere else.

        Raises:
            CharlmError: on rank 0 what `function` raised, elsewhere `FirstRankError`.
        """
        if self.size == 1:
            return function()
        answer: list[Any] = [False, None]
        if not self.first:
            dist.broadcast_object_list(answer)
            if not answer[0]:
                raise FirstRankError("rank 0 failed")
            found: T = answer[1]
            return found
        try:
            answer = [True, function()]
        except CharlmError:
            dist.broadcast_object_list(answer)
            raise
        dist.broadcast_object_list(answer)
        return answer[1]  # type: ignore[no-any-return]

    def ids_from_first(self, function: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The array [characters] that `function` returns on rank 0, sent without a copy."""
        if self.size == 1:
            return function()
        ids = np.require(function(), requirements=("C", "W")) if self.first else None
        kind, count = self.from_first(lambda: ("", 0) if ids is None else (ids.dtype.str, len(ids)))
        ids = np.empty(count, np.dtype(kind)) if ids is None else ids
        dist.broadcast(torch.from_numpy(ids.view(np.uint8)), src=0)  # gloo has no uint16
        return ids

    def highest(self, number: int) -> int:
        """The highest of all processes' numbers."""
        if self.size == 1:
            return number
        highest = torch.tensor(number)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return int(highest)

    def any(self, flag: bool) -> bool:
        """Whether one process at least says so."""
        return bool(self.highest(int(flag)))

    def total(self, number: float) -> float:
        """The sum of all processes' numbers, in float64."""
        if self.size == 1:
            return number
        summed = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.item()

    def joined(self, tensor: Tensor, dim: int) -> Tensor:
        """All processes' tensors, of one shape, on the CPU, one after another along `dim`."""
        mine = tensor.detach().cpu().contiguous()
        if self.size == 1:
            return mine
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        return torch.cat(parts, dim)

    def replicate(self, module: nn.Module) -> nn.Module:
        """A form of `module` whose gradients are the mean over all processes."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module)


ALONE = Group()


@contextlib.contextmanager
def joined_group() -> Iterator[Group]:
    """The group that the environment names, for as long as it is entered.

    Raises:
        SettingsError: what the environment says is no group.
        LostRankError: the others can't be reached.
    """
    group = named_group(os.environ)
    if group.size == 1:
        yield group
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as problem:
        raise LostRankError(
            f"rank {group.rank} can't reach the others at {os.environ['MASTER_ADDR']}: "
            f"{str(problem).splitlines()[0]}; start them all again, with torchrun"
        ) from problem
    yield group
    dist.destroy_process_group()  # after an error it could wait for a process that is gone


def named_group(environment: "os._Environ[str] | dict[str, str]") -> Group:
    """Who this process is, by what torchrun says.

    Raises:
        SettingsError: a number is none, or is out of range.
    """
    if any(name not in environment for name in NAMED):
        return ALONE
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local_rank = int(environment.get("LOCAL_RANK", rank))
        local_size = int(environment.get("LOCAL_WORLD_SIZE", size))
    except ValueError as problem:
        raise SettingsError(
            f"RANK or WORLD_SIZE in the environment is no number ({problem}): "
            "start with torchrun, or unset them"
        ) from problem
    if not 0 <= rank < size:
        raise SettingsError(
            f"RANK {rank} in the environment is not below WORLD_SIZE {size}: "
            "start with torchrun, or unset them"
        )
    return Group(rank, size, local_rank, local_size)


@contextlib.contextmanager
def losses_explained(group: Group, where: Callable[[], str]) -> Iterator[None]:
    """Make one clear error of what Torch raises when another process is gone.

    Args:
        group: this process's.
        where: how far training is, and how to go on.

    Raises:
        LostRankError: a connection failed.
    """
    try:
        yield
    except RuntimeError as problem:
        if group.size == 1 or not any(word in str(problem) for word in LOST):
            raise
        who = f"rank {1 - group.rank}" if group.size == 2 else "another rank"
        raise LostRankError(f"{who} died, or the connection to it was lost, {where()}") from problem
