"""The step as a LiteRT graph (.tflite), by TensorFlow's converter; runs in the artifacts' process.

Laid out for XNNPACK: one product for all gates, halved weights so that one Tanh serves them all
(sigmoid x = tanh(x / 2) / 2 + 1/2), the input product an index into a table. It was as fast as
four products or a Sigmoid, and faster where there is no XNNPACK.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.extras import require

Arrays = Mapping[str, npt.NDArray[Any]]
ORDER = (0, 1, 3, 2)  # Torch's gates i, f, g, o as i, f, o, g


def build(arrays: Arrays) -> bytes:
    """A graph `token` int32 [batch], `h0`, `c0`, ... [batch, hidden] -> `logits`, `h0`, `c0`, ...

    Args:
        arrays: the state of a `CharLSTM`, by Torch's names.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tf = _tensorflow()
    hidden = arrays["head.weight"].shape[1]
    step = _step_function(tf, _layers(arrays), arrays)
    count = sum(name.startswith("lstm.weight_hh") for name in arrays)
    states = [f"{kind}{layer}" for layer in range(count) for kind in "hc"]
    specs = {name: tf.TensorSpec([1, hidden], tf.float32, name=name) for name in states}
    return _convert(tf, step, tf.TensorSpec([1], tf.int32, name="token"), specs)


def _layers(arrays: Arrays) -> list[dict[str, npt.NDArray[Any]]]:
    """Of each layer what its input, its h and its bias are worth, ready for one Tanh."""
    count = sum(name.startswith("lstm.weight_hh") for name in arrays)
    hidden = arrays["head.weight"].shape[1]
    halves = np.repeat(np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32), hidden)

    def laid(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        blocks = np.split(array, 4)
        return np.ascontiguousarray(np.concatenate([blocks[gate] for gate in ORDER]).T * halves)

    return [
        {
            "input": laid(arrays[f"lstm.weight_ih_l{n}"]),
            "recurrent": laid(arrays[f"lstm.weight_hh_l{n}"]),
            "bias": laid(arrays[f"lstm.bias_ih_l{n}"] + arrays[f"lstm.bias_hh_l{n}"]),
        }
        for n in range(count)
    ]


def _step_function(tf: Any, layers: list[dict[str, npt.NDArray[Any]]], arrays: Arrays) -> Any:
    table = layers[0]["input"] + layers[0]["bias"]
    head, head_bias = np.ascontiguousarray(arrays["head.weight"].T), arrays["head.bias"]

    def step(token: Any, **state: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        below: Any = None
        for number, layer in enumerate(layers):
            given = (
                tf.gather(table, token)
                if number == 0
                else tf.matmul(below, layer["input"]) + layer["bias"]
            )
            gates = tf.tanh(given + tf.matmul(state[f"h{number}"], layer["recurrent"]))
            i, f, o, g = tf.split(gates, 4, axis=1)
            c = (0.5 * f + 0.5) * state[f"c{number}"] + (0.5 * i + 0.5) * g
            below = (0.5 * o + 0.5) * tf.tanh(c)
            found |= {f"h{number}": below, f"c{number}": c}
        return {"logits": tf.matmul(below, head) + head_bias, **found}

    return step


def _convert(tf: Any, function: Any, token: Any, specs: dict[str, Any]) -> bytes:
    """The .tflite file of a function; the names of its arguments become its signature's."""
    module = tf.Module()
    module.run = tf.function(function)
    first = () if token is None else (token,)
    concrete = module.run.get_concrete_function(*first, **specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    return bytes(converter.convert())


def _tensorflow() -> Any:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = require("tensorflow", "bench")
    tf.get_logger().setLevel("ERROR")
    return tf
