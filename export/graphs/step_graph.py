"""`model.onnx`: one step of the model, laid node by node.

Chosen by measurement (see `benchmarks/NOTES.md`): at batch 1 this form is faster than the
LSTM operator, which must turn the state's axes and form a one-hot input. The state keeps its
three axes from end to end, so that a step of one layer has twelve nodes:

```
token -> Gather -.
h ----> MatMul --+-> Add -> Split -> Sigmoid -> Split -> i, o, f
                              '----> Tanh -------------> g
c_next = f * c + i * g        h_next = o * tanh(c_next)      logits = Gemm(h_next)
```
"""

from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, STEP, TOKEN, C, H, Metadata
from charlm.export.contract.native import (
    HEAD,
    HEAD_BIAS,
    RECURRENT,
    TABLE,
    stacked_bias_name,
    stacked_name,
)
from charlm.export.graphs.cell import LAYER_AXIS, Gates, LayerState, combine
from charlm.export.graphs.draft import Draft
from charlm.export.weights import Weights

HIDDEN_AXIS = 2


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised step graph, checked by `onnx.checker` with full type inference.

    Raises:
        onnx.checker.ValidationError: the graph is malformed, which is a bug of this module.
    """
    draft, layers = Draft(), weights.layers
    before, result = [LayerState(H, C)], LayerState(H_NEXT, C_NEXT)
    if layers > 1:
        before = [LayerState(f"h_{layer}", f"c_{layer}") for layer in range(layers)]
        draft.split(H, [1] * layers, [state.h for state in before], LAYER_AXIS)
        draft.split(C, [1] * layers, [state.c for state in before], LAYER_AXIS)
    after: list[LayerState] = []
    for layer, state in enumerate(before):
        if layer == 0:
            total = _first_gates(draft, weights, state.h)
        else:
            total = _stacked_gates(draft, weights, layer, after[-1].h, state.h)
        gates = _activated(draft, total, layer, weights.hidden)
        after.append(combine(draft, gates, state.c, layer, result if layers == 1 else None))
    if layers > 1:
        draft.add("Concat", [state.h for state in after], H_NEXT, axis=LAYER_AXIS)
        draft.add("Concat", [state.c for state in after], C_NEXT, axis=LAYER_AXIS)
    top = draft.add("Squeeze", [after[-1].h, draft.axes(LAYER_AXIS)], "top")
    head = draft.array(HEAD, weights.head)
    head_bias = draft.array(HEAD_BIAS, weights.head_bias)
    draft.add("Gemm", [top, head, head_bias], LOGITS)
    return draft.to_model(STEP, metadata)


def _first_gates(draft: Draft, weights: Weights, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of the layer that reads characters."""
    table = draft.array(TABLE, weights.table)
    recurrent = draft.array(RECURRENT, weights.recurrent)
    row = draft.add("Gather", [table, TOKEN], "input_gates", axis=0)
    product = draft.add("MatMul", [h, recurrent], "recurrent_gates")
    return draft.add("Add", [row, product], "gates_0")


def _stacked_gates(draft: Draft, weights: Weights, layer: int, below: str, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of a layer that reads the layer below."""
    stacked = draft.array(stacked_name(layer), weights.stacked[layer - 1])
    bias = draft.array(stacked_bias_name(layer), weights.stacked_bias[layer - 1])
    both = draft.add("Concat", [below, h], f"below_and_h_{layer}", axis=HIDDEN_AXIS)
    product = draft.add("MatMul", [both, stacked], f"product_{layer}")
    return draft.add("Add", [product, bias], f"gates_{layer}")


def _activated(draft: Draft, total: str, layer: int, hidden: int) -> Gates:
    """The gates, each [batch, 1, hidden]; the three that take a sigmoid are neighbours."""
    parts = [f"sigmoid_gates_{layer}", f"tanh_gate_{layer}"]
    draft.split(total, [3 * hidden, hidden], parts, HIDDEN_AXIS)
    sigmoids = draft.add("Sigmoid", [parts[0]], f"iof_{layer}")
    g = draft.add("Tanh", [parts[1]], f"g_{layer}")
    i, o, f = (f"{gate}_{layer}" for gate in "iof")
    draft.split(sigmoids, [hidden] * 3, [i, o, f], HIDDEN_AXIS)
    return Gates(i, o, f, g)
