"""Drawing step by step: the state is kept in place, and the character is chosen in NumPy."""

from typing import Any

import numpy as np

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract
from charlm.infer.engines.base import Array, HostEngine, Primed, Tokens
from charlm.infer.model.open import Model
from charlm.infer.sampling.draw import Sampler
from charlm.infer.sampling.filters import Sampling
from charlm.infer.sampling.philox import take_block


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


class WindowStepper:
    """A `Stepper` whose logits follow from exactly the last `window` characters, from zero.

    The notebook that charlm grew out of reads its window anew for each character: `window` steps,
    one after another. Here a stream has `window` states, begun at successive characters. One step
    of a batch gives the new character to all of them; the oldest has then read `window` of them,
    its logits are what is asked for, and a state of zeros takes its place. The work for a character
    is the same, `window` rows times the recurrent weights, but as one matrix product, which reads
    the weights once and pays for one call: with LSTM-192, a window of 40 and one core 0.2 ms,
    little more than NumPy takes for that product, where 40 steps of one LSTM operator take 0.6 ms.
    No two windows share a state, so an exact way can't do with fewer rows. Only the output layer
    works for nothing: the step graph has logits of all rows, and one a stream is read.

    While a text is shorter than the window, its older states have all read it from its beginning.

    Attributes:
        token: int64 [batch], to be filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    def __init__(self, model: Model, batch: int, window: int) -> None:
        self._all = Stepper(model, batch * window, fresh=batch)
        self._shape = (window, batch, model.metadata.layers, model.metadata.hidden)
        self._tokens = self._all.token.reshape(window, batch)
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits: Array = self._all.logits[-batch:]  # the oldest states stand last

    def step(self) -> None:
        """Read `token`, advance the states, write `logits`.

        Raises:
            ModelFileError: see `Stepper.step`.
        """
        self._tokens[:] = self.token
        self._all.step()

    def state(self) -> tuple[Array, Array]:
        """Copies of (h, c), each float32 [batch, window, layers, hidden], the oldest last."""
        h, c = (each.reshape(self._shape).swapaxes(0, 1) for each in self._all.state())
        return h, c

    def set_state(self, h: Array, c: Array) -> None:
        """Put the streams into a state that `state` gave, or into some streams of it."""
        shape = (-1, *self._shape[2:])
        self._all.set_state(*(each.swapaxes(0, 1).reshape(shape) for each in (h, c)))


def stepper_of(model: Model, batch: int, window: int | None) -> Stepper | WindowStepper:
    """A stepper of so many streams."""
    if window is not None:
        return WindowStepper(model, batch, window)
    return Stepper(model, batch)


class StepEngine(HostEngine):
    """An `Engine` that runs the step graph and samples in NumPy.

    Args:
        window: characters that each is drawn from, see `WindowStepper`; None: all before it.
    """

    def __init__(self, model: Model, window: int | None = None) -> None:
        self._model, self._window = model, window
        self._batch = 0  # streams that the stepper has room for

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        count = len(primed.logits)
        if count != self._batch:
            self._batch, self._stepper = count, stepper_of(self._model, count, self._window)
        self._stepper.set_state(primed.h, primed.c)
        self._stepper.logits[:] = primed.logits
        self._sampling, self._numbers = sampling, sampling.numbers()
        self._sampler = Sampler(self._stepper.logits, sampling)

    def draw(self, steps: int) -> Tokens:
        """See `Engine`."""
        stepper = self._stepper
        token, step = stepper.token, stepper.step
        uniform = np.ascontiguousarray(take_block(self._numbers, steps).T)
        self._sampling = self._sampling.moved(steps)
        drawn = np.empty(uniform.shape, dtype=np.int64)
        if uniform.shape[1] == 1:
            draw_one = self._sampler.draw_one
            for place, chosen in enumerate(uniform[:, 0]):
                token[0] = drawn[place] = draw_one(chosen)
                step()
            return drawn.T
        draw = self._sampler.draw
        for row, chosen in zip(drawn, uniform, strict=True):
            token[:] = row[:] = draw(chosen)
            step()
        return drawn.T

    def held(self) -> Primed:
        """See `Engine`."""
        return Primed(*self._stepper.state(), self._stepper.logits.copy())
