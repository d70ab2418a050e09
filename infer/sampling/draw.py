"""Sampling, version 1: the one definition that every path of charlm follows.

A character is drawn by inverting the cumulative distribution at a number that depends only on
the seed, the stream and the position, so that a text can be had again however it is computed.
The numbers are `philox`'s, temperatures and filters those of `filters`.
"""

import numpy as np
import numpy.typing as npt

from charlm.export.contract import GREEDY_UNIFORM
from charlm.infer.sampling.filters import (
    FILTERS,
    NO_FILTERS,
    Array,
    Filters,
    Sampling,
    remove_from_each,
    remove_from_one,
)
from charlm.infer.sampling.philox import UniformStream, first_uniform

Tokens = npt.NDArray[np.int64]


class Sampler:
    """Draws one character for each stream of a batch from logits that change in place.

    With e = exp((logits - max) / T), 0 for what a filter removed, and C its cumulative sum in
    vocabulary order, the character is the smallest k with C_k >= u * C_last. At T = 0 it is the
    likeliest, the lowest id of equals, whatever the filters. All of it is float32.

    Args:
        logits: float32 [batch, vocabulary]; read at each draw, never written.
        sampling: the streams' temperatures and filters, or one temperature T for all; read here
            and not again.
        filters: of all streams, beside one temperature; part of `sampling` otherwise.
    """

    def __init__(
        self, logits: Array, sampling: Sampling | float, filters: Filters = NO_FILTERS
    ) -> None:
        if not isinstance(sampling, Sampling):
            batch, vocabulary = logits.shape
            sampling = Sampling.same(batch, vocabulary, sampling, filters)
        self.logits = logits
        self.weights = np.empty_like(logits)
        self.sums = np.empty_like(logits)
        inverse = np.ascontiguousarray(sampling.inverse_temperature)
        self._inverse = inverse[0] if (inverse == inverse[0]).all() else inverse[:, None]
        self._greedy = _rows_of(sampling.greedy)
        self._filtered = _rows_of(sampling.filtered)
        part = sampling if self._filtered is None else sampling.take(self._filtered)
        self._limits = tuple(np.ascontiguousarray(part.settings[name]) for name in FILTERS)
        # Of the first stream, for drawing one character without an axis to loop over.
        self._row, self._row_weights, self._row_sums = logits[0], self.weights[0], self.sums[0]
        self._row_inverse = inverse[0]
        self._row_greedy, self._row_filtered = bool(sampling.greedy[0]), bool(sampling.filtered[0])
        top_k, top_p, min_p = (sampling.settings[0][name] for name in FILTERS)
        self._row_limits = int(top_k), top_p, min_p

    def draw_one(self, uniform: np.float32) -> int:
        """The next token of the first stream, as `draw` would give it."""
        row, weights, sums = self._row, self._row_weights, self._row_sums
        if self._row_greedy:
            return int(row.argmax())
        np.subtract(row, np.maximum.reduce(row), weights)
        np.multiply(weights, self._row_inverse, weights)
        np.exp(weights, weights)
        if self._row_filtered:
            remove_from_one(weights, *self._row_limits)
        np.add.accumulate(weights, 0, None, sums)
        return int(sums.searchsorted(uniform * sums[-1]))

    def draw(self, uniform: Array) -> Tokens:
        """The next token of each stream, int64 [batch], from `uniform`, float32 [batch]."""
        logits, weights, sums = self.logits, self.weights, self.sums
        if isinstance(self._greedy, slice):
            return np.asarray(logits.argmax(axis=1), dtype=np.int64)
        np.subtract(logits, logits.max(axis=1, keepdims=True), weights)
        np.multiply(weights, self._inverse, weights)
        np.exp(weights, weights)
        if self._filtered is not None:
            part = weights[self._filtered]
            remove_from_each(part, *self._limits)
            weights[self._filtered] = part
        np.add.accumulate(weights, 1, None, sums)
        crossed = sums >= (uniform * sums[:, -1])[:, None]
        drawn: Tokens = crossed.argmax(axis=1).astype(np.int64, copy=False)
        if self._greedy is not None:
            drawn[self._greedy] = logits[self._greedy].argmax(axis=1)
        return drawn


def _rows_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp] | slice | None:
    """How to index the rows that a mask names: all without a copy, none not at all."""
    if mask.all():
        return slice(None)
    return np.flatnonzero(mask) if mask.any() else None


def with_greedy(uniform: Array, sampling: Sampling) -> Array:
    """Numbers [batch, steps] for a path that knows no choice but drawing."""
    return np.where(sampling.greedy[:, None], np.float32(GREEDY_UNIFORM), uniform)


def draw_first(initial: Array, numbers: UniformStream, temperature: float) -> int:
    """The first character after an empty prompt, from the training text's frequencies.

    There are no logits to temper or filter: T and the filters change nothing, but that T = 0 takes
    the most frequent, the lowest id of equals.

    Args:
        initial: float32 [vocabulary], not negative.
        numbers: of the stream, at position 0; they move on.
    """
    uniform, numbers.position = first_uniform(numbers.seed, numbers.stream), 1
    if temperature == 0:
        return int(initial.argmax())
    sums = np.add.accumulate(initial)
    return int(sums.searchsorted(uniform * sums[-1]))
