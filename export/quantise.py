"""Weights as int8 with a scale for each column, such that no CPU's arithmetic saturates.

A hidden state lies in (-1, 1), so one scale serves all models: h = (u - 128) / 127 with u, uint8,
from 1 to 255. Its products with int8 weights are summed in int32 where the CPU has the instructions
(VNNI, ARM). Older x86 CPUs multiply and add two neighbours along the inputs at once into int16
(`vpmaddubsw`), which saturates at 255 * (127 + 127). Two weights of one sign whose magnitudes sum
to 128 can't: 255 * 128 < 2^15. The scales are chosen for that, so a product is the same everywhere,
and costs less precision than weights of 7 bits would.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ACTIVATION_SCALE = np.float32(1 / 127)
ACTIVATION_ZERO = np.uint8(128)
LARGEST = 127  # of a weight; -128 stays unused, so both signs are alike
LARGEST_PAIR = 128  # of two neighbours of one sign, together
LARGEST_TERM = 2**30  # of what is added to a product in int32, as much as leaves room for it


@dataclass(frozen=True)
class Quantised:
    """A matrix of weights, each column with a scale of its own.

    Attributes:
        values: int8 [inputs, outputs].
        scale: float32 [outputs]; a weight is its value times this.
    """

    values: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]

    @property
    def product_scale(self) -> npt.NDArray[np.float32]:
        """What one unit of a product of (u - 128) and `values` is worth, float32 [outputs]."""
        return self.scale * ACTIVATION_SCALE

    def term(self, added: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """What is added to the product, [..., outputs], in the product's own units, int32."""
        units = added.astype(np.float64) / self.product_scale
        return np.rint(units).astype(np.int32)

    def columns(self, block: slice) -> "Quantised":
        """Some of the columns."""
        return Quantised(self.values[:, block], self.scale[block])


def quantise(weights: npt.NDArray[np.float32], added: npt.NDArray[np.float32]) -> Quantised:
    """The nearest int8 weights that can't saturate.

    Args:
        weights: float32 [inputs, outputs], finite.
        added: float32 [..., outputs], what will be added to the product: a scale is never so small
            that this leaves int32 (it matters only where a column is almost 0).
    """
    wide = weights.astype(np.float64)
    reach = np.abs(added.reshape(-1, weights.shape[1])).max(axis=0).astype(np.float64)
    floor = np.maximum(reach * LARGEST / LARGEST_TERM, np.finfo(np.float32).tiny * LARGEST)
    single = np.abs(wide).max(axis=0) / LARGEST
    double = pair_sums(wide).max(axis=0) / LARGEST_PAIR
    scale = np.maximum.reduce([single, double, floor]).astype(np.float32)
    # Rounded up: two weights of at most 128 units together are rounded to at most 128 then, since
    # two halves can't both go up (ties go to even, and 127 is odd).
    scale = np.nextafter(scale, np.float32(np.inf))
    return Quantised(np.rint(wide / scale).astype(np.int8), scale)


def pair_sums(weights: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """The largest magnitude that a weighted sum of each two neighbours reaches for weights 0 to 1.

    Args:
        weights: [inputs, outputs]; neighbours are inputs 0 and 1, 2 and 3, ...

    Returns:
        float64 [ceil(inputs / 2), outputs].
    """
    padded = np.pad(weights.astype(np.float64), ((0, len(weights) % 2), (0, 0)))
    pairs = padded.reshape(-1, 2, weights.shape[1])
    positive, negative = np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1)
    largest: npt.NDArray[np.float64] = np.maximum(positive, negative)
    return largest


def to_uint8(h: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A hidden state as the graphs' QuantizeLinear makes it: of the same shape, uint8."""
    units = np.rint(h.astype(np.float32) / ACTIVATION_SCALE) + np.float32(ACTIVATION_ZERO)
    bounded: npt.NDArray[np.uint8] = np.clip(units, 0, 255).astype(np.uint8)
    return bounded
