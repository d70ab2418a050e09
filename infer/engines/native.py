"""Drawing and reading with charlm's own operator: many characters of many streams in a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer.engines.base import Array, HostEngine, Primed, Read, Tokens, read_prompts
from charlm.infer.engines.pinned import PinnedMemory
from charlm.infer.model.open import native_errors
from charlm.infer.sampling.filters import Sampling

AFTER = [contract.H_NEXT, contract.C_NEXT, contract.LOGITS]
LONGEST_READ = 4096  # characters of each prompt in one run


class NativeEngine(HostEngine):
    """An `Engine` that draws a block of characters for all its streams in one run.

    Args:
        pinned: where a GPU puts what it draws.
    """

    def __init__(
        self, session: Any, metadata: Metadata, pinned: PinnedMemory | None = None
    ) -> None:
        self._run, self._metadata = _Run(session, metadata, pinned), metadata

    def draw(self, steps: int) -> Tokens:
        """See `Engine`."""
        blank = np.zeros((len(self._h), 0), dtype=id_type(self._metadata))
        feed = _feed(self._h, self._c, blank, self._sampling) | {contract.STEPS: np.array(steps)}
        tokens: Tokens
        tokens, self._h, self._c = self._run(
            feed, contract.TOKENS, contract.H_NEXT, contract.C_NEXT
        )
        self._sampling = self._sampling.moved(steps)
        return tokens


class NativeReader:
    """A `Reader` of prompts, a `TextReader`, and on the CPU a `Predictor`.

    Args:
        pinned: where texts stand for a GPU, and where it puts what it finds.
        longest: characters of each prompt in one run: of a long one only a part stands in memory.
    """

    def __init__(
        self,
        session: Any,
        metadata: Metadata,
        pinned: PinnedMemory | None = None,
        longest: int = LONGEST_READ,
    ) -> None:
        self._run, self._metadata = _Run(session, metadata, pinned), metadata
        self._pinned, self._longest = pinned, longest

    def read(self, prompts: Sequence[Tokens], before: Primed | None = None) -> Primed:
        """See `Reader`."""
        most = max(len(prompt) for prompt in prompts)
        borders = range(self._longest, most + self._longest, self._longest)
        return read_prompts(prompts, before, self._metadata, self._advance, borders)

    def _advance(self, ids: Tokens, counts: npt.NDArray[np.int64], state: Primed) -> Primed:
        return Primed(*self._run(self._reading(ids, counts, state.h, state.c), *AFTER))

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
        found, *after = self._run(feed, name, *AFTER)
        return found[:, 1:], *after  # the first is of what stands before all

    def _reading(
        self, ids: Tokens, counts: npt.NDArray[np.int64], h: Array, c: Array
    ) -> dict[str, npt.NDArray[Any]]:
        kind = id_type(self._metadata)
        if self._pinned:
            prompt = self._pinned.array(ids.shape, kind)
            prompt[:] = ids
        else:
            prompt = np.ascontiguousarray(ids, dtype=kind)
        sampling = Sampling.same(len(ids), len(self._metadata.vocabulary))
        return _feed(h, c, prompt, sampling) | {contract.LENGTHS: counts}


class _Run:
    """Calls a session for some of its outputs."""

    def __init__(self, session: Any, metadata: Metadata, pinned: PinnedMemory | None) -> None:
        self._session, self._pinned = session, pinned
        self._vocabulary = len(metadata.vocabulary)

    def __call__(self, feed: dict[str, npt.NDArray[Any]], *names: str) -> list[Any]:
        with native_errors():
            if self._pinned is None or contract.LOG_PROBABILITIES in names:  # which no GPU gives
                outputs: list[Any] = self._session.run(names, feed)
                return outputs
            found = self._room(self._pinned, feed, names)
            binding = self._session.io_binding()
            for name, array in feed.items():
                binding.bind_cpu_input(name, array)
            for name, array in found.items():
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            self._session.run_with_iobinding(binding)
        return list(found.values())

    def _room(
        self, pinned: PinnedMemory, feed: dict[str, npt.NDArray[Any]], names: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        h, prompt = feed[contract.H], feed[contract.PROMPT]
        shapes: dict[str, tuple[int, ...]] = {
            contract.TOKENS: (len(h), int(feed[contract.STEPS])),
            contract.LOG_PROBABILITY: prompt.shape,
            contract.LOGITS: (len(h), self._vocabulary),
            contract.H_NEXT: h.shape,
            contract.C_NEXT: h.shape,
        }
        types = {contract.TOKENS: prompt.dtype}
        return {name: pinned.array(shapes[name], types.get(name, np.float32)) for name in names}


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
