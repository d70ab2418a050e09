"""The paths whose texts are held against the reference's: a row each, behind one small protocol.

A path draws a block of characters for a batch of streams from a given state, with given random
numbers. As long as a stream draws what the reference drew, it has been fed the reference's own
text; after its first other character the rest of its block says nothing (see `flips`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from charlm.infer import sampler
from charlm.infer.artifact import Model
from charlm.infer.session import Stepper

Tokens = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]


class State(NamedTuple):
    """The streams between two characters.

    Attributes:
        token: int64 [batch], the character that each reads next.
        h, c: float32 [batch, layers, hidden], before it is read.
    """

    token: Tokens
    h: Array
    c: Array

    def of(self, streams: Any) -> "State":
        """The state of some streams, by index or mask."""
        return State(self.token[streams], self.h[streams], self.c[streams])


class Path(Protocol):
    """A way to draw characters."""

    def follow(self, state: State, uniforms: Array, temperature: float) -> tuple[Tokens, State]:
        """Draw as many characters as there are random numbers.

        Args:
            state: of the streams, before the first.
            uniforms: float32 [positions, batch], in (0, 1).
            temperature: T.

        Returns:
            Tokens int64 [positions, batch], and the state after the last.
        """


@dataclass(frozen=True)
class Row:
    """A path to compare.

    Attributes:
        open: makes it of the open step graph, for so many streams.
        batch: streams in one call; a divisor of `flips.STREAMS`.
    """

    name: str
    title: str
    open: Callable[[Model, int], Path]
    batch: int


class StepLoop:
    """`Stepper` and `Sampler`, as `Generator` joins them.

    Attributes:
        logits: float32 [positions, batch, vocabulary] of the last block, if they are kept.
    """

    def __init__(self, model: Model, batch: int, keep_logits: bool = False) -> None:
        self.stepper = Stepper(model, batch)
        self.keep_logits = keep_logits
        self.logits: Array = np.empty((0, batch, self.stepper.logits.shape[1]), dtype=np.float32)

    def follow(self, state: State, uniforms: Array, temperature: float) -> tuple[Tokens, State]:
        """See `Path`."""
        stepper = self.stepper
        stepper.set_state(state.h, state.c)
        stepper.token[:] = state.token
        draw = self._drawer(temperature)
        drawn = np.empty(uniforms.shape, dtype=np.int64)
        if self.keep_logits:
            self.logits = np.empty((*uniforms.shape, stepper.logits.shape[1]), dtype=np.float32)
        for position, row in enumerate(uniforms):
            stepper.step()
            if self.keep_logits:
                self.logits[position] = stepper.logits
            drawn[position] = draw(row)
            stepper.token[:] = drawn[position]
        return drawn, State(stepper.token.copy(), *stepper.state())

    def _drawer(self, temperature: float) -> Callable[[Array], Any]:
        """One stream is drawn as `Generator.stream` draws it, several as `Generator.samples`."""
        given = sampler.Sampler(self.stepper.logits, temperature)
        return (lambda row: given.draw_one(row[0])) if len(self.stepper.token) == 1 else given.draw


PATHS = (Row("step_64", "step loop, 64 texts side by side", StepLoop, 64),)
