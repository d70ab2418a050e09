"""The recurrent product in int8, in other ways than `export.int8` lays it."""

import numpy as np

from charlm.export.cell import Gates, split_gates
from charlm.export.graph import FLOAT, ORT_DOMAIN, Draft
from charlm.export.int8 import Int8Products, QGemmProducts, activation_zero, quantised
from charlm.export.quantise import ACTIVATION_SCALE, LARGEST, Quantised, quantise
from charlm.export.weights import Weights

BLOCK = 32  # inputs that share a scale in MatMulNBits
CLIPPED = 0.5  # of the largest weight: where one scale for all serves the many small ones better


def row_in_float(draft: Draft, weights: Weights, row: str, h: str) -> str:
    """MatMulInteger, Cast and Mul, and the row added in float32."""
    units, matrix = _units(draft, weights, h), _matrix(weights)
    wide = draft.add("Cast", [units], draft.local("wide"), to=FLOAT)
    scale = draft.array("scale", matrix.product_scale)
    product = draft.add("Mul", [wide, scale], draft.local("product"))
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


class Dequantised(Int8Products):
    """As it ships, but DequantizeLinear, with a scale for each column, for Cast and Mul."""

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        matrix = self.layers[layer]
        table = draft.array("table", matrix.term(self.weights.table[:, 0]))
        row = draft.add("Gather", [table, source], draft.local("row"), axis=0)
        units = draft.add("Add", [_units(draft, self.weights, h), row], draft.local("whole"))
        scale = draft.array("scale", matrix.product_scale)
        total = draft.add("DequantizeLinear", [units, scale], draft.local("total"), axis=1)
        return split_gates(draft, total, layer, self.weights.hidden)


class HeadToo(QGemmProducts):
    """As it ships for many streams, the head by QGemm too."""

    def logits(self, draft: Draft, top: str) -> str:
        """See `Products`."""
        head = quantise(self.weights.head, self.weights.head_bias)
        bias = draft.array("head_bias", head.term(self.weights.head_bias))
        return _qgemm(draft, quantised(draft, top), head, bias, "head", draft.local("logits"))


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
        matrix = self.layers[0] if self.reach is None else _one_scale(self.weights, self.reach)
        table = draft.array("table", matrix.term(self.weights.table[:, 0]))
        row = draft.add("Gather", [table, source], draft.local("row"), axis=0)
        factors = quantised(draft, h)
        total = _qgemm(draft, factors, matrix, row, "recurrent", draft.local("total"))
        return split_gates(draft, total, layer, self.weights.hidden)


def _one_scale(weights: Weights, reach: float) -> Quantised:
    scale = np.float32(reach * np.abs(weights.recurrent).max() / LARGEST)
    values = np.clip(np.rint(weights.recurrent / scale), -LARGEST, LARGEST)
    return Quantised(values.astype(np.int8), np.asarray(scale))


def _qgemm(draft: Draft, factors: str, matrix: Quantised, term: str, name: str, output: str) -> str:
    """ONNX Runtime's QGemm: float32 of uint8 factors and an int32 term."""
    inputs = [
        factors,
        draft.array("activation_scale", ACTIVATION_SCALE),
        activation_zero(draft),
        draft.array(f"values_{name}", matrix.values),
        draft.array(f"scale_{name}", matrix.scale),
        draft.array(f"zero_{name}", np.zeros(matrix.scale.shape, dtype=np.int8)),
        term,
    ]
    return draft.add("QGemm", inputs, output, ORT_DOMAIN)


def _units(draft: Draft, weights: Weights, h: str) -> str:
    """The recurrent product in its own units, int32."""
    values = draft.array("values", _matrix(weights).values)
    inputs = [quantised(draft, h), values, activation_zero(draft)]
    return draft.add("MatMulInteger", inputs, draft.local("units"))


def _matrix(weights: Weights) -> Quantised:
    return quantise(weights.recurrent, weights.table)
