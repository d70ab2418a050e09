"""The recurrent product in float32, laid in other ways than `export.cell.FloatProducts` lays it."""

from collections.abc import Callable

import numpy as np

from charlm.export.cell import FloatProducts, Gates, split_gates
from charlm.export.graph import Draft
from charlm.export.weights import Weights

# (draft, weights, row, h) -> the sum [batch, 4 * hidden] that the gates are cut from.
Total = Callable[[Draft, Weights, str, str], str]


def row_of(draft: Draft, weights: Weights, token: str) -> str:
    """The input product of a character, float32 [batch, 4 * hidden]."""
    table = draft.array("table", weights.table[:, 0])
    return draft.add("Gather", [table, token], draft.local("row"), axis=0)


class Wide:
    """`Products` of one layer whose gates come from one wide sum."""

    def __init__(self, weights: Weights, total: Total) -> None:
        self.weights, self._total = weights, total

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        row = row_of(draft, self.weights, source)
        total = self._total(draft, self.weights, row, h)
        return split_gates(draft, total, layer, self.weights.hidden)

    def logits(self, draft: Draft, top: str) -> str:
        """See `Products`."""
        return FloatProducts(self.weights).logits(draft, top)


def gemm(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """A Gemm that adds the row."""
    recurrent = draft.array("recurrent", weights.recurrent)
    return draft.add("Gemm", [h, recurrent, row], draft.local("total"))


def matmul_add(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """A product, and the row in a node of its own."""
    recurrent = draft.array("recurrent", weights.recurrent)
    product = draft.add("MatMul", [h, recurrent], draft.local("product"))
    return draft.add("Add", [product, row], draft.local("total"))


def convolution(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """A convolution over an image of one pixel, whose kernel ONNX Runtime lays out by blocks."""
    kernel = draft.array("kernel", weights.recurrent.T[:, :, None, None])
    pixel = draft.array("pixel", np.array([0, weights.hidden, 1, 1]))
    image = draft.add("Reshape", [h, pixel], draft.local("image"))
    product = draft.add("Conv", [image, kernel], draft.local("product_image"))
    flat = draft.add("Reshape", [product, draft.array("rows", np.array([0, -1]))],
                     draft.local("product"))  # fmt: skip
    return draft.add("Add", [flat, row], draft.local("total"))


class TwoGemms(Wide):
    """One Gemm for the three gates that take a sigmoid, one for the fourth."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights, gemm)

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        hidden = self.weights.hidden
        sigmoids = self._part(draft, source, h, "iof", slice(0, 3 * hidden), "Sigmoid")
        i, o, f = (draft.local(f"{gate}_{layer}") for gate in "iof")
        draft.split(sigmoids, [hidden] * 3, [i, o, f], axis=1)
        g = self._part(draft, source, h, "g", slice(3 * hidden, 4 * hidden), "Tanh")
        return Gates(i, o, f, g)

    def _part(
        self, draft: Draft, source: str, h: str, name: str, block: slice, activation: str
    ) -> str:
        matrix = draft.array(f"weights_{name}", self.weights.recurrent[:, block])
        table = draft.array(f"table_{name}", self.weights.table[:, 0, block])
        row = draft.add("Gather", [table, source], draft.local(f"row_{name}"), axis=0)
        total = draft.add("Gemm", [h, matrix, row], draft.local(f"sum_{name}"))
        return draft.add(activation, [total], draft.local(f"gates_{name}"))
