"""What draws characters for a batch of streams and reads their prompts; here, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from charlm.data.errors import SettingsError
from charlm.export import contract
from charlm.infer.artifact import Model
from charlm.infer.sampler import Sampler
from charlm.infer.sampling import Sampling
from charlm.infer.session import Stepper
from charlm.infer.window_stepper import WindowStepper

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Tokens = npt.NDArray[Any]  # of any integer type
AnyStepper: TypeAlias = Stepper | WindowStepper


@dataclass(frozen=True)
class Primed:
    """Streams that have read their prompts.

    Attributes:
        h, c: float32 [streams, layers, hidden], the state after the last character read; where a
            window is read, [streams, window, layers, hidden], see `WindowStepper`.
        logits: float32 [streams, vocabulary], of the character to come.
    """

    h: Array
    c: Array
    logits: Array

    def take(self, rows: Sequence[int] | slice | Rows) -> "Primed":
        """Some of the streams, in the order that is asked for."""
        return Primed(self.h[rows], self.c[rows], self.logits[rows])

    @staticmethod
    def joined(parts: Sequence["Primed"]) -> "Primed":
        """The streams of several, one after another."""
        h, c, logits = zip(*((part.h, part.c, part.logits) for part in parts), strict=True)
        return Primed(np.concatenate(h), np.concatenate(c), np.concatenate(logits))


class Engine(Protocol):
    """Draws blocks of characters for a batch of streams whose state it holds.

    Attributes:
        block: steps that it draws at once whatever is asked for, so that multiples cost least;
            None: any number is as good.
    """

    block: int | None

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """Hold these streams, at least one, and no others."""

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """Put other streams into some rows of the batch, which are distinct."""

    def keep(self, rows: Rows) -> None:
        """Hold only these rows, at least one, in this order; one named twice is there twice."""

    def draw(self, uniform: Array) -> Tokens:
        """The next characters of each stream, [batch, steps]; the state moves on.

        Args:
            uniform: float32 [batch, steps], the numbers that choose them.
        """


class Reader(Protocol):
    """Reads prompts from a zero state."""

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """Read at least one prompt, each of at least one token; the longer the list, the better."""


def with_rows(sampling: Sampling, rows: Rows, others: Sampling) -> Sampling:
    """The settings of a batch in which other streams have taken some rows; a copy."""
    changed = sampling.rows(np.arange(len(sampling.greedy)))
    changed.inverse_temperature[rows] = others.inverse_temperature
    changed.greedy[rows] = others.greedy
    changed.top_k[rows] = others.top_k
    changed.top_p[rows] = others.top_p
    changed.min_p[rows] = others.min_p
    return changed


class StepEngine:
    """An `Engine` that runs the step graph and samples in NumPy.

    Args:
        model: an open step graph.
        window: characters that each is drawn from, see `WindowStepper`; None: all before it.
        precision: with a window, of its steps.
    """

    block: int | None = None

    def __init__(self, model: Model, window: int | None = None, precision: str = "float32") -> None:
        self.model, self._window, self._precision = model, window, precision

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._stepper = _stepper(self.model, len(primed.logits), self._window, self._precision)
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

    def draw(self, uniform: Array) -> Tokens:
        """See `Engine`."""
        token, step, draw = self._stepper.token, self._stepper.step, self._sampler.draw
        drawn = np.empty(uniform.shape[::-1], dtype=np.int64)
        for row, numbers in zip(drawn, np.ascontiguousarray(uniform.T), strict=True):
            token[:] = row[:] = draw(numbers)
            step()
        return drawn.T

    def _sample(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._sampler = Sampler(self._stepper.logits, sampling)


class StepReader:
    """A `Reader` that runs the step graph over many prompts at once.

    The longest stand first, so that those still being read are always the first rows; the batch
    shrinks as half of them have ended.

    Args:
        model: an open step graph.
        window, precision: as of `StepEngine`; of a prompt only the last `window` are read.
    """

    def __init__(self, model: Model, window: int | None = None, precision: str = "float32") -> None:
        self.model, self._window, self._precision = model, window, precision

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        if self._window is not None:
            prompts = [prompt[-self._window :] for prompt in prompts]
        sizes = np.array([len(prompt) for prompt in prompts])
        order = np.argsort(-sizes, kind="stable")
        lengths = sizes[order]
        tokens = np.concatenate([prompts[row] for row in order])
        begins = np.cumsum(lengths) - lengths
        stepper, done = self._stepper(len(prompts)), 0
        parts = []
        for length in np.unique(lengths).tolist():
            reading = int(np.count_nonzero(lengths >= length))
            if 2 * reading <= len(stepper.token):
                stepper = self._first(stepper, reading)
            for place in range(done, length):
                stepper.token[:reading] = tokens[begins[:reading] + place]
                stepper.step()
            longer, done = int(np.count_nonzero(lengths > length)), length
            ended = slice(longer, reading)
            parts.append(Primed(*stepper.state(), stepper.logits.copy()).take(ended))
        return Primed.joined(parts[::-1]).take(np.argsort(order))

    def _stepper(self, count: int) -> AnyStepper:
        return _stepper(self.model, count, self._window, self._precision)

    def _first(self, stepper: AnyStepper, count: int) -> AnyStepper:
        """A stepper that holds the first rows of another."""
        smaller = self._stepper(count)
        h, c = stepper.state()
        smaller.set_state(h[:count], c[:count])
        return smaller


def _stepper(model: Model, batch: int, window: int | None, precision: str) -> AnyStepper:
    """A stepper of so many streams, or one clear line where a device can't hold them."""
    doing = f"{batch} streams side by side can't be held (give a smaller --width)"
    with contract.runtime_errors_as(SettingsError, doing):
        if window is not None:
            return WindowStepper(model, batch, window, precision)
        return Stepper(model, batch)
