"""Products in fp16, for GPUs; all that follows them stays float32.

The gates' product takes nearly all of a step's arithmetic, and is exact enough in fp16: its sums
are added in float32 and rounded once, before functions that flatten out. The cells are not, since
those of a trained model pass 600, where fp16 is no finer than 0.5. The product of the logits is
small, and its rounding would go straight into the probabilities: it stays float32.
"""

import numpy as np

from charlm.data.errors import ExportError
from charlm.export.graph import FLOAT, HALF, Draft
from charlm.export.weights import Weights
from charlm.export.wide_cell import WideFloatProducts

LARGEST = float(np.finfo(np.float16).max)


class HalfProducts(WideFloatProducts):
    """`Products` whose gates are multiplied in fp16.

    Raises:
        ExportError: a weight that fp16 does not reach.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        arrays = (weights.table, weights.recurrent, *weights.stacked, *weights.stacked_bias)
        largest = max(float(np.abs(array).max()) for array in arrays)
        if not largest <= LARGEST:
            raise ExportError(
                f"a weight of size {largest:.3g} is out of fp16's range (up to {LARGEST:.0f}): "
                "this model has no fp16 form"
            )

    def sums(self, draft: Draft, layer: int, source: str, h: str) -> str:
        """See `WideFloatProducts`."""
        matrix, term, factor = self._operands(draft, layer, source, h, np.float16)
        half = draft.add("Cast", [factor], draft.local(f"half_{layer}"), to=HALF)
        total = draft.add("Gemm", [half, matrix, term], draft.local(f"half_sums_{layer}"))
        return draft.add("Cast", [total], draft.local(f"sums_{layer}"), to=FLOAT)
