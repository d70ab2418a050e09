"""The Torch step loop: one step for each character, with the state carried."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import drawer, load_weights, run_of
from charlm.benchmarks.cases.torch_model import torch_model
from charlm.benchmarks.settings import CaseSettings, Run

if TYPE_CHECKING:
    from charlm.train.model import CharLSTM


def prepare(settings: CaseSettings) -> Run:
    """Load the model and read the prompt."""
    arrays, window, characters = load_weights(settings)
    return run_of(stream(torch_model(arrays, settings), window, characters, settings))


def stream(
    model: "CharLSTM", prompt: npt.NDArray[Any], characters: list[str], settings: CaseSettings
) -> Iterator[str]:
    """Characters without end after `prompt`, int64 [time]."""
    import torch

    logits = np.zeros((1, len(characters)), dtype=np.float32)
    draw = drawer(logits, settings)
    token = torch.zeros(1, dtype=torch.int64)
    state = model.zero_state(1)
    with torch.inference_mode():
        for read in prompt:
            token[0] = int(read)
            answer, state = model.step(token, state)
    while True:
        logits[:] = answer.numpy()
        drawn = draw()
        yield characters[drawn]
        # Entered for each character: a generator must not leave the mode on while it is paused.
        with torch.inference_mode():
            token[0] = drawn
            answer, state = model.step(token, state)
