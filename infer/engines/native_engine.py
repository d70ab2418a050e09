"""Drawing and reading with charlm's own operator: many characters of many streams in a run."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.export import contract_native as native
from charlm.export.contract import (
    BYTE_VOCABULARY,
    C_NEXT,
    H_NEXT,
    INVERSE_TEMPERATURE,
    LENGTHS,
    LOG_PROBABILITY,
    LOGITS,
    MIN_P,
    POSITION,
    PROMPT,
    SCORED,
    SEED,
    STEPS,
    STREAM,
    TOKENS,
    TOP_K,
    TOP_P,
    C,
    H,
    Metadata,
)
from charlm.infer.engines.engine import Array, HostEngine, Primed, Tokens
from charlm.infer.engines.sequence import Ids, Read
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.sampling.sampling import Sampling

NOTHING = UniformStream(0, 0)
LONGEST_READ = 4096  # characters of each prompt in one run


class NativeEngine(HostEngine):
    """An `Engine` that draws a block of characters for all its streams in one run.

    Args:
        session: of the native graph.
        metadata: of the model.
    """

    def __init__(self, session: Any, metadata: Metadata) -> None:
        self._session, self._ids = session, id_type(metadata)

    def draw(self, numbers: Sequence[UniformStream], steps: int) -> Tokens:
        """See `Engine`."""
        blank = np.zeros((len(numbers), 0), dtype=self._ids)
        feed = _feed(self._h, self._c, blank, self._sampling, numbers)
        feed[STEPS] = np.array(steps)
        tokens: Tokens
        tokens, self._h, self._c = _run(self._session, [TOKENS, H_NEXT, C_NEXT], feed)
        for each in numbers:
            each.position += steps
        return tokens


class NativeReader:
    """A `Reader` of prompts of any lengths, and a `Sequence` of texts.

    Args:
        session: of the native graph.
        metadata: of the model.
    """

    def __init__(self, session: Any, metadata: Metadata) -> None:
        self._session, self._metadata = session, metadata

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        metadata, lengths = self._metadata, np.array([len(prompt) for prompt in prompts])
        h, c = np.zeros((2, len(prompts), metadata.layers, metadata.hidden), dtype=np.float32)
        logits = np.zeros((len(prompts), len(metadata.vocabulary)), dtype=np.float32)
        for place in range(0, int(lengths.max()), LONGEST_READ):
            rows = np.flatnonzero(lengths > place)  # of a long one only a part stands in memory
            parts = [prompts[row][place : place + LONGEST_READ] for row in rows.tolist()]
            counts = np.array([len(part) for part in parts], dtype=np.int64)
            ids = np.zeros((len(parts), int(counts.max())), dtype=id_type(metadata))
            for row, part in zip(ids, parts, strict=True):
                row[: len(part)] = part
            feed = self._reading(ids, counts, h[rows], c[rows])
            h[rows], c[rows], logits[rows] = _run(self._session, [H_NEXT, C_NEXT, LOGITS], feed)
        return Primed(h, c, logits)

    def run(self, ids: Ids, h: Array, c: Array) -> Read:
        """See `Sequence`."""
        lengths = np.full(len(ids), ids.shape[1] - 1)
        found_ids = np.ascontiguousarray(ids, dtype=id_type(self._metadata))
        feed = self._reading(found_ids, lengths, h, c) | {SCORED: np.array(True)}
        found, *after = _run(self._session, [LOG_PROBABILITY, H_NEXT, C_NEXT, LOGITS], feed)
        return Read(found[:, 1:], *after)

    def _reading(
        self, ids: Tokens, lengths: npt.NDArray[np.int64], h: Array, c: Array
    ) -> dict[str, npt.NDArray[Any]]:
        sampling = Sampling.same(len(ids), len(self._metadata.vocabulary))
        return _feed(h, c, ids, sampling, [NOTHING] * len(ids)) | {LENGTHS: lengths}


def id_type(metadata: Metadata) -> type[np.integer[Any]]:
    """The type of the ids that the operator takes and gives."""
    return np.uint8 if len(metadata.vocabulary) <= BYTE_VOCABULARY else np.int32


def _feed(
    h: Array, c: Array, prompt: Tokens, sampling: Sampling, numbers: Sequence[UniformStream]
) -> dict[str, npt.NDArray[Any]]:
    """All inputs, of a run that reads no more than its prompts' first 0 ids and draws nothing."""
    return {
        H: h,
        C: c,
        PROMPT: prompt,
        LENGTHS: np.zeros(len(h), dtype=np.int64),
        SCORED: np.array(False),
        STEPS: np.array(0),
        SEED: np.array([each.seed for each in numbers], dtype=np.uint64),
        STREAM: np.array([each.stream for each in numbers], dtype=np.uint64),
        POSITION: np.array([each.position for each in numbers], dtype=np.uint64),
        INVERSE_TEMPERATURE: sampling.inverse_temperature,
        TOP_K: sampling.top_k,
        TOP_P: sampling.top_p,
        MIN_P: sampling.min_p,
    }


def _run(session: Any, names: list[str], feed: dict[str, npt.NDArray[Any]]) -> list[Any]:
    with native_errors():
        outputs: list[Any] = session.run(names, feed)
    return outputs


@contextlib.contextmanager
def native_errors(where: str = "") -> Iterator[None]:
    """Turn what the operator says in the block into one line of ours.

    Raises:
        ModelFileError: it refused.
    """
    try:
        yield
    except Exception as problem:
        if not type(problem).__module__.startswith("onnxruntime"):
            raise
        line = str(problem).strip().partition("\n")[0]
        _, found, said = line.rpartition(f"{native.OPERATOR}: ")
        reason = said if found else f"ONNX Runtime can't run the model: {line}"
        raise ModelFileError(f"{where}: {reason}" if where else reason) from problem
