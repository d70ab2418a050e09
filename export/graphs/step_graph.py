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

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.contract_native import (
    HEAD,
    HEAD_BIAS,
    RECURRENT,
    TABLE,
    stacked_bias_name,
    stacked_name,
)
from charlm.export.graphs.graph import FLOAT, INT64, Draft, Shape, serialise, value
from charlm.export.weights import Weights

BATCH = "batch"
HIDDEN_AXIS, LAYER_AXIS = 2, 1


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised step graph, checked by `onnx.checker` with full type inference.

    Raises:
        onnx.checker.ValidationError: the graph is malformed, which is a bug of this module.
    """
    draft = Draft()
    layers, hidden = weights.layers, weights.hidden
    states = [([contract.H], [contract.C])]
    if layers > 1:
        names = [(f"h_{layer}", f"c_{layer}") for layer in range(layers)]
        draft.split(contract.H, [1] * layers, [h for h, _ in names], LAYER_AXIS)
        draft.split(contract.C, [1] * layers, [c for _, c in names], LAYER_AXIS)
        states = [([h], [c]) for h, c in names]
    below = ""
    next_h: list[str] = []
    next_c: list[str] = []
    for layer, ((h,), (c,)) in enumerate(states):
        if layer == 0:
            gates = _first_gates(draft, weights, h)
        else:
            gates = _stacked_gates(draft, weights, layer, below, h)
        below, c_next = _cell(draft, gates, c, layer, layers, hidden)
        next_h.append(below)
        next_c.append(c_next)
    if layers > 1:
        draft.add("Concat", next_h, contract.H_NEXT, axis=LAYER_AXIS)
        draft.add("Concat", next_c, contract.C_NEXT, axis=LAYER_AXIS)
    top = draft.add("Squeeze", [below, draft.axes(LAYER_AXIS)], "top")
    head = draft.array(HEAD, weights.head)
    head_bias = draft.array(HEAD_BIAS, weights.head_bias)
    draft.add("Gemm", [top, head, head_bias], contract.LOGITS)
    return _serialise(draft, metadata)


def _first_gates(draft: Draft, weights: Weights, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of the layer that reads characters."""
    table = draft.array(TABLE, weights.table)
    recurrent = draft.array(RECURRENT, weights.recurrent)
    row = draft.add("Gather", [table, contract.TOKEN], "input_gates", axis=0)
    product = draft.add("MatMul", [h, recurrent], "recurrent_gates")
    return draft.add("Add", [row, product], "gates_0")


def _stacked_gates(draft: Draft, weights: Weights, layer: int, below: str, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of a layer that reads the layer below."""
    stacked = draft.array(stacked_name(layer), weights.stacked[layer - 1])
    bias = draft.array(stacked_bias_name(layer), weights.stacked_bias[layer - 1])
    both = draft.add("Concat", [below, h], f"below_and_h_{layer}", axis=HIDDEN_AXIS)
    product = draft.add("MatMul", [both, stacked], f"product_{layer}")
    return draft.add("Add", [product, bias], f"gates_{layer}")


def _cell(
    draft: Draft, gates: str, c: str, layer: int, layers: int, hidden: int
) -> tuple[str, str]:
    """The LSTM's cell; returns the names of h and c after it, each [batch, 1, hidden]."""
    alone = layers == 1
    h_next = contract.H_NEXT if alone else f"h_next_{layer}"
    c_next = contract.C_NEXT if alone else f"c_next_{layer}"
    parts = [f"sigmoid_gates_{layer}", f"tanh_gate_{layer}"]
    draft.split(gates, [3 * hidden, hidden], parts, HIDDEN_AXIS)
    sigmoids = draft.add("Sigmoid", [parts[0]], f"iof_{layer}")
    g = draft.add("Tanh", [parts[1]], f"g_{layer}")
    i, o, f = (f"{gate}_{layer}" for gate in "iof")
    draft.split(sigmoids, [hidden] * 3, [i, o, f], HIDDEN_AXIS)
    kept = draft.add("Mul", [f, c], f"kept_{layer}")
    written = draft.add("Mul", [i, g], f"written_{layer}")
    draft.add("Add", [kept, written], c_next)
    squashed = draft.add("Tanh", [c_next], f"squashed_{layer}")
    draft.add("Mul", [o, squashed], h_next)
    return h_next, c_next


def _serialise(draft: Draft, metadata: Metadata) -> bytes:
    state: Shape = [BATCH, metadata.layers, metadata.hidden]
    proto = draft.to_graph(
        "charlm_step",
        [
            value(contract.TOKEN, INT64, [BATCH]),
            value(contract.H, FLOAT, state),
            value(contract.C, FLOAT, state),
        ],
        [
            value(contract.LOGITS, FLOAT, [BATCH, len(metadata.vocabulary)]),
            value(contract.H_NEXT, FLOAT, state),
            value(contract.C_NEXT, FLOAT, state),
        ],
    )
    return serialise(proto, metadata.to_properties())
