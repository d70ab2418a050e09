"""Reading a text with the state thrown away every so often, and never: what that is worth."""

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
LENGTHS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120)
POINTS = 20  # along a lap of the long reading
LAPS_SHOWN = 5


@dataclass(frozen=True)
class ContextPoint:
    """Bits per character where the state is zeroed every `length` characters; None: never."""

    length: int | None
    bits: float


@dataclass(frozen=True)
class Drift:
    """A text read round and round without a reset."""

    characters: int  # read in all
    lap: int  # characters of the text
    laps: tuple[float, ...]  # bits per character of each whole lap
    window: int  # characters that each figure of `curves` is the mean of
    # Bits per character along some laps, by their number from 1: the first, the last, and some
    # between.
    curves: dict[int, tuple[float, ...]]
    places: tuple[int, ...]  # characters read at each look at the state
    hidden: tuple[float, ...]  # norm of h there
    cell: tuple[float, ...]  # norm of c there

    def first_and_last(self) -> tuple[float, float]:
        """Bits of the first and the last lap; of the first and last tenth where there is one."""
        if len(self.laps) > 1:
            return self.laps[0], self.laps[-1]
        (only,) = self.curves.values()
        tenth = max(1, len(only) // 10)
        return sum(only[:tenth]) / tenth, sum(only[-tenth:]) / tenth


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
    """A text read without a reset, again and again, as one who reads on."""

    bits: Floats  # of each character after the first; of the one after the text's last, its first
    places: tuple[int, ...]  # characters read at each of the looks that follow
    hidden: tuple[float, ...]  # the norm of h there, over all layers
    cell: tuple[float, ...]  # the norm of c


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
    hidden, cell = zip(*norms, strict=True)
    return Carried(np.concatenate(bits), tuple(places), hidden, cell)


def _bits(model: CharLSTM, read: Ids, expected: Ids, state: State) -> tuple[Floats, State]:
    """-log2 p of each expected character, shape [texts, characters], and the state after them."""
    tokens, targets = (torch.from_numpy(part.T.copy()) for part in (read, expected))
    hidden, state = model(tokens, state)
    logits: Tensor = model.head(hidden)
    nats = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return in_bits(nats.view(targets.shape).T.double().numpy()), state


def context_curve(model: CharLSTM, ids: Ids, carried: Floats) -> tuple[ContextPoint, ...]:
    """What a text costs by how often the state is zeroed; `carried` is what each character costs
    where it never is.
    """
    found = [
        ContextPoint(length, float(reset_every(model, ids, length).mean()))
        for length in LENGTHS
        if length < len(ids)
    ]
    return (*found, ContextPoint(None, float(carried[: len(ids) - 1].mean())))


def drift_of(carried: Carried, lap: int) -> Drift:
    """Whether it stays good: means over each lap of so many characters, and along some of them."""
    read, per_point = len(carried.bits), max(1, lap // POINTS)
    size = int(10 ** (len(str(per_point)) - 1))
    window = per_point // size * size  # of one digit and noughts
    laps = carried.bits[: read // lap * lap].reshape(-1, lap)
    shown = np.linspace(0, len(laps) - 1, min(LAPS_SHOWN, len(laps))).astype(int).tolist()
    along = laps[shown, : lap // window * window].reshape(len(shown), -1, window).mean(axis=2)
    curves = {n + 1: tuple(means) for n, means in zip(shown, along.tolist(), strict=True)}
    means = tuple(laps.mean(axis=1).tolist())
    return Drift(read, lap, means, window, curves, carried.places, carried.hidden, carried.cell)
