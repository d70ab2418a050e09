"""The proof of a graph that reads texts: each character's log-probability is Torch's.

The streams are texts that the model draws itself, half of them after a few even draws of all its
characters. They are read in one call, and cut into several, at several batch sizes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ExportError
from charlm.export import contract
from charlm.export import contract_siblings as siblings
from charlm.export.proof import verify
from charlm.export.proof.proving import NOT_FINITE, Arrays, Errors, batch_first
from charlm.export.proof.verify_generate import blocks
from charlm.train.model import CharLSTM

TENSORS = (siblings.LOG_PROBABILITY, contract.LOGITS, contract.H_NEXT, contract.C_NEXT)
EVEN = 10  # characters: rare ones are read too, and no text is far from what the model knows
SINGLE = 20  # calls of one character
CALL = 1 << 26  # numbers in the widest tensor of a call: 256 MiB


@dataclass(frozen=True)
class Reference:
    """What Torch makes of the texts, a row a stream.

    Attributes:
        tokens: int64 [streams, steps + 1].
        log_probability: float32 [streams, steps], of each token but the first.
        after: by the number of tokens read, logits (zeros before the first), h and c, batch first.
    """

    tokens: npt.NDArray[np.int64]
    log_probability: npt.NDArray[np.float32]
    after: dict[int, Arrays]


def cuts(steps: int, streams: int, vocabulary: int) -> list[list[int]]:
    """The lengths of calls that the texts are read in: one call, if it fits, and several."""
    most = max(1, CALL // (streams * vocabulary))
    return [
        _cut(steps, most),
        [part for block in blocks(steps) for part in _cut(block, most)],
    ]


@torch.no_grad()
def read_by_torch(model: CharLSTM) -> Reference:
    """Draw the texts, and read them as they grow.

    Raises:
        ExportError: the model's logits are not finite.
    """
    streams, steps, size = max(verify.BATCHES), verify.STEPS, model.config.vocabulary
    generator = torch.Generator().manual_seed(verify.SEED)
    token = torch.randint(size, (streams,), generator=generator)
    state, tokens, scores = model.zero_state(streams), [token], []
    after = {0: [np.zeros((streams, size), np.float32), *(batch_first(part) for part in state)]}
    ends = {end for calls in _every_cut(steps, size) for end in accumulate(calls)}
    ends.update(range(SINGLE + 1))
    for done in range(1, steps + 1):
        logits, state = model.step(token, state)
        if not logits.isfinite().all():
            raise ExportError(NOT_FINITE)
        token = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
        if done <= EVEN:
            token[1::2] = torch.randint(size, (streams // 2,), generator=generator)
        scores.append(logits.log_softmax(dim=1).gather(1, token[:, None])[:, 0])
        tokens.append(token)
        if done in ends:
            after[done] = [logits.numpy(), *(batch_first(part) for part in state)]
    return Reference(torch.stack(tokens, 1).numpy(), torch.stack(scores, 1).numpy(), after)


def compare(session: Any, reference: Reference, batch: int) -> Errors:
    """The errors of a graph that reads the first `batch` texts from its own state."""
    errors = Errors.of(batch, TENSORS)
    steps, size = verify.STEPS, reference.after[0][0].shape[1]
    for calls in cuts(steps, batch, size):
        state = [array[:batch] for array in reference.after[0][1:]]
        for start, end in _spans(calls):
            state = _read(session, reference, state, (start, end), errors)
    return errors


def compare_steps(session: Any, reference: Reference, batch: int) -> Errors:
    """The errors of a graph that reads one character a call, each from Torch's own state."""
    errors = Errors.of(batch, TENSORS)
    for start in reference.after:
        if start + 1 in reference.after:
            state = [array[:batch] for array in reference.after[start][1:]]
            _read(session, reference, state, (start, start + 1), errors)
    return errors


def _read(
    session: Any, reference: Reference, state: Arrays, span: tuple[int, int], errors: Errors
) -> Arrays:
    """One call, its errors added; h and c after it."""
    (start, end), batch = span, errors.batch
    feed = {
        siblings.TOKENS: reference.tokens[:batch, start:end],
        siblings.TARGETS: reference.tokens[:batch, start + 1 : end + 1],
        contract.H: state[0],
        contract.C: state[1],
    }
    found: Arrays = session.run(list(TENSORS), feed)
    wanted = [reference.log_probability[:batch, start:end]]
    wanted += [array[:batch] for array in reference.after[end]]
    errors.add(found, wanted)
    return found[2:]


def _every_cut(steps: int, vocabulary: int) -> Iterable[list[int]]:
    for batch in verify.BATCHES:
        yield from cuts(steps, batch, vocabulary)


def _cut(length: int, most: int) -> list[int]:
    return [min(most, length - start) for start in range(0, length, most)]


def _spans(lengths: list[int]) -> list[tuple[int, int]]:
    ends = list(accumulate(lengths))
    return list(zip([0, *ends[:-1]], ends, strict=True))
