"""One step of many streams, with the state kept in place and nothing allocated on the way."""

from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract
from charlm.infer.model.artifact import Model

Array = npt.NDArray[np.float32]


class Stepper:
    """Steps a batch of streams through a model.

    Inputs and outputs are bound once. There are two buffers for each of h and c, and two
    bindings that read one and write the other in turn, so that a step copies no state. Against
    passing arrays to `run`, binding took a quarter off the time of a step at batch 1 (see
    `benchmarks/NOTES.md`).

    With `fresh` rows the streams move on through the batch: a step reads the first `batch` rows of
    a buffer and writes their states that many rows further down in the other, so that the first
    rows are always zero, streams that begin, and the last ones fall out. Nothing is copied for it.

    Args:
        model: an open step graph.
        batch: number of streams.
        fresh: how many of them begin with each step; 0: all go on.

    Attributes:
        token: int64 [batch], to be filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    def __init__(self, model: Model, batch: int, fresh: int = 0) -> None:
        size = len(model.metadata.vocabulary)
        row = (model.metadata.layers, model.metadata.hidden)
        shape, self._rows = (fresh + batch, *row), (batch, *row)
        self._fresh, session = fresh, model.session
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits: Array = np.zeros((batch, size), dtype=np.float32)
        value = require_onnxruntime().OrtValue
        zeros = np.zeros(shape, dtype=np.float32)
        self._run = session.run_with_iobinding
        self._token = value.ortvalue_from_numpy(self.token)
        # A copy each: an OrtValue shares the array's memory.
        self._h = [value.ortvalue_from_numpy(zeros.copy()) for _ in range(2)]
        self._c = [value.ortvalue_from_numpy(zeros.copy()) for _ in range(2)]
        self._forth, self._back = (self._bind(session, side) for side in range(2))
        self._current = 0  # which of the two buffers holds the state now

    def _bind(self, session: Any, side: int) -> Any:
        """A binding that reads the state from buffers `side` and writes it to the others."""
        binding, logits = session.io_binding(), self.logits
        binding.bind_ortvalue_input(contract.TOKEN, self._token)
        binding.bind_output(contract.LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        for name, after, pair in (
            (contract.H, contract.H_NEXT, self._h),
            (contract.C, contract.C_NEXT, self._c),
        ):
            if self._fresh:
                self._bind_moving(binding, (name, pair[side]), (after, pair[1 - side]))
            else:
                binding.bind_ortvalue_input(name, pair[side])
                binding.bind_ortvalue_output(after, pair[1 - side])
        return binding

    def _bind_moving(self, binding: Any, given: tuple[str, Any], made: tuple[str, Any]) -> None:
        """Read the first rows of a buffer, and write all but the fresh ones of the other."""
        rows, kind = self._rows, np.float32
        further = self._fresh * kind().nbytes * rows[1] * rows[2]
        (name, buffer), (after, other) = given, made
        binding.bind_input(name, "cpu", 0, kind, rows, buffer.data_ptr())
        binding.bind_output(after, "cpu", 0, kind, rows, other.data_ptr() + further)

    def step(self) -> None:
        """Read `token`, advance the state, write `logits`.

        Raises:
            ModelFileError: the graph can't be run, for example since it lacks a character.
        """
        with contract.runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            self._run(self._forth)
        self._forth, self._back = self._back, self._forth
        self._current ^= 1

    def state(self) -> tuple[Array, Array]:
        """Copies of (h, c) after the last step, each float32 [batch, layers, hidden]."""
        return (
            np.array(self._h[self._current].numpy()[self._fresh :]),
            np.array(self._c[self._current].numpy()[self._fresh :]),
        )

    def set_state(self, h: Array, c: Array) -> None:
        """Put the streams into a state, each float32 [batch, layers, hidden]."""
        for pair, state in ((self._h, h), (self._c, c)):
            if self._fresh:
                state = np.concatenate(
                    (np.zeros((self._fresh, *self._rows[1:]), state.dtype), state)
                )
            pair[self._current].update_inplace(np.ascontiguousarray(state, dtype=np.float32))


def check_finite(logits: Array) -> None:
    """Once a text: what is not finite stays so, and sampling would make a character of it.

    Raises:
        ModelFileError: infinite, or not a number.
    """
    if not np.isfinite(logits).all():
        raise ModelFileError("the model gives logits that are not finite: its weights are damaged")
