"""Bits per character of a text under the Torch model, carried or by windows, and samples of it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from charlm.data.text.bits import in_bits
from charlm.train.config import WINDOW
from charlm.train.model import CharLSTM


@torch.no_grad()
def sample_tokens(
    model: CharLSTM, first: Tensor, length: int, seed: int, temperature: float = 1.0
) -> Tensor:
    """Draw `length` tokens, from a zero state and a given first token.

    This is for looking and for proofs: sampling as users see it is defined once, in
    `charlm.infer.sampling.draw`.

    Args:
        model: evaluated one step at a time, without dropout.
        first: ids, int64 of shape [batch].
        length: tokens to draw after the first.
        seed: of the draws, which touch no other random state.
        temperature: above 0.

    Returns:
        Ids, int64 of shape [length + 1, batch], the first token included.
    """
    generator = torch.Generator().manual_seed(seed)
    token = first
    state = model.zero_state(len(first))
    tokens = [first]
    for _ in range(length):
        logits, state = model.step(token, state)
        probabilities = (logits / temperature).softmax(dim=1).cpu()
        token = torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(first.device)
        tokens.append(token)
    return torch.stack(tokens)


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
    return in_bits(nats / len(rows))


CHUNK = 8192
LOGITS = 1 << 26  # a call, where there are very many distinct characters
JUDGED = 2_000_000  # characters of a split that are scored at the most: a minute on one core
STRETCHES = 16  # that they come from, where the split has more


def judged(
    ids: npt.NDArray[Any], most: int = JUDGED, stretches: int = STRETCHES
) -> npt.NDArray[Any]:
    """The part of a held-out split that is scored.

    All of it, up to `most` characters, which texts of up to forty million have. Of a longer one,
    so many in equal stretches, spaced evenly from its beginning to its end, and read as one text.

    Args:
        ids: token ids, shape [characters].
        most: characters that are scored.
        stretches: that they come from.
    """
    if len(ids) <= most:
        return ids
    each = most // stretches
    starts = np.linspace(0, len(ids) - each, stretches).astype(np.int64)
    return np.concatenate([ids[start : start + each] for start in starts])


@torch.no_grad()
def bits_per_character(model: CharLSTM, ids: npt.NDArray[Any], chunk: int = CHUNK) -> float:
    """Mean of -log2 p(next character), from a zero state before the first character.

    The first character is read, not predicted. One text is one sequence: nothing is batched,
    so that the figure is that of a reader who reads on without forgetting.

    Args:
        model: left in the mode (training or evaluation) that it was in.
        ids: token ids of any integer type, shape [characters], at least two.
        chunk: characters a call: bounds memory, changes nothing else.
    """
    was_training = model.training
    model.eval()
    state = model.zero_state(batch=1)
    device = state[0].device
    nats = 0.0
    chunk = min(chunk, LOGITS // model.config.vocabulary)
    for start in range(0, len(ids) - 1, chunk):
        part = ids[start : start + chunk + 1].astype("int64")
        tokens = torch.from_numpy(part).to(device)
        hidden, state = model(tokens[:-1, None], state)
        logits = model.head(hidden[:, 0])
        nats += functional.cross_entropy(logits, tokens[1:], reduction="sum").item()
    model.train(was_training)
    return in_bits(nats / (len(ids) - 1))
