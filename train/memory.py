"""A machine's memory: whether it holds a training, keeping what was freed, and what to say."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charlm.data.system.errors import SettingsError, TrainingError
from charlm.data.system.memory import memory_bytes
from charlm.train.config import ModelConfig
from charlm.train.setup import scale

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
BLOCK, KEPT = 1 << 30, 2**31 - 1  # bytes: no block of a step is larger, nothing is given back


def keep_freed_memory() -> bool:
    """Make this process reuse freed memory instead of giving it back; it grows to its peak at most.

    Returns:
        Whether the C library did so; elsewhere than in glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no such function
        return False
    return bool(mallopt(MMAP_THRESHOLD, BLOCK)) and bool(mallopt(TRIM_THRESHOLD, KEPT))


COPIES = 5  # weights, gradients, an optimiser's two moments, the best weights so far
FLOAT = 4  # bytes
GIB = 1 << 30


def check_fits(model: ModelConfig) -> None:
    """Refuse a model whose weights alone, in training, take more memory than the machine has.

    Raises:
        SettingsError: it can't be trained here.
    """
    needed = COPIES * FLOAT * (scale.weights(model) + scale.own_weights(model))
    there = memory_bytes()
    if there is not None and needed > there:
        raise SettingsError(
            f"--hidden {model.hidden} --layers {model.layers} takes {needed / GIB:,.0f} GiB to "
            f"train, and this machine has {there / GIB:,.0f}: choose a smaller model"
        )


@contextmanager
def shortage_explained() -> Iterator[None]:
    """Where memory runs out in the block: one line on what takes less.

    Raises:
        TrainingError: it ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        # The CPU's allocator has no exception of its own.
        gone = isinstance(problem, (MemoryError, torch.OutOfMemoryError))
        if not gone and "allocate memory" not in str(problem):
            raise
        raise TrainingError(
            "memory ran out: choose a lower --batch-size, --seq-len or --hidden "
            "(what was saved before is still there)"
        ) from problem
