"""`model.onnx`: one step of the model, laid node by node.

Chosen by measurement (see `benchmarks/step_forms.py`): at batch 1 this form is faster than the
LSTM operator, which must turn the state's axes and form a one-hot input. The state keeps its
three axes from end to end, so that a step of one layer has twelve nodes:

```
token -> Gather -.
h ----> MatMul --+-> Add -> Split -> Sigmoid -> Split -> i, o, f
                              '----> Tanh -------------> g
c_next = f * c + i * g        h_next = o * tanh(c_next)      logits = Gemm(h_next)
```
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.weights import Weights

BATCH = "batch"
HIDDEN_AXIS, LAYER_AXIS = 2, 1
TABLE, RECURRENT = "table", "recurrent"
HEAD, HEAD_BIAS = "head", "head_bias"


def stacked_name(layer: int) -> str:
    """Initialiser name of a further layer's weights, `layer` counted from 1."""
    return f"stacked_{layer}"


def stacked_bias_name(layer: int) -> str:
    """Initialiser name of a further layer's bias, `layer` counted from 1."""
    return f"stacked_bias_{layer}"


@dataclass
class _Nodes:
    """A graph under construction: nodes in order, and the arrays that they refer to."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def add(self, op: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        # make_node leaves out attributes that are None.
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, axis=axis))
        return output

    def split(self, value: str, sizes: list[int], outputs: list[str], axis: int) -> list[str]:
        name = f"sizes_{'_'.join(map(str, sizes))}"
        self.arrays[name] = np.array(sizes, dtype=np.int64)
        label = f"split_{outputs[0]}"
        self.nodes.append(helper.make_node("Split", [value, name], outputs, name=label, axis=axis))
        return outputs

    def array(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.arrays[name] = values
        return name


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised step graph, checked by `onnx.checker` with full type inference.

    Raises:
        onnx.checker.ValidationError: the graph is malformed, which is a bug of this module.
    """
    graph = _Nodes()
    layers, hidden = weights.layers, weights.hidden
    states = [([contract.H], [contract.C])]
    if layers > 1:
        names = [(f"h_{layer}", f"c_{layer}") for layer in range(layers)]
        graph.split(contract.H, [1] * layers, [h for h, _ in names], LAYER_AXIS)
        graph.split(contract.C, [1] * layers, [c for _, c in names], LAYER_AXIS)
        states = [([h], [c]) for h, c in names]
    below = ""
    next_h: list[str] = []
    next_c: list[str] = []
    for layer, ((h,), (c,)) in enumerate(states):
        if layer == 0:
            gates = _first_gates(graph, weights, h)
        else:
            gates = _stacked_gates(graph, weights, layer, below, h)
        below, c_next = _cell(graph, gates, c, layer, layers, hidden)
        next_h.append(below)
        next_c.append(c_next)
    if layers > 1:
        graph.add("Concat", next_h, contract.H_NEXT, axis=LAYER_AXIS)
        graph.add("Concat", next_c, contract.C_NEXT, axis=LAYER_AXIS)
    axis = graph.array("layer_axis", np.array([LAYER_AXIS], dtype=np.int64))
    top = graph.add("Squeeze", [below, axis], "top")
    head = graph.array(HEAD, weights.head)
    head_bias = graph.array(HEAD_BIAS, weights.head_bias)
    graph.add("Gemm", [top, head, head_bias], contract.LOGITS)
    return _serialise(graph, metadata)


def _first_gates(graph: _Nodes, weights: Weights, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of the layer that reads characters."""
    table = graph.array(TABLE, weights.table)
    recurrent = graph.array(RECURRENT, weights.recurrent)
    row = graph.add("Gather", [table, contract.TOKEN], "input_gates", axis=0)
    product = graph.add("MatMul", [h, recurrent], "recurrent_gates")
    return graph.add("Add", [row, product], "gates_0")


def _stacked_gates(graph: _Nodes, weights: Weights, layer: int, below: str, h: str) -> str:
    """Pre-activations [batch, 1, 4 * hidden] of a layer that reads the layer below."""
    stacked = graph.array(stacked_name(layer), weights.stacked[layer - 1])
    bias = graph.array(stacked_bias_name(layer), weights.stacked_bias[layer - 1])
    both = graph.add("Concat", [below, h], f"below_and_h_{layer}", axis=HIDDEN_AXIS)
    product = graph.add("MatMul", [both, stacked], f"product_{layer}")
    return graph.add("Add", [product, bias], f"gates_{layer}")


def _cell(
    graph: _Nodes, gates: str, c: str, layer: int, layers: int, hidden: int
) -> tuple[str, str]:
    """The LSTM's cell; returns the names of h and c after it, each [batch, 1, hidden]."""
    alone = layers == 1
    h_next = contract.H_NEXT if alone else f"h_next_{layer}"
    c_next = contract.C_NEXT if alone else f"c_next_{layer}"
    parts = [f"sigmoid_gates_{layer}", f"tanh_gate_{layer}"]
    graph.split(gates, [3 * hidden, hidden], parts, HIDDEN_AXIS)
    sigmoids = graph.add("Sigmoid", [parts[0]], f"iof_{layer}")
    g = graph.add("Tanh", [parts[1]], f"g_{layer}")
    i, o, f = (f"{gate}_{layer}" for gate in "iof")
    graph.split(sigmoids, [hidden] * 3, [i, o, f], HIDDEN_AXIS)
    kept = graph.add("Mul", [f, c], f"kept_{layer}")
    written = graph.add("Mul", [i, g], f"written_{layer}")
    graph.add("Add", [kept, written], c_next)
    squashed = graph.add("Tanh", [c_next], f"squashed_{layer}")
    graph.add("Mul", [o, squashed], h_next)
    return h_next, c_next


def _serialise(graph: _Nodes, metadata: Metadata) -> bytes:
    state: list[str | int | None] = [BATCH, metadata.layers, metadata.hidden]
    value = helper.make_tensor_value_info
    proto = helper.make_graph(
        graph.nodes,
        "charlm_step",
        [
            value(contract.TOKEN, TensorProto.INT64, [BATCH]),
            value(contract.H, TensorProto.FLOAT, state),
            value(contract.C, TensorProto.FLOAT, state),
        ],
        [
            value(contract.LOGITS, TensorProto.FLOAT, [BATCH, len(metadata.vocabulary)]),
            value(contract.H_NEXT, TensorProto.FLOAT, state),
            value(contract.C_NEXT, TensorProto.FLOAT, state),
        ],
        [numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", contract.OPSET)],
        ir_version=contract.IR_VERSION,
        producer_name="charlm",
    )
    helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
