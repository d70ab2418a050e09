"""LiteRT's step loop (TensorFlow Lite, with XNNPACK), on a graph that `litert_graph` wrote."""

from typing import Any

import numpy as np

from charlm.benchmarks.artifacts import LITERT_STEP
from charlm.benchmarks.cases.common import load_weights
from charlm.benchmarks.cases.stepping import run_of_steps
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.data.system.cores import usable_cores
from charlm.data.system.extras import require


def prepare(settings: CaseSettings) -> Run:
    """Open the graph for the settings' batch and read the prompt.

    Raises:
        MissingExtraError: LiteRT is not installed.
        CaseFailedError: the graph could not be made.
    """
    interpreter = open_interpreter(LITERT_STEP, settings)
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
        self._pairs = [(inputs[name], outputs[name]) for name in inputs]
        invoke = interpreter._interpreter.Invoke  # `invoke` looks for views first, and finds ours
        pairs = self._pairs

        def once() -> None:
            invoke()
            for before, after in pairs:
                before[:] = after

        self.step = once


def open_interpreter(name: str, settings: CaseSettings) -> Any:
    """An interpreter of a derived file, sized for the settings' batch, its inputs zero.

    Raises:
        MissingExtraError: LiteRT is not installed.
        CaseFailedError: the file could not be made.
    """
    module = require("ai_edge_litert.interpreter", "bench")
    threads = settings.threads or usable_cores()
    interpreter = module.Interpreter(str(settings.artifact(name)), num_threads=threads)
    for each in interpreter.get_input_details():
        interpreter.resize_tensor_input(each["index"], [settings.batch, *each["shape"][1:]])
    interpreter.allocate_tensors()
    for each in interpreter.get_input_details():
        interpreter.set_tensor(each["index"], np.zeros(each["shape"], each["dtype"]))
    return interpreter


def _views(interpreter: Any, details: list[dict[str, Any]]) -> dict[str, Any]:
    """The tensors by the names of the signature's arguments, as arrays over their own memory."""
    (signature,) = interpreter._get_full_signature_list().values()
    names = {
        index: name for part in ("inputs", "outputs") for name, index in signature[part].items()
    }
    return {names[each["index"]]: interpreter.tensor(each["index"])() for each in details}
