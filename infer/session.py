"""One step of many streams, with the state kept in place and nothing allocated on the way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ModelFileError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.infer.artifact import Model

Array = npt.NDArray[np.float32]


class Stepper:
    """Steps a batch of streams through a model.

    Inputs and outputs are bound once. There are two buffers for each of h and c, and two
    bindings that read one and write the other in turn, so that a step copies no state and, on
    CUDA, the state never leaves the device. Against passing arrays to `run`, binding took a
    quarter off the time of a step at batch 1 (see `benchmarks/NOTES.md`).

    Args:
        model: an open step graph.
        batch: number of streams.

    Attributes:
        token: int64 [batch], to be filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    def __init__(self, model: Model, batch: int) -> None:
        size, device = len(model.metadata.vocabulary), model.device
        shape = (batch, model.metadata.layers, model.metadata.hidden)
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits: Array = np.zeros((batch, size), dtype=np.float32)
        value = require_onnxruntime().OrtValue
        zeros = np.zeros(shape, dtype=np.float32)
        self._run = model.session._sess.run_with_iobinding
        self._token = value.ortvalue_from_numpy(self.token, device, 0)
        if device != "cpu":
            self._run = self._run_after_upload(self._run)
        # A copy each: on the CPU an OrtValue shares the array's memory.
        self._h = [value.ortvalue_from_numpy(zeros.copy(), device, 0) for _ in range(2)]
        self._c = [value.ortvalue_from_numpy(zeros.copy(), device, 0) for _ in range(2)]
        bindings = [self._bind(model.session, side) for side in range(2)]
        self._bindings = bindings  # hold what the raw bindings below refer to
        self._forth, self._back = (binding._iobinding for binding in bindings)
        self._current = 0  # which of the two buffers holds the state now

    def _bind(self, session: Any, side: int) -> Any:
        """A binding that reads the state from buffers `side` and writes it to the others."""
        binding = session.io_binding()
        logits = self.logits
        binding.bind_ortvalue_input(contract.TOKEN, self._token)
        binding.bind_ortvalue_input(contract.H, self._h[side])
        binding.bind_ortvalue_input(contract.C, self._c[side])
        binding.bind_output(contract.LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        binding.bind_ortvalue_output(contract.H_NEXT, self._h[1 - side])
        binding.bind_ortvalue_output(contract.C_NEXT, self._c[1 - side])
        return binding

    def _run_after_upload(self, run: Callable[..., None]) -> Callable[..., None]:
        """`run` for a device: its binding holds a copy of the token, which is renewed first."""
        token, on_device = self.token, self._token

        def upload_and_run(binding: Any, options: None) -> None:
            on_device.update_inplace(token)
            run(binding, options)

        return upload_and_run

    def step(self) -> None:
        """Read `token`, advance the state, write `logits`.

        Raises:
            ModelFileError: the graph can't be run, for example since it lacks a character.
        """
        # The raw call: the wrapper around it costs more than a tenth of a step.
        try:
            self._run(self._forth, None)
        except Exception as problem:
            reason = str(problem).strip().partition("\n")[0]
            raise ModelFileError(f"ONNX Runtime can't run the model: {reason}") from problem
        self._forth, self._back = self._back, self._forth
        self._current ^= 1

    def state(self) -> tuple[Array, Array]:
        """Copies of (h, c), each float32 [batch, layers, hidden]."""
        return (
            np.array(self._h[self._current].numpy()),
            np.array(self._c[self._current].numpy()),
        )

    def set_state(self, h: Array, c: Array) -> None:
        """Put the streams into a state, each float32 [batch, layers, hidden]."""
        self._h[self._current].update_inplace(np.ascontiguousarray(h, dtype=np.float32))
        self._c[self._current].update_inplace(np.ascontiguousarray(c, dtype=np.float32))


def check_finite(logits: Array) -> None:
    """Once a text: what is not finite stays so, and sampling would make a character of it.

    Raises:
        ModelFileError: infinite, or not a number.
    """
    if not np.isfinite(logits).all():
        raise ModelFileError("the model gives logits that are not finite: its weights are damaged")
