"""The notebook's window in Torch: 40 characters read again from a zero state for each one drawn."""

from typing import TYPE_CHECKING

from charlm.benchmarks.cases.common import Arrays
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.data.system.extras import require

if TYPE_CHECKING:
    from charlm.train.model import CharLSTM
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import drawer, load_weights, run_of
from charlm.benchmarks.harness.settings import Run

if TYPE_CHECKING:
    from torch import Tensor

    from charlm.train.model import CharLSTM


def torch_model(arrays: Arrays, settings: CaseSettings) -> "CharLSTM":
    """A `CharLSTM` of these weights, on the CPU, for inference.

    Raises:
        MissingExtraError: Torch is not installed.
    """
    torch = require("torch", "train")
    from charlm.train.config import ModelConfig
    from charlm.train.model import CharLSTM

    torch.set_num_threads(settings.threads)
    vocabulary, hidden = arrays["head.weight"].shape
    layers = sum(name.startswith("lstm.weight_hh") for name in arrays)
    model = CharLSTM(ModelConfig(vocabulary, hidden, layers))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()


def prepare(settings: CaseSettings) -> Run:
    """Load the model; each character then costs one fused call over 40 steps."""
    arrays, window, characters = load_weights(settings)
    return run_of(stream(torch_model(arrays, settings), window, characters, settings))


def window_logits(model: "CharLSTM", tokens: "Tensor") -> "Tensor":
    """Logits after the last of `tokens`, int64 [time, batch], from a zero state.

    The head is asked about the last step only.
    """
    hidden, _ = model(tokens, model.zero_state(tokens.shape[1]))
    logits: Tensor = model.head(hidden[-1])
    return logits


def stream(
    model: "CharLSTM", window: npt.NDArray[Any], characters: list[str], settings: CaseSettings
) -> Iterator[str]:
    """Characters without end."""
    import torch

    logits = np.zeros((1, len(characters)), dtype=np.float32)
    draw = drawer(logits, settings)
    window = window.copy()
    tokens = torch.from_numpy(window)[:, None]  # a view: sliding the window is seen
    while True:
        with torch.inference_mode():
            logits[:] = window_logits(model, tokens).numpy()
        drawn = draw()
        yield characters[drawn]
        window[:-1] = window[1:]
        window[-1] = drawn
