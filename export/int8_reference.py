"""A model's int8 arithmetic once more, in NumPy: what the int8 graphs are held against.

The quantised arrays are multiplied exactly; the rest of a step is float64.
"""

import numpy as np
import numpy.typing as npt

from charlm.export.int8 import quantise_layers
from charlm.export.quantise import (
    ACTIVATION_SCALE,
    ACTIVATION_ZERO,
    Quantised,
    to_uint8,
)
from charlm.export.weights import Weights

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Reference:
    """The arithmetic of one model.

    Args:
        weights: of the model.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.layers = quantise_layers(weights)

    def logits(self, top: Array) -> Doubles:
        """[batch, vocabulary] from h of the last layer, [batch, hidden]."""
        head, bias = self.weights.head.astype(np.float64), self.weights.head_bias
        product: Doubles = top.astype(np.float64) @ head + bias
        return product

    def step(
        self, token: npt.NDArray[np.int64], h: Array, c: Array
    ) -> tuple[Array, Array, Doubles]:
        """Read a token.

        Args:
            token: [batch].
            h, c: [batch, layers, hidden].

        Returns:
            The next h and c, and how near each stream came to being rounded otherwise where a
            layer reads the one below, [batch], in units of a byte (0.5: not at all).
        """
        tops: list[Array] = []
        cells: list[Doubles] = []
        margin = np.full(len(token), 0.5)
        added = self.weights.table[token, 0]
        for layer, matrix in enumerate(self.layers):
            factor = h[:, layer]
            if layer:
                margin = np.minimum(margin, distance_to_tie(tops[-1]))
                factor = np.concatenate((tops[-1], factor), axis=1)
                added = self.weights.stacked_bias[layer - 1]
            i, o, f, g = np.split(self._product(matrix, factor, added), 4, axis=1)
            cells.append(_sigmoid(f) * c[:, layer] + _sigmoid(i) * np.tanh(g))
            tops.append((_sigmoid(o) * np.tanh(cells[-1])).astype(np.float32))
        return np.stack(tops, axis=1), np.stack(cells, axis=1).astype(np.float32), margin

    def _product(self, matrix: Quantised, factor: Array, added: Array) -> Doubles:
        centred = to_uint8(factor).astype(np.float64) - float(ACTIVATION_ZERO)
        units = centred @ matrix.values.astype(np.float64)  # whole numbers, exact in float64
        product: Doubles = (units + matrix.term(added)) * matrix.product_scale.astype(np.float64)
        return product


def distance_to_tie(h: Array) -> Doubles:
    """How far each row of h, [batch, hidden], is from a value that rounds to another byte."""
    units = h.astype(np.float64) / float(ACTIVATION_SCALE)
    nearest: Doubles = np.abs(units - np.floor(units) - 0.5).min(axis=1)
    return nearest


def _sigmoid(values: Doubles) -> Doubles:
    result: Doubles = 0.5 + 0.5 * np.tanh(0.5 * values)
    return result
