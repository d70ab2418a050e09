"""The recurrent product in int8, in other ways than `export.int8` lays it."""

import numpy as np

from charlm.benchmarks.forms.float_products import Total
from charlm.export.cell import Gates, split_gates
from charlm.export.graph import ORT_DOMAIN, Draft
from charlm.export.int8 import QGemmProducts, activation_zero, quantised
from charlm.export.quantise import ACTIVATION_SCALE, LARGEST, Quantised, quantise
from charlm.export.weights import Weights

BLOCK = 32  # inputs that share a scale in MatMulNBits
CLIPPED = 0.5  # of the largest weight: where one scale for all serves the many small ones better


def dequantised(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """MatMulInteger, and DequantizeLinear with a scale for each column."""
    matrix = _matrix(weights)
    values = draft.array("values", matrix.values)
    scale = draft.array("scale", matrix.product_scale)
    inputs = [quantised(draft, h), values, activation_zero(draft)]
    units = draft.add("MatMulInteger", inputs, draft.local("units"))
    product = draft.add("DequantizeLinear", [units, scale], draft.local("product"), axis=1)
    return draft.add("Add", [row, product], draft.local("total"))


def integer_to_float(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """ONNX Runtime's MatMulIntegerToFloat."""
    matrix = _matrix(weights)
    inputs = [
        quantised(draft, h),
        draft.array("values", matrix.values),
        draft.array("activation_scale", ACTIVATION_SCALE),
        draft.array("scale", matrix.scale),
        activation_zero(draft),
    ]
    product = draft.add("MatMulIntegerToFloat", inputs, draft.local("product"), ORT_DOMAIN)
    return draft.add("Add", [row, product], draft.local("total"))


def blocks_of_bytes(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """ONNX Runtime's MatMulNBits with 8 bits, which quantises h itself."""
    inputs, outputs = weights.recurrent.shape
    count = -(-inputs // BLOCK)
    padded = np.zeros((count * BLOCK, outputs), dtype=np.float32)
    padded[:inputs] = weights.recurrent
    blocks = padded.T.reshape(outputs, count, BLOCK)
    scale = np.maximum(np.abs(blocks).max(axis=2) / LARGEST, np.finfo(np.float32).tiny)
    values = np.rint(blocks / scale[:, :, None]) + 128
    names = [draft.array("values", values.astype(np.uint8)), draft.array("scale", scale.ravel())]
    sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    product = draft.add("MatMulNBits", [h, *names], draft.local("product"), ORT_DOMAIN, **sizes)
    return draft.add("Add", [row, product], draft.local("total"))


class WideQGemm(QGemmProducts):
    """ONNX Runtime's QGemm, one for all gates of one layer.

    Args:
        weights: of the model.
        reach: None: a scale for each column, as `QGemmProducts` has them; else one for all, such
            that this share of the largest weight is the largest that it holds.
    """

    def __init__(self, weights: Weights, reach: float | None = None) -> None:
        super().__init__(weights)
        self.reach = reach

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        if self.reach is None:
            matrix = self.layers[0]
            zero = np.zeros(len(matrix.scale), dtype=np.int8)
        else:
            matrix, zero = _one_scale(self.weights, self.reach), np.zeros((), dtype=np.int8)
        table = draft.array("table", matrix.term(self.weights.table[:, 0]))
        row = draft.add("Gather", [table, source], draft.local("row"), axis=0)
        inputs = [
            quantised(draft, h),
            draft.array("activation_scale", ACTIVATION_SCALE),
            activation_zero(draft),
            draft.array("values", matrix.values),
            draft.array("scale", matrix.scale),
            draft.array("zero", zero),
            row,
        ]
        total = draft.add("QGemm", inputs, draft.local("total"), ORT_DOMAIN)
        return split_gates(draft, total, layer, self.weights.hidden)


def _one_scale(weights: Weights, reach: float) -> Quantised:
    scale = np.float32(reach * np.abs(weights.recurrent).max() / LARGEST)
    values = np.clip(np.rint(weights.recurrent / scale), -LARGEST, LARGEST)
    return Quantised(values.astype(np.int8), np.asarray(scale))


def _matrix(weights: Weights) -> Quantised:
    return quantise(weights.recurrent, weights.table)


TOTALS: dict[str, Total] = {
    "MatMulInteger, DequantizeLinear": dequantised,
    "MatMulIntegerToFloat": integer_to_float,
    "MatMulNBits, 8 bits": blocks_of_bytes,
}
