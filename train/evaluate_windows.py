"""Bits per character by windows: each character from exactly so many before it, as the notebook."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from charlm.train.config import WINDOW
from charlm.train.model import CharLSTM

STEPS = 512 * WINDOW  # a call, of all its windows: bounds memory, changes nothing else


@torch.no_grad()
def windowed_bits(model: CharLSTM, ids: npt.NDArray[Any], window: int) -> float:
    """Mean of -log2 p(character | the `window` before it), each window read from a zero state.

    Each character costs `window` steps.

    Args:
        model: in evaluation mode.
        ids: token ids of any integer type, shape [characters], more than `window`.
        window: characters that are read before each one that is predicted.
    """
    rows = np.lib.stride_tricks.sliding_window_view(ids, window + 1)
    batch = max(1, STEPS // window)
    nats = 0.0
    for start in range(0, len(rows), batch):
        part = torch.from_numpy(rows[start : start + batch].T.astype(np.int64))
        hidden, _ = model(part[:-1], model.zero_state(part.shape[1]))
        logits = model.head(hidden[-1])
        nats += functional.cross_entropy(logits, part[-1], reduction="sum").item()
    return nats / len(rows) / math.log(2)
