"""The proof of a graph that draws: its tokens are those that Torch's logits give.

Torch reads what the graph drew, its own state carried, and at every position the character must
be the one due by sampling version 1, or excused by a near-tie (see `reference_sampling`). The
blocks are of many lengths, and each has other temperatures and filters for its streams.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ExportError
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract
from charlm.export import contract_siblings as siblings
from charlm.export.contract_siblings import GREEDY_UNIFORM
from charlm.export.graphs.native import Native, uniform_numbers
from charlm.export.proof import verify
from charlm.export.proof.proving import NOT_FINITE, Arrays, Errors, batch_first
from charlm.export.proof.reference_sampling import Settings, due, excused, numbers
from charlm.train.model import CharLSTM

ByPosition = Callable[[Arrays, slice], tuple[npt.NDArray[np.int64], Arrays]]
Drawn = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], Arrays]

STATE = (contract.H_NEXT, contract.C_NEXT)
LENGTHS = (1, 7, 64, 128)  # of blocks, again and again
SINGLE = 50  # runs of one step
PIECE = 1 << 22  # numbers that Torch gives at once: a large vocabulary is read a few steps a time


def blocks(steps: int) -> list[int]:
    """Lengths of blocks that give `steps` in all."""
    lengths: list[int] = []
    while sum(lengths) < steps:
        lengths.append(min(LENGTHS[len(lengths) % len(LENGTHS)], steps - sum(lengths)))
    return lengths


class GraphDrawer:
    """A graph of kind `generate`, with numbers from a fixed seed.

    Attributes:
        filters: whether it has top-k, top-p and min-p.
    """

    filters = False

    def __init__(self, session: Any) -> None:
        self._session = session
        self._random = np.random.RandomState(verify.SEED)

    def draw(self, state: Arrays, settings: Settings, steps: int) -> Drawn:
        """The numbers that chose, float32 [batch, steps]; what they chose; h and c after it."""
        uniform = numbers(self._random, settings, steps)
        return uniform, *run(self._session, state, uniform, settings)

    def by_position(self, settings: Settings, batch: int, steps: int) -> ByPosition:
        """What draws the same characters at the same positions, however they are cut."""
        del batch
        uniform = numbers(self._random, settings, steps)
        return lambda state, piece: run(self._session, state, uniform[:, piece], settings)


class NativeDrawer:
    """The native graph, whose numbers go by their positions."""

    filters = True

    def __init__(self, native: Native) -> None:
        self._native, self._position = native, 0

    def draw(self, state: Arrays, settings: Settings, steps: int) -> Drawn:
        """See `GraphDrawer`."""
        place = verify.SEED, self._position
        uniform = uniform_numbers(len(state[0]), steps, *place)
        uniform[settings.greedy] = GREEDY_UNIFORM
        self._position += steps
        return uniform, *self._native.draw(state, settings, steps, *place)

    def by_position(self, settings: Settings, batch: int, steps: int) -> ByPosition:
        """See `GraphDrawer`."""
        del batch, steps

        def draw(state: Arrays, piece: slice) -> tuple[npt.NDArray[np.int64], Arrays]:
            start = piece.start or 0
            return self._native.draw(state, settings, piece.stop - start, verify.SEED, start)

        return draw


Drawer: TypeAlias = GraphDrawer | NativeDrawer


@torch.no_grad()
def compare(
    drawer: Drawer, model: CharLSTM, batch: int, vocabulary: Vocabulary, where: str
) -> tuple[Errors, int]:
    """Let a graph draw, block after block, and Torch read it.

    Returns:
        The errors of h and c after each block, and how many tokens near-ties excuse.

    Raises:
        ExportError: a token is another than the one due.
    """
    reader, errors, flips = _Reader(model, batch), Errors.of(batch, STATE), 0
    state, position = reader.arrays(), 0
    for turn, steps in enumerate(blocks(verify.STEPS)):
        settings = Settings.mixed(batch, turn, steps, len(vocabulary), drawer.filters)
        uniform, tokens, state = drawer.draw(state, settings, steps)
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
    return errors, flips


@torch.no_grad()
def compare_steps(drawer: Drawer, model: CharLSTM, batch: int) -> Errors:
    """The errors of h and c after runs of one step, each from Torch's own state."""
    errors, state = Errors.of(batch, STATE), model.zero_state(batch)
    for turn in range(SINGLE):
        settings = Settings.mixed(batch, turn, SINGLE, model.config.vocabulary, drawer.filters)
        before = [batch_first(part) for part in state]
        _, tokens, after = drawer.draw(before, settings, 1)
        _, state = model.step(torch.from_numpy(tokens[:, 0]), state)
        errors.add(after, [batch_first(part) for part in state])
    return errors


@torch.no_grad()
def check_one_run(drawer: Drawer, model: CharLSTM, where: str) -> None:
    """Blocks joined, each from the state that the one before left, must equal one long run.

    Raises:
        ExportError: they differ.
    """
    batch, steps = 3, 200
    settings = Settings.mixed(batch, 0, steps, model.config.vocabulary, drawer.filters)
    draw = drawer.by_position(settings, batch, steps)
    start = [batch_first(part) for part in model.zero_state(batch)]
    long, end = draw(start, slice(steps))
    state, drawn, done = start, [], 0
    for length in blocks(steps):
        tokens, state = draw(state, slice(done, done + length))
        drawn.append(tokens)
        done += length
    same = np.array_equal(np.concatenate(drawn, axis=1), long)
    if not same or any(not np.array_equal(a, b) for a, b in zip(state, end, strict=True)):
        raise ExportError(f"{where} draws otherwise in blocks than in one run")


def run(
    session: Any, state: Arrays, uniform: npt.NDArray[np.float32], settings: Settings
) -> tuple[npt.NDArray[np.int64], Arrays]:
    """One run of a graph: tokens, int64 [batch, steps], and h and c after them."""
    feed: dict[str, npt.NDArray[Any]] = {
        contract.H: state[0],
        contract.C: state[1],
        siblings.UNIFORM: uniform,
        siblings.INVERSE_TEMPERATURE: settings.inverse_temperature,
    }
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
