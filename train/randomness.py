"""The random state that training depends on: Torch's global generator on its device."""

import torch
from torch import Tensor


def random_state(device: str) -> Tensor:
    """The state of the generator that dropout draws from."""
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()


def set_random_state(device: str, state: Tensor) -> None:
    """Put that generator back into a state."""
    if device == "cuda":
        torch.cuda.set_rng_state(state)
    else:
        torch.set_rng_state(state)
