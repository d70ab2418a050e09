"""The proof of a graph that draws: its tokens are those that Torch's logits give.

Torch reads what the graph drew, its own state carried, and at every position the character must
be the one due by sampling version 1, or excused by a near-tie (see `reference_sampling`). The
blocks are of many lengths, and each has other temperatures and filters for its streams.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.errors import ExportError
from charlm.data.vocabulary import Vocabulary
from charlm.export import contract, verify
from charlm.export import contract_siblings as siblings
from charlm.export.contract_siblings import Kind
from charlm.export.proving import NOT_FINITE, Arrays, Errors, batch_first
from charlm.export.reference_sampling import Settings, due, excused, numbers
from charlm.train.model import CharLSTM

STATE = (contract.H_NEXT, contract.C_NEXT)
LENGTHS = (1, 7, 64, 128)  # of blocks, again and again
SINGLE = 50  # runs of one step
PIECE = 1 << 22  # numbers that Torch gives at once: a large vocabulary is read a few steps a time


def blocks(steps: int, fixed: int | None) -> list[int]:
    """Lengths of blocks that give `steps` in all, or a little more where a kind's is fixed."""
    if fixed is not None:
        return [fixed] * -(-steps // fixed)
    lengths: list[int] = []
    while sum(lengths) < steps:
        lengths.append(min(LENGTHS[len(lengths) % len(LENGTHS)], steps - sum(lengths)))
    return lengths


@torch.no_grad()
def compare(
    session: Any, kind: Kind, model: CharLSTM, batch: int, vocabulary: Vocabulary, where: str
) -> tuple[Errors, int]:
    """Let a graph draw, block after block, and Torch read it.

    Returns:
        The errors of h and c after each block, and how many tokens near-ties excuse.

    Raises:
        ExportError: a token is another than the one due.
    """
    random = np.random.RandomState(verify.SEED)
    reader, errors, flips = _Reader(model, batch), Errors.of(batch, STATE), 0
    state, position = reader.arrays(), 0
    for turn, steps in enumerate(blocks(verify.STEPS, kind.steps)):
        settings = Settings.mixed(batch, turn, steps, len(vocabulary), kind.filters)
        uniform = numbers(random, settings, steps)
        tokens, state = run(session, kind, state, uniform, settings)
        if tokens.shape != uniform.shape or tokens.max() >= len(vocabulary):
            raise ExportError(f"{where} gives tokens that are no characters of the model")
        for piece, logits in reader.read(tokens):
            part = tokens[:, piece], uniform[:, piece]
            wanted = due(logits, part[1], settings)
            for stream, step in np.argwhere(wanted != part[0]):
                drawn, at = int(part[0][stream, step]), logits[stream, step]
                if not excused(at, float(part[1][stream, step]), drawn, settings, int(stream)):
                    place = position + piece.start + int(step) + 1
                    characters = vocabulary.characters
                    raise ExportError(
                        f"{where} does not draw as the Torch model would: character {place} of "
                        f"stream {stream + 1} of {batch} is {characters[drawn]!r}, and "
                        f"{characters[wanted[stream, step]]!r} was due"
                    )
                flips += 1
        errors.add(state, reader.arrays())
        position += steps
        if kind.steps is not None:
            # Each run proves the whole graph; one text that all of them carry on may come to where
            # the model is chaotic, and a right graph parts from Torch there after a thousand steps.
            state = reader.arrays()
    return errors, flips


@torch.no_grad()
def compare_steps(session: Any, kind: Kind, model: CharLSTM, batch: int) -> Errors:
    """The errors of h and c after runs of one step, each from Torch's own state."""
    random, errors = np.random.RandomState(verify.SEED), Errors.of(batch, STATE)
    state = model.zero_state(batch)
    for turn in range(SINGLE):
        settings = Settings.mixed(batch, turn, SINGLE, model.config.vocabulary, kind.filters)
        uniform = numbers(random, settings, 1)
        before = [batch_first(part) for part in state]
        tokens, after = run(session, kind, before, uniform, settings)
        _, state = model.step(torch.from_numpy(tokens[:, 0]), state)
        errors.add(after, [batch_first(part) for part in state])
    return errors


@torch.no_grad()
def check_one_run(session: Any, kind: Kind, model: CharLSTM, where: str) -> None:
    """Blocks joined, each from the state that the one before left, must equal one long run.

    Raises:
        ExportError: they differ.
    """
    batch, steps = 3, 200
    settings = Settings.mixed(batch, 0, steps, model.config.vocabulary, kind.filters)
    uniform = numbers(np.random.RandomState(verify.SEED), settings, steps)
    start = [batch_first(part) for part in model.zero_state(batch)]
    long, end = run(session, kind, start, uniform, settings)
    state, drawn, done = start, [], 0
    for length in blocks(steps, None):
        piece = uniform[:, done : done + length]
        tokens, state = run(session, kind, state, piece, settings)
        drawn.append(tokens)
        done += length
    same = np.array_equal(np.concatenate(drawn, axis=1), long)
    if not same or any(not np.array_equal(a, b) for a, b in zip(state, end, strict=True)):
        raise ExportError(f"{where} draws otherwise in blocks than in one run")


def run(
    session: Any, kind: Kind, state: Arrays, uniform: npt.NDArray[np.float32], settings: Settings
) -> tuple[npt.NDArray[np.int64], Arrays]:
    """One run of a graph: tokens, int64 [batch, steps], and h and c after them."""
    feed: dict[str, npt.NDArray[Any]] = {
        contract.H: state[0],
        contract.C: state[1],
        siblings.UNIFORM: uniform,
        siblings.INVERSE_TEMPERATURE: settings.inverse_temperature,
    }
    if kind.filters:
        feed[siblings.TOP_K] = settings.top_k
        feed[siblings.TOP_P], feed[siblings.MIN_P] = settings.top_p, settings.min_p
    tokens, *after = session.run([siblings.TOKENS, *STATE], feed)
    return tokens.astype(np.int64), after


class _Reader:
    """Torch reading texts side by side, its state carried from block to block."""

    def __init__(self, model: CharLSTM, batch: int) -> None:
        self.model, self.batch = model, batch
        self.state = model.zero_state(batch)

    def read(
        self, tokens: npt.NDArray[np.int64]
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """The logits before each token of a block, [batch, steps, vocabulary], piece by piece."""
        most = max(1, PIECE // (self.batch * self.model.config.vocabulary))
        for start in range(0, tokens.shape[1], most):
            piece = slice(start, min(start + most, tokens.shape[1]))
            before = self.state[0][-1:]
            ids = torch.from_numpy(np.ascontiguousarray(tokens[:, piece].T))
            hidden, self.state = self.model(ids, self.state)
            logits = self.model.head(torch.cat((before, hidden[:-1])))
            if not logits.isfinite().all():
                raise ExportError(NOT_FINITE)
            yield piece, batch_first(logits)

    def arrays(self) -> Arrays:
        """h and c, batch first."""
        return [batch_first(part) for part in self.state]
