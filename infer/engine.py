"""What draws characters for a batch of streams and reads their prompts; here, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.data.errors import SettingsError
from charlm.export import contract
from charlm.infer.artifact import Model
from charlm.infer.sampler import Sampler
from charlm.infer.sampling import Sampling
from charlm.infer.session import Stepper

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Tokens = npt.NDArray[Any]  # of any integer type


@dataclass(frozen=True)
class Primed:
    """Streams that have read their prompts.

    Attributes:
        h, c: float32 [streams, layers, hidden], the state after the last character read.
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
    """

    block: int | None = None

    def __init__(self, model: Model) -> None:
        self.model = model

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._stepper = _stepper(self.model, len(primed.logits))
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
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        sizes = np.array([len(prompt) for prompt in prompts])
        order = np.argsort(-sizes, kind="stable")
        lengths = sizes[order]
        tokens = np.concatenate([prompts[row] for row in order])
        begins = np.cumsum(lengths) - lengths
        stepper, done = _stepper(self.model, len(prompts)), 0
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

    def _first(self, stepper: Stepper, count: int) -> Stepper:
        """A stepper that holds the first rows of another."""
        smaller = _stepper(self.model, count)
        h, c = stepper.state()
        smaller.set_state(h[:count], c[:count])
        return smaller


def _stepper(model: Model, batch: int) -> Stepper:
    """A stepper of so many streams, or one clear line where a device can't hold them."""
    doing = f"{batch} streams side by side can't be held (give a smaller --width)"
    with contract.runtime_errors_as(SettingsError, doing):
        return Stepper(model, batch)
