"""The cell for devices where starting a kernel costs most: one product for the four gates.

On a CPU four products are faster (see `cell.FloatProducts`). What is cut here is cut into equal
parts: for unequal ones ONNX Runtime sends the sizes to a GPU from memory that is gone when a
captured CUDA graph runs again.
"""

import numpy as np

from charlm.export.cell import GATES, FloatProducts, Gates
from charlm.export.graph import Draft
from charlm.export.weights import Weights


class WideFloatProducts:
    """`Products` in float32, one Gemm a layer."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        return activate(draft, self.sums(draft, layer, source, h), layer, self.weights.hidden)

    def logits(self, draft: Draft, top: str) -> str:
        """See `Products`."""
        return FloatProducts(self.weights).logits(draft, top)

    def sums(self, draft: Draft, layer: int, source: str, h: str) -> str:
        """The gates of a layer before their functions, float32 [batch, 4 * hidden]."""
        matrix, term, factor = self._operands(draft, layer, source, h, np.float32)
        return draft.add("Gemm", [factor, matrix, term], draft.local(f"sums_{layer}"))

    def _operands(
        self, draft: Draft, layer: int, source: str, h: str, kind: type[np.floating]
    ) -> tuple[str, str, str]:
        """Matrix and summand of a layer's product in a type, and its factor in float32."""
        weights = self.weights
        if layer:
            matrix, bias = weights.stacked[layer - 1], weights.stacked_bias[layer - 1]
            return (
                draft.array(f"weights_{layer}", matrix.astype(kind)),
                draft.array(f"bias_{layer}", bias.astype(kind)),
                draft.add("Concat", [source, h], draft.local(f"both_{layer}"), axis=1),
            )
        table = draft.array("table", weights.table[:, 0].astype(kind))
        row = draft.add("Gather", [table, source], draft.local("row"), axis=0)
        return draft.array("weights_0", weights.recurrent.astype(kind)), row, h


def activate(draft: Draft, total: str, layer: int, hidden: int) -> Gates:
    """The gates from one wide sum [batch, 4 * hidden], i, o, f, g side by side.

    The Sigmoid runs over g too, whose part of it nobody reads: that costs less than a kernel.
    """
    sigmoids = draft.add("Sigmoid", [total], draft.local(f"sigmoids_{layer}"))
    i, o, f = (draft.local(f"{gate}_{layer}") for gate in "iof")
    draft.split(sigmoids, [hidden] * 4, [i, o, f, draft.local(f"unread_{layer}")], axis=1)
    begin = GATES.index("g") * hidden
    ends = [
        draft.array(name, np.array([place]))
        for name, place in (("begin_g", begin), ("end_g", begin + hidden))
    ]
    last = draft.add("Slice", [total, *ends, draft.axes(1)], draft.local(f"sum_g_{layer}"))
    return Gates(i, o, f, draft.add("Tanh", [last], draft.local(f"g_{layer}")))
