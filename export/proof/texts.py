"""What a proof holds a graph against: texts that the Torch model draws, and what it makes of them.

Half of the texts begin with a few even draws of all characters: rare ones are read too, and no text
is far from what the model knows.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ExportError
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H
from charlm.train.model import CharLSTM, State

BATCHES = (1, 3, 64)
SEED = 0
EVEN = 10  # characters
SINGLE = 20  # from each of so many states of Torch's, a graph takes one step
LENGTHS = (1, 7, 64, 128)  # of the runs of a graph of many steps, again and again
RUN_NUMBERS = 1 << 24  # in the logits of a run: a large vocabulary takes shorter runs

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Arrays = dict[str, Floats]


@dataclass(frozen=True)
class Texts:
    """Texts of the largest batch, a row each, and what Torch makes of them.

    Attributes:
        after: by the number of tokens read, `logits`, `h_next` and `c_next`, batch first; that
            before and after each run and each single step, from 1.
    """

    tokens: Ids  # int64 [streams, steps + 1]
    log_probability: Floats  # float32 [streams, steps], of each token but the first
    after: dict[int, Arrays]

    @property
    def steps(self) -> int:
        """Characters after the first of each text."""
        return len(self.tokens[0]) - 1


def runs(steps: int, vocabulary: int) -> list[slice]:
    """The runs of many lengths, one after another, in which a text of `steps` is read or drawn."""
    most = max(1, RUN_NUMBERS // (max(BATCHES) * vocabulary))
    found: list[slice] = []
    end = 0
    while end < steps:
        length = min(LENGTHS[len(found) % len(LENGTHS)], most, steps - end)
        found.append(slice(end, end + length))
        end += length
    return found


@torch.no_grad()
def draw_texts(
    model: CharLSTM, steps: int, compare: Callable[[Ids, Arrays, Arrays], None]
) -> Texts:
    """Draw texts, and read them as they grow.

    Args:
        model: on the CPU.
        compare: is called at each step with the token that is read, int64 [streams], with `h` and
            `c` before it, and with `logits`, `h_next` and `c_next` after it.

    Raises:
        ExportError: the model's logits are not finite.
    """
    streams, size = max(BATCHES), model.config.vocabulary
    generator = torch.Generator().manual_seed(SEED)
    token = torch.randint(size, (streams,), generator=generator)
    state, tokens, scores = model.zero_state(streams), [token], []
    kept = {run.stop for run in runs(steps, size)} | set(range(1, SINGLE + 2))
    after: dict[int, Arrays] = {}
    for done in range(1, steps + 1):
        before = dict(zip((H, C), batch_first(state), strict=True))
        logits, state = model.step(token, state)
        check_finite(logits)
        found = {LOGITS: logits.numpy()} | state_after(state)
        compare(token.numpy(), before, found)
        if done in kept:
            after[done] = found
        token = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
        if done <= EVEN:
            token[1::2] = torch.randint(size, (streams // 2,), generator=generator)
        scores.append(logits.log_softmax(dim=1).gather(1, token[:, None])[:, 0])
        tokens.append(token)
    return Texts(torch.stack(tokens, 1).numpy(), torch.stack(scores, 1).numpy(), after)


def check_finite(logits: torch.Tensor) -> None:
    """Refuse a model whose logits overflow."""
    if not logits.isfinite().all():
        raise ExportError("the Torch model gives logits that are not finite: train it anew")


def batch_first(state: State) -> list[Floats]:
    """Torch's h and c [layers, batch, hidden] as the graphs' [batch, layers, hidden]."""
    return [np.ascontiguousarray(part.transpose(0, 1).numpy()) for part in state]


def state_after(state: State) -> Arrays:
    """Torch's state as a graph gives it out."""
    return dict(zip((H_NEXT, C_NEXT), batch_first(state), strict=True))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch without helpers: they gain nothing on steps this small, and beside another busy
    process each step waits for one that spins: a minute instead of seconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
