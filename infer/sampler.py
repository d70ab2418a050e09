"""Sampling, version 1: the one definition that every path of charlm follows.

A character is drawn by inverting the cumulative distribution at a number that depends only on
the seed, the stream and the position, so that a text can be had again however it is computed.
"""

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charlm.data.errors import SettingsError
from charlm.infer.philox import UniformStream

Array = npt.NDArray[np.float32]


def draw_seed() -> int:
    """A new seed, to be shown, for a text whose user named none."""
    return int.from_bytes(os.urandom(4), "little")


def check_seed(seed: int) -> None:
    """A seed is an unsigned 64-bit number.

    Raises:
        SettingsError: it is not.
    """
    if not 0 <= seed < 1 << 64:
        raise SettingsError(f"--seed is a number from 0 to 2^64 - 1, not {seed}")


def check_stream(stream: int) -> None:
    """A stream is an unsigned 64-bit number.

    Raises:
        SettingsError: it is not.
    """
    if not 0 <= stream < 1 << 64:
        raise SettingsError(f"a stream is a number from 0 to 2^64 - 1, not {stream}")


def inverse_temperature(temperature: float) -> np.float32:
    """float32(1 / T); 0 stands for greedy choice.

    Raises:
        SettingsError: a temperature that is negative, or so close to zero or so large that its
            inverse is not a float32.
    """
    if temperature == 0:
        return np.float32(0)
    if not 1e-30 < temperature < 1e30:
        raise SettingsError(
            f"--temperature is 0 (greedy) or between 1e-30 and 1e30, not {temperature}"
        )
    return np.float32(1 / temperature)


def uniforms(seed: int, stream: int) -> Iterator[np.float32]:
    """One number in (0, 1) for each position of a stream, without end (see `UniformStream`)."""
    return iter(UniformStream(seed, stream))


class Sampler:
    """Draws one character for each stream of a batch from logits that change in place.

    With e = exp((logits - max) / T) and C its cumulative sum in vocabulary order, the character
    is the smallest k with C_k >= u * C_last. At T = 0 it is the likeliest, the lowest id of
    equals. All of it is float32.

    Args:
        logits: float32 [batch, vocabulary]; read at each draw, never written.
        temperature: T.
    """

    def __init__(self, logits: Array, temperature: float) -> None:
        self.inverse = inverse_temperature(temperature)
        self.logits = logits
        self.weights = np.empty_like(logits)
        self.sums = np.empty_like(logits)
        # Views of the first stream, for drawing one character without an axis to loop over.
        self._row, self._row_weights, self._row_sums = logits[0], self.weights[0], self.sums[0]

    def draw_one(self, uniform: np.float32) -> int:
        """The next token of the first stream, as `draw` would give it."""
        row, weights, sums = self._row, self._row_weights, self._row_sums
        if not self.inverse:
            return int(row.argmax())
        np.subtract(row, np.maximum.reduce(row), weights)
        np.multiply(weights, self.inverse, weights)
        np.exp(weights, weights)
        np.add.accumulate(weights, 0, None, sums)
        return int(sums.searchsorted(uniform * sums[-1]))

    def draw(self, uniform: Array) -> npt.NDArray[np.int64]:
        """The next token of each stream, int64 [batch], from `uniform`, float32 [batch]."""
        logits, weights, sums = self.logits, self.weights, self.sums
        if not self.inverse:
            return np.asarray(logits.argmax(axis=1), dtype=np.int64)
        np.subtract(logits, logits.max(axis=1, keepdims=True), weights)
        np.multiply(weights, self.inverse, weights)
        np.exp(weights, weights)
        np.add.accumulate(weights, 1, None, sums)
        crossed = sums >= (uniform * sums[:, -1])[:, None]
        return np.asarray(crossed.argmax(axis=1), dtype=np.int64)


def draw_initial(initial: Array, uniform: np.float32, temperature: float) -> int:
    """The first character after an empty prompt, from the training text's frequencies.

    There are no logits to temper: T changes nothing, but that T = 0 takes the most frequent.

    Args:
        initial: float32 [vocabulary], not negative.
        uniform: the number of position 0.
        temperature: T.
    """
    if temperature == 0:
        return int(initial.argmax())
    sums = np.add.accumulate(initial)
    return int(sums.searchsorted(uniform * sums[-1]))
