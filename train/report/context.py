"""What carrying the state is worth: bits per character where it is thrown away, and where never."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from charlm.data.text.bits import in_bits
from charlm.train.model import CharLSTM, State

Ids = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
CHUNK = 8192  # characters a call of a text that is read from its beginning to its end
CELLS = 1 << 22  # one-hot values a call of many segments: 16 MB


@torch.no_grad()
def reset_every(model: CharLSTM, ids: Ids, length: int) -> Floats:
    """Bits of every character of a text but the first, where the state is zeroed in between.

    The text is cut into segments of `length` characters to be read, each from a zero state, and
    after each of them the next character is predicted: from one to `length` characters, on
    average half of them. All segments are read side by side.

    Args:
        model: in evaluation mode.
        ids: token ids of any integer type, shape [characters], at least two.
        length: of a segment.
    """
    predicted = len(ids) - 1
    segments = math.ceil(predicted / length)
    padded = np.zeros(segments * length + 1, dtype=np.int64)
    padded[: len(ids)] = ids
    read = padded[:-1].reshape(segments, length)
    expected = padded[1:].reshape(segments, length)
    steps = max(1, min(length, CELLS // model.config.vocabulary // min(segments, 256)))
    rows = max(1, CELLS // model.config.vocabulary // steps)
    bits = np.empty((segments, length))
    for row in range(0, segments, rows):
        part = slice(row, row + rows)
        state = model.zero_state(len(read[part]))
        for step in range(0, length, steps):
            window = (part, slice(step, step + steps))
            bits[window], state = _bits(model, read[window], expected[window], state)
    return bits.reshape(-1)[:predicted]


@dataclass(frozen=True)
class Carried:
    """A text read without a reset, again and again, as one who reads on.

    Attributes:
        bits: of each character after the first; of the one after the text's last, its first.
        places: characters read at each of the looks that follow.
        hidden: the norm of h there, over all layers.
        cell: the norm of c.
    """

    bits: Floats
    places: npt.NDArray[np.int64]
    hidden: Floats
    cell: Floats


@torch.no_grad()
def never_reset(model: CharLSTM, ids: Ids, length: int) -> Carried:
    """Read `length` characters, round and round a text, from one zero state at the very beginning.

    A lap has the same characters as any other, so that what differs between them is the state's
    doing.

    Args:
        model: in evaluation mode.
        ids: token ids of any integer type, shape [characters], at least two.
        length: characters to read and to predict after each.
    """
    state = model.zero_state(1)
    bits, places, norms = [], [], []
    for start in range(0, length, CHUNK):
        at = np.arange(start, min(start + CHUNK, length) + 1) % len(ids)
        tokens = ids[at].astype(np.int64)
        found, state = _bits(model, tokens[None, :-1], tokens[None, 1:], state)
        bits.append(found[0])
        places.append(start + len(at) - 1)
        norms.append([float(part.norm()) for part in state])
    hidden, cell = np.array(norms).T
    return Carried(np.concatenate(bits), np.array(places), hidden, cell)


def _bits(model: CharLSTM, read: Ids, expected: Ids, state: State) -> tuple[Floats, State]:
    """-log2 p of each expected character, shape [texts, characters], and the state after them."""
    tokens, targets = (torch.from_numpy(part.T.copy()) for part in (read, expected))
    hidden, state = model(tokens, state)
    logits: Tensor = model.head(hidden)
    nats = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return in_bits(nats.view(targets.shape).T.double().numpy()), state
