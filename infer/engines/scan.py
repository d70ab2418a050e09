"""Many steps in one run: an engine on the generate graph, its streams shared out over threads."""

from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.export import contract
from charlm.export.contract import C_NEXT, H_NEXT, TOKENS, UNIFORM, C, H, runtime_errors_as
from charlm.infer.engines.base import Array, HostEngine, Primed, Rows, Tokens
from charlm.infer.sampling.draw import with_greedy
from charlm.infer.sampling.filters import Sampling
from charlm.infer.sampling.philox import take_block

OUTPUTS = [TOKENS, H_NEXT, C_NEXT]
# A thread with fewer streams than this would spend its time on the graph's nodes, not on products.
STREAMS_A_THREAD = 8


class ScanEngine(HostEngine):
    """An `Engine` that draws a block of characters for all its streams in one run, without filters.

    Args:
        threads: that run at once, each with its share of the streams.
    """

    def __init__(self, session: Any, vocabulary: int, threads: int = 1) -> None:
        self._session, self._vocabulary, self._threads = session, vocabulary, threads
        self._pool: Any = None
        if threads > 1:
            from concurrent.futures import ThreadPoolExecutor  # as long to import as a graph opens

            self._pool = ThreadPoolExecutor(threads, "charlm")

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        super().start(primed, sampling)
        self._numbers = sampling.numbers()

    def draw(self, steps: int) -> Tokens:
        """See `Engine`."""
        uniform = with_greedy(take_block(self._numbers, steps), self._sampling)
        self._sampling = self._sampling.moved(steps)
        streams = len(uniform)
        most = max(1, min(self._threads, streams // STREAMS_A_THREAD))
        shares = np.array_split(np.arange(streams), most)
        if len(shares) == 1:
            tokens, self._h, self._c = self._run(shares[0], uniform)
            return tokens
        parts = zip(*self._pool.map(self._run, shares, [uniform] * len(shares)), strict=True)
        tokens, self._h, self._c = (np.concatenate(each) for each in parts)
        return tokens

    def _run(self, rows: Rows, uniform: Array) -> tuple[npt.NDArray[Any], Array, Array]:
        feed: dict[str, npt.NDArray[Any]] = {
            H: self._h[rows],
            C: self._c[rows],
            UNIFORM: np.ascontiguousarray(uniform[rows], dtype=np.float32),
            contract.INVERSE_TEMPERATURE: self._sampling.inverse_temperature[rows],
        }
        with runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            tokens, h, c = self._session.run(OUTPUTS, feed)
        whole = tokens.shape == uniform[rows].shape and h.shape == c.shape == feed[H].shape
        if not (whole and (tokens >= 0).all() and (tokens < self._vocabulary).all()):
            raise ModelFileError(
                "the graph of many steps gives other characters than were asked for: "
                "write it anew with charlm-export"
            )
        return tokens, h, c
