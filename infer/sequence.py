"""Reading texts in whole runs of a sequence graph; where a model has none, step by step."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export import contract
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H, Metadata
from charlm.export.contract_siblings import (
    LOG_PROBABILITY,
    SEQUENCE,
    SEQUENCE_BATCH,
    SEQUENCE_FP16,
    SEQUENCE_INT8,
    TARGETS,
    TOKENS,
    Kind,
)
from charlm.infer.artifact import Model
from charlm.infer.session import Stepper

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# One core, LSTM-192, thousands of characters/s, the operator's form against the Scan's: 178 and
# 123 for 1 text, 393 and 344 for 4, 423 and 413 for 6, 380 and 399 for 8, 405 and 532 for 64.
FEW_TEXTS = 7

# Characters in one run. A single text gains 10 % from runs of 256 characters against 64, and
# nothing from longer ones; 64 and 256 texts are as fast in runs of 16 characters as in longer.
CELLS = 4096
LONGEST_RUN = 1024
MOST_NUMBERS = 1 << 22  # in the largest array of a run, 16 MiB, where a vocabulary is large

_KINDS = {
    "float32": (SEQUENCE, SEQUENCE_BATCH),
    "int8": (SEQUENCE_INT8,),
    "fp16": (SEQUENCE_FP16,),
}


@dataclass(frozen=True)
class Read:
    """What a run gives.

    Attributes:
        log_probability: float32 [batch, time], of each target, natural logarithm.
        logits: float32 [batch, vocabulary], after the last character.
        h, c: float32 [batch, layers, hidden], after the last character.
    """

    log_probability: Array
    logits: Array
    h: Array
    c: Array


class Sequence(Protocol):
    """Reads a batch of texts; states go in and come out."""

    def run(self, tokens: Ids, targets: Ids, h: Array, c: Array) -> Read:
        """Read every text at once.

        Args:
            tokens: int64 [batch, time], what is read, at least one character.
            targets: int64 [batch, time], what should follow each.
            h, c: float32 [batch, layers, hidden], the state before.

        Raises:
            ModelFileError: the graph can't be run, for example since memory does not hold it.
        """


class GraphSequence:
    """A `Sequence` that runs a sibling graph, which one by the number of texts.

    Sessions run in several threads at once, so this may be shared among them.

    Args:
        few: session for few texts.
        many: session for many.
    """

    def __init__(self, few: Any, many: Any) -> None:
        self._few, self._many = few, many

    def run(self, tokens: Ids, targets: Ids, h: Array, c: Array) -> Read:
        """See `Sequence`."""
        session = self._few if len(tokens) <= FEW_TEXTS else self._many
        # Binding buffers of our own gains nothing that can be measured, a run is long.
        given = {TOKENS: tokens, TARGETS: targets, H: h, C: c}
        with contract.runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            outputs = session.run([LOG_PROBABILITY, LOGITS, H_NEXT, C_NEXT], given)
        return Read(*outputs)


class StepSequence:
    """A `Sequence` for a model without siblings: the step graph, character by character.

    Args:
        model: an open step graph.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stepper = Stepper(model, 1)

    def run(self, tokens: Ids, targets: Ids, h: Array, c: Array) -> Read:
        """See `Sequence`."""
        batch, time = tokens.shape
        if len(self._stepper.token) != batch:
            self._stepper = Stepper(self._model, batch)
        stepper = self._stepper
        stepper.set_state(h, c)
        logits = np.empty((time, *stepper.logits.shape), dtype=np.float32)
        for row, column in zip(logits, np.ascontiguousarray(tokens.T), strict=True):
            stepper.token[:] = column
            stepper.step()
            row[:] = stepper.logits
        found = _log_probability(logits, np.ascontiguousarray(targets.T))
        return Read(found.T, logits[-1], *stepper.state())


def _log_probability(logits: Array, targets: Ids) -> Array:
    """Of each target, [time, batch]."""
    wide = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(wide, targets[..., None], axis=-1)[..., 0]
    found: Array = chosen - np.log(np.exp(wide).sum(axis=-1))
    return found


def kinds_for(precision: str) -> tuple[Kind, ...]:
    """The kinds that read a text in a precision: for few texts first, for many last.

    Raises:
        SettingsError: no such precision.
    """
    if precision not in _KINDS:
        raise SettingsError(f"--precision is one of {', '.join(_KINDS)}, not {precision!r}")
    return _KINDS[precision]


def open_sequence(
    model: Model, texts: int, precision: str = "float32", threads: int = 1
) -> Sequence:
    """What reads up to `texts` texts at once, the fastest that the model's siblings allow.

    Args:
        model: an open model.
        texts: the most that will be read at once.
        precision: `float32`, or another whose sibling stands beside the model.
        threads: CPU threads of each session.

    Raises:
        SettingsError: the precision is unknown, or the model has no graph of it.
        ModelFileError: a sibling is damaged or of other weights.
    """
    kinds = kinds_for(precision)
    there = [kind for kind in kinds if kind in model.siblings]
    if model.device == "cuda":
        there = there[:1]  # a Scan is driven from the host
    if not there:
        if precision == "float32":
            return StepSequence(model)
        raise SettingsError(
            f"the model has no {precision} graph for whole texts (a sibling {kinds[0].name!r}): "
            f"export it with --{precision}"
        )
    few = model.siblings.session(there[0], threads)
    many = few if texts <= FEW_TEXTS else model.siblings.session(there[-1], threads)
    return GraphSequence(few, many)


def run_length(batch: int, metadata: Metadata) -> int:
    """How many characters of each text one run should read: long enough, in bounded memory."""
    widest = max(len(metadata.vocabulary), 4 * metadata.hidden)
    cells = min(CELLS, MOST_NUMBERS // widest)
    return max(1, min(LONGEST_RUN, cells // batch))
