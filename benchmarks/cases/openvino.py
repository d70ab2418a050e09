"""OpenVINO's step loop, on charlm's own step graph.

Two requests read and write two pairs of state buffers in turn, as charlm's own loop does, and are
run through the lowest call that the package has. A model built natively was no faster: from
LSTMCell slower (22 µs against 16 at batch 1), from the cell's single operations the same.
"""

from typing import Any

import numpy as np

from charlm.benchmarks.cases.common import load_weights, run_of_steps
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.data.system.cores import usable_cores
from charlm.data.system.extras import require
from charlm.export import contract


def step(settings: CaseSettings) -> Run:
    """Compile the graph for the settings' batch and read the prompt.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = require("openvino", "bench")
    _, prompt, characters = load_weights(settings)
    return run_of_steps(OpenvinoSteps(openvino, settings), prompt, characters, settings)


class OpenvinoSteps:
    """`Steps` by two inference requests whose buffers are bound once, crosswise."""

    def __init__(self, openvino: Any, settings: CaseSettings) -> None:
        compiled = _compile(openvino, settings)
        _, layers, hidden = compiled.input(contract.H).shape
        vocabulary, batch = compiled.output(contract.LOGITS).shape[1], settings.batch
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits = np.zeros((batch, vocabulary), dtype=np.float32)
        shape = (batch, layers, hidden)
        shared = {"token": self.token, "logits": self.logits} | {
            f"{name}{side}": np.zeros(shape, dtype=np.float32) for name in "hc" for side in range(2)
        }
        self._tensors = {
            name: openvino.Tensor(array, shared_memory=True) for name, array in shared.items()
        }
        requests = [self._request(compiled, side) for side in range(2)]
        infer = openvino._pyopenvino.InferRequest.infer
        current = 0

        def once() -> None:
            nonlocal current
            infer(requests[current], {}, True, True)
            current ^= 1

        self.step = once

    def _request(self, compiled: Any, side: int) -> Any:
        request, tensors, other = compiled.create_infer_request(), self._tensors, 1 - side
        for name, tensor in (
            (contract.TOKEN, "token"), (contract.H, f"h{side}"), (contract.C, f"c{side}"),
            (contract.LOGITS, "logits"), (contract.H_NEXT, f"h{other}"),
            (contract.C_NEXT, f"c{other}"),
        ):  # fmt: skip
            request.set_tensor(name, tensors[tensor])
        return request


def _compile(openvino: Any, settings: CaseSettings) -> Any:
    core = openvino.Core()
    model = core.read_model(settings.model)
    shapes = {port.any_name: port.partial_shape for port in model.inputs}
    fixed = {
        name: [settings.batch, *[size.get_length() for size in list(shape)[1:]]]
        for name, shape in shapes.items()
    }
    model.reshape(fixed)
    threads = settings.threads or usable_cores()
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would otherwise get bfloat16
        "ENABLE_CPU_PINNING": False,  # the benchmark has pinned the process already
    }
    return core.compile_model(model, "CPU", hints)
