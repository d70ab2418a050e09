"""Reading texts in whole runs: by charlm's operator, a sequence graph, or step by step."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.export import contract
from charlm.export.contract import (
    C_NEXT,
    H_NEXT,
    LOG_PROBABILITY,
    LOGITS,
    SEQUENCE,
    TARGETS,
    TOKENS,
    C,
    H,
)
from charlm.infer.engines.session import Stepper
from charlm.infer.model.artifact import PRECISIONS, Model
from charlm.infer.planning.work import ONLY_ON

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[Any]  # of any integer type

# Characters in one run: a single text gains nothing from longer runs than 1,024, many texts nothing
# from longer than 16 each.
CELLS = {"cpu": 4096, "cuda": 1 << 22}
LONGEST_RUN = 1024
MOST_NUMBERS = 1 << 22  # in the largest array of a run, 16 MiB, where a vocabulary is large


@dataclass(frozen=True)
class Read:
    """What a run gives.

    Attributes:
        log_probability: float32 [batch, time], of each character after one that was read, natural
            logarithm.
        h, c: float32 [batch, layers, hidden], after the last character read.
        logits: float32 [batch, vocabulary], after it too.
    """

    log_probability: Array
    h: Array
    c: Array
    logits: Array


class Sequence(Protocol):
    """Reads a batch of texts; states go in and come out."""

    def run(self, ids: Ids, h: Array, c: Array) -> Read:
        """Read all but the last character of every text, and judge all but the first.

        Args:
            ids: [batch, time + 1], at least two characters.
            h, c: float32 [batch, layers, hidden], the state before the first.

        Raises:
            ModelFileError: the graph can't be run, for example since memory does not hold it.
        """


class GraphSequence:
    """A `Sequence` that runs a sequence graph; several threads may share it.

    Args:
        session: of the graph.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, ids: Ids, h: Array, c: Array) -> Read:
        """See `Sequence`."""
        wide = ids.astype(np.int64)
        given: dict[str, npt.NDArray[Any]] = {
            TOKENS: wide[:, :-1],
            TARGETS: wide[:, 1:],
            H: h,
            C: c,
        }
        with contract.runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            read = Read(*self._session.run([LOG_PROBABILITY, H_NEXT, C_NEXT, LOGITS], given))
        if (*read.log_probability.shape, *read.h.shape) != (*given[TARGETS].shape, *h.shape):
            raise ModelFileError(
                "the graph that reads texts gives other figures than were asked for: "
                "write it anew with charlm-export"
            )
        return read


class StepSequence:
    """A `Sequence` for a model without other graphs: the step graph, character by character.

    Args:
        model: an open step graph.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stepper = Stepper(model, 1)

    def run(self, ids: Ids, h: Array, c: Array) -> Read:
        """See `Sequence`."""
        batch, time = len(ids), ids.shape[1] - 1
        if len(self._stepper.token) != batch:
            self._stepper = Stepper(self._model, batch)
        stepper = self._stepper
        stepper.set_state(h, c)
        logits = np.empty((time, *stepper.logits.shape), dtype=np.float32)
        for row, column in zip(logits, np.ascontiguousarray(ids[:, :-1].T), strict=True):
            stepper.token[:] = column
            stepper.step()
            row[:] = stepper.logits
        found = _log_probability(logits, np.ascontiguousarray(ids[:, 1:].T, dtype=np.int64))
        return Read(found.T, *stepper.state(), logits[-1])


def _log_probability(logits: Array, targets: Ids) -> Array:
    """Of each target, [time, batch]."""
    wide = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(wide, targets[..., None], axis=-1)[..., 0]
    found: Array = chosen - np.log(np.exp(wide).sum(axis=-1))
    return found


def open_sequence(model: Model, precision: str = "float32", threads: int = 1) -> Sequence:
    """What reads texts, the fastest that the model and this machine allow.

    Args:
        model: an open model.
        precision: `float32`; `int8` where the native operator is, `fp16` on CUDA.
        threads: CPU threads of its session.

    Raises:
        SettingsError: the precision is unknown, or can't be had here.
        ModelFileError: it costs too much, or a graph is damaged or of other weights.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    model.metadata.check_loss(precision)
    if model.uses_native(precision):
        from charlm.infer.engines.native_engine import NativeReader

        return NativeReader(model.native(precision, threads), model.metadata)
    if precision == "float32":
        if SEQUENCE in model.siblings:
            return GraphSequence(model.siblings.session(SEQUENCE, threads))
        return StepSequence(model)
    needed = ONLY_ON[precision]
    if model.device != needed:
        raise SettingsError(f"--precision {precision} runs with --provider {needed} only")
    raise SettingsError(f"--precision {precision} can't be had: {model.without_native}")


def run_length(batch: int, model: Model) -> int:
    """How many characters of each text one run should read: long enough, in bounded memory."""
    cells = CELLS[model.device]
    if model.device == "cpu":
        widest = max(len(model.metadata.vocabulary), 4 * model.metadata.hidden)
        cells = min(cells, MOST_NUMBERS // widest)
    return max(1, min(LONGEST_RUN, cells // batch))
