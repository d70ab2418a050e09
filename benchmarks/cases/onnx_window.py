"""ONNX Runtime: the notebook's window as a graph, one call of the LSTM operator over 40 characters.

Rows of an identity matrix stand for the one-hot vectors. Measured beside it: OneHot in place of
Gather (as fast), and the cell laid by hand inside a Scan or unrolled over 40 steps (both slower,
though a single step is faster so).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import Arrays, draw_by_window, layers_of, load_weights, run_of
from charlm.benchmarks.harness.settings import WINDOW, CaseSettings, Run
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract

TOKENS, LOGITS = "tokens", "logits"
GATES = (0, 3, 1, 2)  # Torch's i, f, g, o as ONNX's i, o, f, c


def window(settings: CaseSettings) -> Run:
    """40 characters read again for each one drawn; input and output are bound once, as in charlm.

    Raises:
        CaseFailedError: the graph could not be made.
    """
    model = open_window(settings)
    _, window, characters = load_weights(settings)
    logits = np.zeros((1, len(characters)), dtype=np.float32)
    binding = model.io_binding()
    binding.bind_input(TOKENS, "cpu", 0, np.int64, (len(window), 1), window.ctypes.data)
    binding.bind_output(LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
    run, bound = model._sess.run_with_iobinding, binding._iobinding
    return run_of(draw_by_window(window, logits, lambda: run(bound, None), characters, settings))


def open_window(settings: CaseSettings) -> Any:
    """A session of the graph on the CPU with the threads of the settings."""
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = settings.artifact(WINDOW).read_bytes()
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def graph(arrays: Arrays) -> bytes:
    """A graph `tokens` int64 [time, batch] -> `logits` float32 [batch, vocabulary]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    vocabulary, hidden = arrays["head.weight"].shape
    layers = layers_of(arrays)
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
    value = helper.make_tensor_value_info
    whole = helper.make_graph(
        nodes,
        "window",
        [value(TOKENS, TensorProto.INT64, ["time", "batch"])],
        [value(LOGITS, TensorProto.FLOAT, ["batch", vocabulary])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
    )
    opset = [helper.make_opsetid("", contract.OPSET)]
    model = helper.make_model(whole, opset_imports=opset, ir_version=contract.IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _weights(arrays: Arrays, layer: int) -> dict[str, npt.NDArray[Any]]:
    """W [1, 4h, inputs], R [1, 4h, h] and B [1, 8h] of a layer."""

    def reordered(kind: str) -> npt.NDArray[Any]:
        blocks = np.split(arrays[f"lstm.{kind}_l{layer}"], 4)
        return np.concatenate([blocks[gate] for gate in GATES])

    return {
        f"w_{layer}": reordered("weight_ih")[None],
        f"r_{layer}": reordered("weight_hh")[None],
        f"b_{layer}": np.concatenate((reordered("bias_ih"), reordered("bias_hh")))[None],
    }
