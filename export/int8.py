"""The products of an LSTM in int8, as nodes: in plain ONNX, and in ONNX Runtime's own ops.

Weights are quantised for each column (`export/quantise.py`), h once for all products that read it;
what else a step does stays float32. Which nodes are fastest was measured (`benchmarks/NOTES.md`):
for one stream few nodes, so one wide product for all gates; for many streams few passes over the
data, so a product for each gate that adds the character's row and scales as it writes.
"""

import numpy as np

from charlm.export.cell import GATES, FloatProducts, Gates, split_gates
from charlm.export.graph import FLOAT, ORT_DOMAIN, Draft
from charlm.export.quantise import ACTIVATION_SCALE, ACTIVATION_ZERO, Quantised, quantise
from charlm.export.weights import Weights


class Int8Products:
    """Plain ONNX: MatMulInteger, the row added in int32, then the scale. See `cell.Products`.

    Sum and scale are those of `QGemmProducts` bit for bit, so that the state of a text does not
    depend on how many stand beside it. The scale is a Mul after a Cast: DequantizeLinear with a
    scale for each column is slower, and so is com.microsoft's MatMulIntegerToFloat, which a test
    sees that none of it becomes.
    The head stays float32: faster for one stream, and nearer to the model.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.layers = quantise_layers(weights)
        self._float = FloatProducts(weights)

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        matrix = self.layers[layer]
        values = draft.array(f"weights_{layer}", matrix.values)
        scale = draft.array(f"scale_{layer}", matrix.product_scale)
        factors = quantised_factor(draft, layer, source, h)
        local, add = draft.local, draft.add
        units = add(
            "MatMulInteger", [factors, values, activation_zero(draft)], local(f"units_{layer}")
        )
        whole = add("Add", [units, self._added(draft, layer, source)], local(f"whole_{layer}"))
        wide = add("Cast", [whole], local(f"float_units_{layer}"), to=FLOAT)
        total = add("Mul", [wide, scale], local(f"sum_{layer}"))
        return split_gates(draft, total, layer, self.weights.hidden)

    def logits(self, draft: Draft, top: str) -> str:
        """See `Products`."""
        return self._float.logits(draft, top)

    def _added(self, draft: Draft, layer: int, source: str) -> str:
        matrix = self.layers[layer]
        if layer:
            return draft.array(f"bias_{layer}", matrix.term(self.weights.stacked_bias[layer - 1]))
        table = draft.array("table", matrix.term(self.weights.table[:, 0]))
        return draft.add("Gather", [table, source], draft.local("row"), axis=0)


class QGemmProducts:
    """com.microsoft's QGemm: the row joins the sum in int32, and the scale is applied on the way.

    See `cell.Products`. Runs in ONNX Runtime alone. The head stays float32 here too, or the forms
    would be two models.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.layers = quantise_layers(weights)
        self._float = FloatProducts(weights)

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """See `Products`."""
        factors = quantised_factor(draft, layer, source, h)
        return Gates(*(self._gate(draft, layer, gate, source, factors) for gate in GATES))

    def logits(self, draft: Draft, top: str) -> str:
        """See `Products`."""
        return self._float.logits(draft, top)

    def _gate(self, draft: Draft, layer: int, gate: str, source: str, factors: str) -> str:
        name, hidden = f"{gate}_{layer}", self.weights.hidden
        block = slice(GATES.index(gate) * hidden, (GATES.index(gate) + 1) * hidden)
        matrix = self.layers[layer].columns(block)
        if layer:
            bias = matrix.term(self.weights.stacked_bias[layer - 1][block])
            term = draft.array(f"bias_{name}", bias)
        else:
            table = draft.array(f"table_{name}", matrix.term(self.weights.table[:, 0, block]))
            term = draft.add("Gather", [table, source], draft.local(f"row_{name}"), axis=0)
        total = _qgemm(draft, factors, matrix, term, name, draft.local(f"sum_{name}"))
        return draft.add("Tanh" if gate == "g" else "Sigmoid", [total], draft.local(name))


def quantise_layers(weights: Weights) -> list[Quantised]:
    """The matrices of the layers, int8 [inputs, 4 * hidden]: [hidden, ...] for the first layer,
    and for each further one [2 * hidden, ...].
    """
    first = quantise(weights.recurrent, weights.table)
    return [first, *map(quantise, weights.stacked, weights.stacked_bias)]


def quantised_factor(draft: Draft, layer: int, source: str, h: str) -> str:
    """What a layer multiplies, uint8: its own h, after the first layer beside the one below."""
    own = quantised(draft, h)
    if layer == 0:
        return own
    both = [quantised(draft, source), own]
    return draft.add("Concat", both, draft.local(f"both_{layer}"), axis=1)


def quantised(draft: Draft, h: str) -> str:
    """h as uint8, made once for all that read it."""
    name = f"{h}_uint8"
    if not any(node.name == name for node in draft.nodes):
        scale = draft.array("activation_scale", ACTIVATION_SCALE)
        draft.add("QuantizeLinear", [h, scale, activation_zero(draft)], name)
    return name


def activation_zero(draft: Draft) -> str:
    """The constant that stands for h = 0."""
    return draft.array("activation_zero", ACTIVATION_ZERO)


def _qgemm(draft: Draft, factors: str, matrix: Quantised, term: str, name: str, output: str) -> str:
    """float32 [batch, outputs] of uint8 factors [batch, inputs] and an int32 term."""
    inputs = [
        factors,
        draft.array("activation_scale", ACTIVATION_SCALE),
        activation_zero(draft),
        draft.array(f"weights_{name}", matrix.values),
        draft.array(f"scale_{name}", matrix.scale),
        # One zero for each column, as QGemm wants where there is a scale for each.
        draft.array(f"zero_{name}", np.zeros(len(matrix.scale), dtype=np.int8)),
        term,
    ]
    return draft.add("QGemm", inputs, output, domain=ORT_DOMAIN)
