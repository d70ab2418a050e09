"""Drawing and reading with charlm's own operator: many characters of many streams in a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer.engines.base import Array, HostEngine, Primed, Read, Tokens, read_prompts
from charlm.infer.model.open import native_errors
from charlm.infer.sampling.filters import Sampling

AFTER = [contract.H_NEXT, contract.C_NEXT, contract.LOGITS]
LONGEST_READ = 4096  # characters of each prompt in one run


class NativeEngine(HostEngine):
    """An `Engine` that draws a block of characters for all its streams in one run."""

    def __init__(self, session: Any, metadata: Metadata) -> None:
        self._session, self._ids = session, id_type(metadata)

    def draw(self, steps: int) -> Tokens:
        """See `Engine`."""
        blank = np.zeros((len(self._h), 0), dtype=self._ids)
        feed = _feed(self._h, self._c, blank, self._sampling) | {contract.STEPS: np.array(steps)}
        tokens: Tokens
        tokens, self._h, self._c = _run(
            self._session, [contract.TOKENS, contract.H_NEXT, contract.C_NEXT], feed
        )
        self._sampling = self._sampling.moved(steps)
        return tokens


class NativeReader:
    """A `Reader` of prompts, a `TextReader`, and on the CPU a `Predictor`.

    Args:
        longest: characters of each prompt in one run: of a long one only a part stands in memory.
    """

    def __init__(self, session: Any, metadata: Metadata, longest: int = LONGEST_READ) -> None:
        self._session, self._metadata, self._longest = session, metadata, longest

    def read(self, prompts: Sequence[Tokens], before: Primed | None = None) -> Primed:
        """See `Reader`."""
        most = max(len(prompt) for prompt in prompts)
        borders = range(self._longest, most + self._longest, self._longest)
        return read_prompts(prompts, before, self._metadata, self._advance, borders)

    def _advance(self, ids: Tokens, counts: npt.NDArray[np.int64], state: Primed) -> Primed:
        feed = self._reading(ids, counts, state.h, state.c)
        return Primed(*_run(self._session, AFTER, feed))

    def run(self, ids: Tokens, h: Array, c: Array) -> Read:
        """See `TextReader`."""
        found, h, c, logits = self._scored(1, contract.LOG_PROBABILITY, ids, h, c)
        return Read(h, c, logits, found)

    def predict(self, ids: Tokens, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """See `Predictor`."""
        return self._scored(2, contract.LOG_PROBABILITIES, ids, h, c)[:3]

    def _scored(
        self, scored: int, name: str, ids: Tokens, h: Array, c: Array
    ) -> tuple[Array, Array, Array, Array]:
        counts = np.full(len(ids), ids.shape[1] - 1)
        feed = self._reading(ids, counts, h, c) | {contract.SCORED: np.array(scored)}
        found, *after = _run(self._session, [name, *AFTER], feed)
        return found[:, 1:], *after  # the first is of what stands before all

    def _reading(
        self, ids: Tokens, counts: npt.NDArray[np.int64], h: Array, c: Array
    ) -> dict[str, npt.NDArray[Any]]:
        prompt = np.ascontiguousarray(ids, dtype=id_type(self._metadata))
        sampling = Sampling.same(len(ids), len(self._metadata.vocabulary))
        return _feed(h, c, prompt, sampling) | {contract.LENGTHS: counts}


def id_type(metadata: Metadata) -> type[np.integer[Any]]:
    """The type of the ids that the operator takes and gives."""
    return np.uint8 if len(metadata.vocabulary) <= contract.BYTE_VOCABULARY else np.int32


def _feed(h: Array, c: Array, prompt: Tokens, sampling: Sampling) -> dict[str, npt.NDArray[Any]]:
    """All inputs, of a run that reads no more than its prompts' first 0 ids and draws nothing."""
    return {
        contract.H: h,
        contract.C: c,
        contract.PROMPT: prompt,
        contract.LENGTHS: np.zeros(len(h), dtype=np.int64),
        contract.SCORED: np.array(0),
        contract.STEPS: np.array(0),
        **sampling.inputs(),
    }


def _run(session: Any, names: list[str], feed: dict[str, npt.NDArray[Any]]) -> list[Any]:
    with native_errors():
        outputs: list[Any] = session.run(names, feed)
    return outputs
