"""An engine for GPUs: blocks of fixed length and of few sizes, each captured once."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import SettingsError
from charlm.export.contract_siblings import (
    FILTERED,
    INVERSE_TEMPERATURE,
    MIN_P,
    TOP_K,
    TOP_P,
    UNROLLED,
    UNROLLED_FP16,
    UNROLLED_STEPS,
    Kind,
)
from charlm.infer.artifact import Model
from charlm.infer.cuda_block import Array, CudaBlock, Tokens
from charlm.infer.engine import Primed, Rows, with_rows
from charlm.infer.philox import UniformStream, take_block
from charlm.infer.sampling import GREEDY_UNIFORM, Sampling
from charlm.infer.sequence import open_sequence

# Few graphs are captured, and rows to spare do harmless work: below a thousand a GPU is not full,
# and from there on no more than half of it is lost.
SIZES = (1, 8, 64, 512, *(1 << power for power in range(10, 17)))


def rows_for(streams: int) -> int:
    """The size of the block that holds so many streams."""
    return next((size for size in SIZES if size >= streams), streams)


class CudaBlocks:
    """The blocks of one model and precision: an engine takes one, and gives it back.

    What was captured serves the engines that come later.

    Args:
        model: an open model, with the graphs of the precision beside it.
        precision: `float32` or `fp16`.
        device: where the blocks' buffers are.
    """

    def __init__(self, model: Model, precision: str = "float32", device: str = "cuda") -> None:
        self.model, self.precision = model, precision
        self._plain = UNROLLED_FP16 if precision == "fp16" else UNROLLED
        self._device = device
        self._idle: defaultdict[tuple[str, int], list[CudaBlock]] = defaultdict(list)

    def take(self, streams: int, filtered: bool) -> CudaBlock:
        """A block for so many streams that nobody else uses.

        Raises:
            SettingsError: filters in a precision that has none, or more than the device holds.
            ModelFileError: a graph is missing or damaged.
        """
        kind, rows = self._kind(filtered), rows_for(streams)
        # No lock: an engine gives its block back whenever it is collected, also in here.
        with suppress(IndexError):
            return self._idle[kind.name, rows].pop()
        with suppress(SettingsError):
            return self._made(kind, rows)
        self._idle.clear()  # blocks of other sizes may hold the memory that this one lacks
        return self._made(kind, rows)

    def give(self, block: CudaBlock) -> None:
        """Take a block back, for others to use."""
        self._idle[block.kind.name, block.rows].append(block)

    def read(self, tokens: Tokens, h: Array, c: Array) -> tuple[Array, Array]:
        """The state after reading tokens, [batch, time], from a state."""
        # Nothing is asked of what follows: any character will do.
        ids = np.concatenate((tokens, tokens[:, -1:]), axis=1).astype(np.int64)
        found = open_sequence(self.model, self.precision).run(ids, h, c)
        return found.h, found.c

    def _made(self, kind: Kind, rows: int) -> CudaBlock:
        return CudaBlock(
            self.model.siblings.session(kind),
            kind,
            self.model.metadata,
            rows=rows,
            steps=UNROLLED_STEPS,
            device=self._device,
            captured=kind.steps is not None,
        )

    def _kind(self, filtered: bool) -> Kind:
        if not filtered:
            return self._plain
        if self.precision != "float32":
            raise SettingsError(
                f"--precision {self.precision} has no top-k, top-p or min-p: "
                "leave them out, or draw in float32"
            )
        return FILTERED


def cuda_blocks(model: Model, precision: str) -> CudaBlocks:
    """The blocks of an open model, the same again the next time."""
    kept: CudaBlocks = model.siblings.kept.setdefault(
        f"CUDA blocks in {precision}", CudaBlocks(model, precision)
    )
    return kept


class CudaEngine:
    """An `Engine` whose streams' states stay on a GPU, `block` characters a run.

    Whoever asks for multiples of `block` gets the most: of a block that was asked for in part the
    rest is lost, and to go on from there its characters are read again.

    Args:
        blocks: of the model.

    Attributes:
        block: steps of one run.
    """

    block: int | None = UNROLLED_STEPS

    def __init__(self, blocks: CudaBlocks) -> None:
        self._blocks = blocks
        self._held: CudaBlock | None = None
        self._behind: tuple[Array, Array, Tokens] | None = None  # the state before, and what came

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._behind = None
        self._hold(primed.h, primed.c, sampling)

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        h, c = self._state()
        h[rows], c[rows] = primed.h, primed.c
        self._hold(h, c, with_rows(self._sampling, rows, sampling))

    def keep(self, rows: Rows) -> None:
        """See `Engine`."""
        h, c = self._state()
        self._hold(h[rows], c[rows], self._sampling.rows(rows))

    def draw(self, numbers: Sequence[UniformStream], steps: int) -> Tokens:
        """See `Engine`."""
        uniform = take_block(numbers, steps)
        if self._behind is not None:
            self._hold(*self._state(), self._sampling)
        assert self._held is not None, "nothing was started"
        greedy = self._sampling.greedy
        if greedy.any():
            uniform = np.where(greedy[:, None], np.float32(GREEDY_UNIFORM), uniform)
        pieces = [np.empty((len(uniform), 0), dtype=self._held.token_type)]
        for begin in range(0, uniform.shape[1], UNROLLED_STEPS):
            piece = uniform[:, begin : begin + UNROLLED_STEPS]
            before = self._held.state() if piece.shape[1] < UNROLLED_STEPS else None
            pieces.append(self._held.draw(piece))
            if before is not None:
                self._behind = *before, pieces[-1]
        return np.concatenate(pieces, axis=1)

    def __del__(self) -> None:
        if getattr(self, "_held", None) is not None:
            self._blocks.give(self._held)  # type: ignore[arg-type]

    def _state(self) -> tuple[Array, Array]:
        """Of the streams, on the host: where they are, though the device may be further on."""
        streams = len(self._sampling.greedy)
        if self._behind is not None:
            h, c, tokens = self._behind
            self._behind = None
            return self._blocks.read(tokens, h[:streams], c[:streams])
        assert self._held is not None, "nothing was started"
        h, c = self._held.state()
        return h[:streams], c[:streams]

    def _hold(self, h: Array, c: Array, sampling: Sampling) -> None:
        """Put streams onto the device, in a block that fits them."""
        filtered = bool(sampling.filtered().any())
        held = self._held
        if held is None or held.rows != rows_for(len(h)) or held.kind.filters != filtered:
            if held is not None:
                self._held = None
                self._blocks.give(held)
            held = self._held = self._blocks.take(len(h), filtered)
        self._sampling = sampling
        held.set_state(h, c)
        held.set_settings(_inputs(sampling))


def _inputs(sampling: Sampling) -> dict[str, npt.NDArray[Any]]:
    return {
        INVERSE_TEMPERATURE: sampling.inverse_temperature,
        TOP_K: sampling.top_k,
        TOP_P: sampling.top_p,
        MIN_P: sampling.min_p,
    }
