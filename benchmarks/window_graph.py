"""The notebook's window as an ONNX graph: all its characters from a zero state, for one answer.

Rows of an identity matrix stand for the one-hot vectors, and one LSTM operator a layer runs over
all steps. Measured beside it: OneHot in place of Gather (as fast), and the cell laid by hand
inside a Scan or unrolled over 40 steps (both slower, though a single step is faster so).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlm.export import contract

TOKENS, LOGITS = "tokens", "logits"
GATES = (0, 3, 1, 2)  # Torch's i, f, g, o as ONNX's i, o, f, c
Arrays = Mapping[str, npt.NDArray[Any]]


def build(arrays: Arrays) -> bytes:
    """A graph `tokens` int64 [time, batch] -> `logits` float32 [batch, vocabulary].

    Args:
        arrays: the state of a `CharLSTM`, by Torch's names.
    """
    vocabulary, hidden = arrays["head.weight"].shape
    layers = sum(name.startswith("lstm.weight_hh") for name in arrays)
    constants: dict[str, npt.NDArray[Any]] = {
        "one_hot": np.eye(vocabulary, dtype=np.float32),
        "direction": np.array([1], dtype=np.int64),
        "first": np.array([0], dtype=np.int64),
        "head": arrays["head.weight"].T,
        "head_bias": arrays["head.bias"],
    }
    nodes = [helper.make_node("Gather", ["one_hot", TOKENS], ["x_0"])]
    for layer in range(layers):
        constants |= _weights(arrays, layer)
        inputs = [f"x_{layer}", f"w_{layer}", f"r_{layer}", f"b_{layer}"]
        outputs = [f"y_{layer}", f"h_{layer}"]
        nodes.append(helper.make_node("LSTM", inputs, outputs, hidden_size=hidden))
        if layer < layers - 1:  # [time, direction, batch, hidden]
            nodes.append(helper.make_node("Squeeze", [outputs[0], "direction"], [f"x_{layer + 1}"]))
    # The last step's h alone, [direction, batch, hidden], meets the output layer.
    nodes.append(helper.make_node("Squeeze", [f"h_{layers - 1}", "first"], ["top"]))
    nodes.append(helper.make_node("Gemm", ["top", "head", "head_bias"], [LOGITS]))
    return _serialise(nodes, constants, vocabulary)


def _weights(arrays: Arrays, layer: int) -> dict[str, npt.NDArray[Any]]:
    """W [1, 4h, inputs], R [1, 4h, h] and B [1, 8h] of a layer."""
    found = {
        kind: _reorder(arrays[f"lstm.{kind}_l{layer}"])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    return {
        f"w_{layer}": found["weight_ih"][None],
        f"r_{layer}": found["weight_hh"][None],
        f"b_{layer}": np.concatenate((found["bias_ih"], found["bias_hh"]))[None],
    }


def _reorder(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    blocks = np.split(array, 4)
    return np.concatenate([blocks[gate] for gate in GATES])


def _serialise(
    nodes: list[onnx.NodeProto], constants: dict[str, npt.NDArray[Any]], vocabulary: int
) -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "window",
        [value(TOKENS, TensorProto.INT64, ["time", "batch"])],
        [value(LOGITS, TensorProto.FLOAT, ["batch", vocabulary])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
    )
    opset = [helper.make_opsetid("", contract.OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=contract.IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
