"""Reading without the native operator: texts by a sequence graph or step by step, and prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.export import contract
from charlm.export.contract import C_NEXT, H_NEXT, LOG_PROBABILITY, LOGITS, TARGETS, TOKENS, C, H
from charlm.infer.engines.base import (
    Array,
    Primed,
    Read,
    TextReader,
    Tokens,
    log_softmax,
    read_in_runs,
    read_prompts,
)
from charlm.infer.engines.step import Stepper, WindowStepper
from charlm.infer.model.open import Model


class GraphTextReader:
    """A `TextReader` that runs a sequence graph; several threads may share it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, ids: Tokens, h: Array, c: Array) -> Read:
        """See `TextReader`."""
        wide = ids.astype(np.int64)
        given: dict[str, Tokens] = {TOKENS: wide[:, :-1], TARGETS: wide[:, 1:], H: h, C: c}
        outputs = [H_NEXT, C_NEXT, LOGITS, LOG_PROBABILITY]
        with contract.runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            read = Read(*self._session.run(outputs, given))
        if (*read.log_probability.shape, *read.h.shape) != (*given[TARGETS].shape, *h.shape):
            raise ModelFileError(
                "the graph that reads texts gives other figures than were asked for: "
                "write it anew with charlm-export"
            )
        return read


class StepTextReader:
    """A `TextReader` and `Predictor` by the step graph alone, character by character."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stepper = Stepper(model, 1)

    def run(self, ids: Tokens, h: Array, c: Array) -> Read:
        """See `TextReader`."""
        logits, h, c = self._logits(ids, h, c)
        targets = ids[:, 1:, None].astype(np.int64)
        found = np.take_along_axis(log_softmax(logits), targets, axis=-1)[..., 0]
        return Read(h, c, logits[:, -1], found)

    def predict(self, ids: Tokens, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """See `Predictor`."""
        logits, h, c = self._logits(ids, h, c)
        return log_softmax(logits), h, c

    def _logits(self, ids: Tokens, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """After every character but the last, [batch, time, vocabulary]; the state after those."""
        batch, time = len(ids), ids.shape[1] - 1
        if len(self._stepper.token) != batch:
            self._stepper = Stepper(self._model, batch)
        stepper = self._stepper
        stepper.set_state(h, c)
        logits = np.empty((batch, time, stepper.logits.shape[1]), dtype=np.float32)
        for place in range(time):
            stepper.token[:] = ids[:, place]
            stepper.step()
            logits[:, place] = stepper.logits
        return logits, *stepper.state()


class PromptReader:
    """A `Reader` in whole runs, by what reads texts."""

    def __init__(self, model: Model, texts: TextReader) -> None:
        self._model, self._texts = model, texts

    def read(self, prompts: Sequence[Tokens], before: Primed | None = None) -> Primed:
        """See `Reader`."""
        return read_prompts(prompts, before, self._model.metadata, self._advance)

    def _advance(self, ids: Tokens, counts: npt.NDArray[np.int64], state: Primed) -> Primed:
        del counts  # all alike
        followed = np.concatenate((ids, ids[:, -1:]), axis=1)  # nothing is asked of the last
        for _, read in read_in_runs(self._texts, self._model, followed, state.h, state.c):
            state = read
        return state


class WindowReader:
    """A `Reader` for windows: of a prompt only the last `window` characters are read."""

    def __init__(self, model: Model, window: int) -> None:
        self._model, self._window = model, window

    def read(self, prompts: Sequence[Tokens], before: Primed | None = None) -> Primed:
        """See `Reader`."""
        cut, metadata = [prompt[-self._window :] for prompt in prompts], self._model.metadata
        return read_prompts(cut, before, metadata, self._advance, window=(self._window,))

    def _advance(self, ids: Tokens, counts: npt.NDArray[np.int64], state: Primed) -> Primed:
        del counts  # all alike
        stepper = WindowStepper(self._model, len(ids), self._window)
        stepper.set_state(state.h, state.c)
        for column in ids.T:
            stepper.token[:] = column
            stepper.step()
        return Primed(*stepper.state(), stepper.logits.copy())
