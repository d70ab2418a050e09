"""LiteRT (TensorFlow Lite, with XNNPACK): the step as its graph, and a loop over it.

The graph is laid out for XNNPACK: one product for all gates, halved weights so that one Tanh
serves them all (sigmoid x = tanh(x / 2) / 2 + 1/2), the input product an index into a table. It
was as fast as four products or a Sigmoid, and faster where there is no XNNPACK.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import Arrays, load_weights, lstm_layers, run_of_steps
from charlm.benchmarks.harness.settings import LITERT_STEP, CaseSettings, Run
from charlm.data.system.cores import usable_cores
from charlm.data.system.extras import require

ORDER = (0, 1, 3, 2)  # Torch's gates i, f, g, o as i, f, o, g


def step(settings: CaseSettings) -> Run:
    """A call of the graph for each character.

    Raises:
        MissingExtraError: LiteRT is not installed.
        CaseFailedError: the graph could not be made.
    """
    module = require("ai_edge_litert.interpreter", "bench")
    threads = settings.threads or usable_cores()
    interpreter = module.Interpreter(str(settings.artifact(LITERT_STEP)), num_threads=threads)
    for each in interpreter.get_input_details():
        interpreter.resize_tensor_input(each["index"], [settings.batch, *each["shape"][1:]])
    interpreter.allocate_tensors()
    for each in interpreter.get_input_details():
        interpreter.set_tensor(each["index"], np.zeros(each["shape"], each["dtype"]))
    _, prompt, characters = load_weights(settings)
    return run_of_steps(LitertSteps(interpreter), prompt, characters, settings)


class LitertSteps:
    """`Steps` by an interpreter whose tensors are read and written where they lie.

    It can't be told to write its state where it reads it, so h and c are copied after each step.
    """

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter  # owns the memory below
        inputs = _views(interpreter, interpreter.get_input_details())
        outputs = _views(interpreter, interpreter.get_output_details())
        self.token = inputs.pop("token")
        self.logits = outputs.pop("logits")
        pairs = [(inputs[name], outputs[name]) for name in inputs]
        invoke = interpreter._interpreter.Invoke  # `invoke` looks for views first, and finds ours

        def once() -> None:
            invoke()
            for before, after in pairs:
                before[:] = after

        self.step = once


def _views(interpreter: Any, details: list[dict[str, Any]]) -> dict[str, Any]:
    """The tensors by the names of the signature's arguments, as arrays over their own memory."""
    (signature,) = interpreter._get_full_signature_list().values()
    names = {
        index: name for part in ("inputs", "outputs") for name, index in signature[part].items()
    }
    return {names[each["index"]]: interpreter.tensor(each["index"])() for each in details}


def graph(arrays: Arrays) -> bytes:
    """A .tflite `token` int32 [batch], `h0`, `c0`, ... [batch, hidden] -> `logits`, `h0`, `c0`, ...

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = require("tensorflow", "bench")
    tf.get_logger().setLevel("ERROR")
    hidden = arrays["head.weight"].shape[1]
    states = [f"{kind}{layer}" for layer in range(len(lstm_layers(arrays))) for kind in "hc"]
    specs = {name: tf.TensorSpec([1, hidden], tf.float32, name=name) for name in states}
    module = tf.Module()
    module.run = tf.function(_step_function(tf, arrays))  # its arguments' names are the signature's
    token = tf.TensorSpec([1], tf.int32, name="token")
    concrete = module.run.get_concrete_function(token, **specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    return bytes(converter.convert())


def _step_function(tf: Any, arrays: Arrays) -> Any:
    hidden = arrays["head.weight"].shape[1]
    halves = np.repeat(np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32), hidden)

    def laid(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        blocks = np.split(array, 4)
        return np.ascontiguousarray(np.concatenate([blocks[gate] for gate in ORDER]).T * halves)

    layers = [tuple(map(laid, layer)) for layer in lstm_layers(arrays)]
    table = layers[0][0] + layers[0][2]
    head, head_bias = np.ascontiguousarray(arrays["head.weight"].T), arrays["head.bias"]

    def step(token: Any, **state: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        below: Any = None
        for n, (given, recurrent, bias) in enumerate(layers):
            sums = tf.matmul(below, given) + bias if n else tf.gather(table, token)
            gates = tf.tanh(sums + tf.matmul(state[f"h{n}"], recurrent))
            i, f, o, g = tf.split(gates, 4, axis=1)
            c = (0.5 * f + 0.5) * state[f"c{n}"] + (0.5 * i + 0.5) * g
            below = (0.5 * o + 0.5) * tf.tanh(c)
            found |= {f"h{n}": below, f"c{n}": c}
        return {"logits": tf.matmul(below, head) + head_bias, **found}

    return step
