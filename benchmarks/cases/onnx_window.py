"""The notebook's window in ONNX Runtime: one call of the LSTM operator over 40 characters."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.artifacts import WINDOW
from charlm.benchmarks.cases.common import drawer, load_weights, run_of, session
from charlm.benchmarks.harness.settings import CaseSettings, Run


def prepare(settings: CaseSettings) -> Run:
    """Open the window graph; input and output are bound once, as in charlm's own loop."""
    graph = settings.artifact(WINDOW).read_bytes()
    _, window, characters = load_weights(settings)
    return run_of(stream(session(graph, settings), window, characters, settings))


def stream(
    model: Any, window: npt.NDArray[Any], characters: list[str], settings: CaseSettings
) -> Iterator[str]:
    """Characters without end after `window`, int64 [40]."""
    tokens = window[:, None].copy()
    logits = np.zeros((1, len(characters)), dtype=np.float32)
    binding = model.io_binding()
    binding.bind_input("tokens", "cpu", 0, np.int64, tokens.shape, tokens.ctypes.data)
    binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
    run, bound = model._sess.run_with_iobinding, binding._iobinding
    draw = drawer(logits, settings)
    while True:
        run(bound, None)
        drawn = draw()
        yield characters[drawn]
        tokens[:-1] = tokens[1:]
        tokens[-1] = drawn
