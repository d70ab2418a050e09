"""What draws characters for a batch of streams, and what reads their prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.infer.sampling.philox import UniformStream
from charlm.infer.sampling.sampling import Sampling

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Tokens = npt.NDArray[Any]  # of any integer type


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
    """Draws blocks of characters for a batch of streams whose state it holds."""

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """Hold these streams, at least one, and no others."""

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """Put other streams into some rows of the batch, which are distinct."""

    def keep(self, rows: Rows) -> None:
        """Hold only these rows, at least one, in this order; one named twice is there twice."""

    def draw(self, numbers: Sequence[UniformStream], steps: int) -> Tokens:
        """The next characters of each stream, [batch, steps]; state and numbers move on.

        Args:
            numbers: for each stream, those that choose its characters.
            steps: how many characters, at least 1.
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


class HostEngine:
    """What engines share whose streams' state is held in arrays."""

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._h = np.ascontiguousarray(primed.h, dtype=np.float32)
        self._c = np.ascontiguousarray(primed.c, dtype=np.float32)
        self._sampling = sampling

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        h, c = self._h.copy(), self._c.copy()
        h[rows], c[rows] = primed.h, primed.c
        self.start(Primed(h, c, primed.logits), with_rows(self._sampling, rows, sampling))

    def keep(self, rows: Rows) -> None:
        """See `Engine`."""
        held = Primed(self._h[rows], self._c[rows], self._h[:0])
        self.start(held, self._sampling.rows(rows))
