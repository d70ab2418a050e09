"""One step of many streams, with the state kept in place and nothing allocated on the way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ModelFileError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract_siblings import TARGETS, TOKENS
from charlm.infer.artifact import Model

Array = npt.NDArray[np.float32]


class Stepper:
    """Steps a batch of streams through a model.

    Inputs and outputs are bound once. There are two buffers for each of h and c, and two
    bindings that read one and write the other in turn, so that a step copies no state and, on
    CUDA, the state never leaves the device. Against passing arrays to `run`, binding took a
    quarter off the time of a step at batch 1 (see `benchmarks/NOTES.md`).

    With `fresh` rows the streams move on through the batch: a step reads the first `batch` rows of
    a buffer and writes their states that many rows further down in the other, so that the first
    rows are always zero, streams that begin, and the last ones fall out. Nothing is copied for it.

    Args:
        model: an open step graph.
        batch: number of streams.
        fresh: how many of them begin with each step; 0: all go on.
        sequence: a session of a sequence graph, which then steps in place of the model's own.

    Attributes:
        token: int64 [batch], to be filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    def __init__(self, model: Model, batch: int, fresh: int = 0, sequence: Any = None) -> None:
        size, device = len(model.metadata.vocabulary), model.device
        row = (model.metadata.layers, model.metadata.hidden)
        shape, self._rows = (fresh + batch, *row), (batch, *row)
        self._device, self._fresh = device, fresh
        # What a step reads: a sequence of one, of which no one asks what should follow.
        self._names = (TOKENS, TARGETS) if sequence else (contract.TOKEN,)
        session = sequence or model.session
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits: Array = np.zeros((batch, size), dtype=np.float32)
        value = require_onnxruntime().OrtValue
        zeros = np.zeros(shape, dtype=np.float32)
        self._run = session._sess.run_with_iobinding
        token = self.token[:, None] if sequence else self.token  # the same memory
        self._token = value.ortvalue_from_numpy(token, device, 0)
        if device != "cpu":
            self._run = self._run_after_upload(self._run, token)
        # A copy each: on the CPU an OrtValue shares the array's memory.
        self._h = [value.ortvalue_from_numpy(zeros.copy(), device, 0) for _ in range(2)]
        self._c = [value.ortvalue_from_numpy(zeros.copy(), device, 0) for _ in range(2)]
        bindings = [self._bind(session, side) for side in range(2)]
        self._bindings = bindings  # hold what the raw bindings below refer to
        self._forth, self._back = (binding._iobinding for binding in bindings)
        self._current = 0  # which of the two buffers holds the state now

    def _bind(self, session: Any, side: int) -> Any:
        """A binding that reads the state from buffers `side` and writes it to the others."""
        binding, logits = session.io_binding(), self.logits
        for name in self._names:
            binding.bind_ortvalue_input(name, self._token)
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
        binding.bind_input(name, self._device, 0, kind, rows, buffer.data_ptr())
        binding.bind_output(after, self._device, 0, kind, rows, other.data_ptr() + further)

    def _run_after_upload(
        self, run: Callable[..., None], token: npt.NDArray[np.int64]
    ) -> Callable[..., None]:
        """`run` for a device: its binding holds a copy of the token, which is renewed first."""
        on_device = self._token

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
