"""The random state that training depends on: Torch's global generator on its device.

Dropout draws from it. Processes that train together draw apart, and each goes on where it was.
"""

import numpy as np
import torch
from torch import Tensor


def begin_random_state(seed: int, rank: int, step: int = 0) -> None:
    """Seed the generators of process `rank` for what it draws from `step` on."""
    if (rank, step) != (0, 0):
        mixed = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
        seed = int(mixed[0])
    torch.manual_seed(seed)


def random_state(device: str) -> Tensor:
    """The state of the generator that dropout draws from, uint8 of shape [bytes]."""
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()


def set_random_state(device: str, states: Tensor, seed: int, rank: int = 0, step: int = 0) -> None:
    """Put that generator back into a state.

    Args:
        device: whose generator.
        states: what `random_state` gave, or that of several processes: uint8 [processes, bytes].
        seed: of the run.
        rank: whose state is wanted. One that was not there before is seeded anew.
        step: where training goes on.
    """
    known = [row.clone() for row in states.reshape(-1, states.shape[-1])]
    if rank >= len(known):
        begin_random_state(seed, rank, step)
    elif device == "cuda":
        torch.cuda.set_rng_state(known[rank])
    else:
        torch.set_rng_state(known[rank])
