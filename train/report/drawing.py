"""Texts of the model to judge: many streams side by side, joined to one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.train.run_folder import Run
from charlm.train.sample import sample_tokens

STREAMS = 128  # side by side; more gain little, and make each stream shorter
SHORTEST = 500  # characters of a stream, where there is more than one


def draw(run: Run, length: int, temperature: float, seed: int) -> list[npt.NDArray[Any]]:
    """Draw a large sample as several texts, each from a zero state.

    The first character of each is drawn from the characters' frequencies.

    Args:
        run: the model.
        length: characters of all together.
        temperature: above 0.
        seed: of all draws.

    Returns:
        Token ids of each text.
    """
    streams = max(1, min(STREAMS, length // SHORTEST))
    each = -(-length // streams)
    random = np.random.default_rng(seed)
    first = random.choice(len(run.initial), size=streams, p=run.initial)
    tokens = sample_tokens(run.model, torch.from_numpy(first), each - 1, seed, temperature)
    return list(tokens.numpy().T)
