"""An engine that draws step by step, the character chosen in NumPy."""

from collections.abc import Sequence

import numpy as np

from charlm.infer.engines.engine import Primed, Rows, Tokens, with_rows
from charlm.infer.engines.window_stepper import stepper_of
from charlm.infer.model.artifact import Model
from charlm.infer.sampling.philox import UniformStream, take_block
from charlm.infer.sampling.sampler import Sampler
from charlm.infer.sampling.sampling import Sampling


class StepEngine:
    """An `Engine` that runs the step graph and samples in NumPy.

    Args:
        model: an open step graph.
        window: characters that each is drawn from, see `WindowStepper`; None: all before it.
    """

    def __init__(self, model: Model, window: int | None = None) -> None:
        self.model, self._window = model, window

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        count = len(primed.logits)
        self._stepper = stepper_of(self.model, count, self._window)
        self._stepper.set_state(primed.h, primed.c)
        self._stepper.logits[:] = primed.logits
        self._sample(sampling)

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        h, c = self._stepper.state()
        h[rows], c[rows] = primed.h, primed.c
        self._stepper.set_state(h, c)
        self._stepper.logits[rows] = primed.logits
        self._sample(with_rows(self._sampling, rows, sampling))

    def keep(self, rows: Rows) -> None:
        """See `Engine`."""
        held = Primed(*self._stepper.state(), self._stepper.logits)
        self.start(held.take(rows), self._sampling.rows(rows))

    def draw(self, numbers: Sequence[UniformStream], steps: int) -> Tokens:
        """See `Engine`."""
        token, step, draw = self._stepper.token, self._stepper.step, self._sampler.draw
        uniform = np.ascontiguousarray(take_block(numbers, steps).T)
        drawn = np.empty(uniform.shape, dtype=np.int64)
        for row, chosen in zip(drawn, uniform, strict=True):
            token[:] = row[:] = draw(chosen)
            step()
        return drawn.T

    def _sample(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._sampler = Sampler(self._stepper.logits, sampling)
