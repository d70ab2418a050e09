"""What cases share: the weights, an endless stream as a `Run`, and the same sampling for all."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.artifacts import WEIGHTS
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.infer.sampling.draw import Sampler
from charlm.infer.sampling.philox import UniformStream

Arrays = dict[str, npt.NDArray[Any]]


def run_of(stream: Iterator[str]) -> Run:
    """A `Run` that takes its characters from a stream without end."""
    return lambda count: "".join(islice(stream, count))


def load_weights(settings: CaseSettings) -> tuple[Arrays, npt.NDArray[Any], list[str]]:
    """The model's weights by Torch's names, the window that starts a text, and the characters.

    Raises:
        CaseFailedError: they could not be read out of the model.
    """
    with np.load(settings.artifact(WEIGHTS)) as file:
        arrays = dict(file)
    window = arrays.pop("window").astype(np.int64)
    characters = arrays.pop("characters").tolist()
    return arrays, window, characters


def drawer(logits: npt.NDArray[np.float32], settings: CaseSettings) -> Callable[[], int]:
    """Draws a token from `logits`, float32 [1, vocabulary], as they are at each call.

    charlm's own sampling for every case but the notebook's, so that only the models differ.
    """
    draw = Sampler(logits, settings.temperature).draw_one
    uniforms = iter(UniformStream(settings.seed, 0))
    return lambda: draw(next(uniforms))


def session(graph: bytes, settings: CaseSettings) -> Any:
    """An ONNX Runtime session on the CPU with the threads of the settings."""
    from charlm.data.system.extras import require_onnxruntime

    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
