"""Many steps in one run: an engine on the generate graphs, its streams shared out over threads."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ModelFileError
from charlm.export.contract import C_NEXT, H_NEXT, C, H, runtime_errors_as
from charlm.export.contract_siblings import (
    INVERSE_TEMPERATURE,
    MIN_P,
    TOKENS,
    TOP_K,
    TOP_P,
    UNIFORM,
)
from charlm.infer.engine import Array, Primed, Rows, Tokens, with_rows
from charlm.infer.sampling import GREEDY_UNIFORM, Sampling

OUTPUTS = [TOKENS, H_NEXT, C_NEXT]
# A thread with fewer streams than this would spend its time on the graph's nodes, not on products.
STREAMS_A_THREAD = 8
SessionFor = Callable[[int, bool], Any]


class ScanEngine:
    """An `Engine` that draws a block of characters for all its streams in one run.

    Args:
        session_for: gives the session of a generate graph for so many streams in one run, with or
            without filters.
        threads: that run at once, each with its share of the streams.
    """

    block: int | None = None

    def __init__(self, session_for: SessionFor, threads: int = 1) -> None:
        self._session_for, self._threads = session_for, threads
        self._pool = ThreadPoolExecutor(threads, "charlm") if threads > 1 else None

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._h = np.ascontiguousarray(primed.h, dtype=np.float32)
        self._c = np.ascontiguousarray(primed.c, dtype=np.float32)
        self._sampling = sampling
        self._filtered = bool(sampling.filtered().any())

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        h, c = self._h.copy(), self._c.copy()
        h[rows], c[rows] = primed.h, primed.c
        held = Primed(h, c, primed.logits)
        self.start(held, with_rows(self._sampling, rows, sampling))

    def keep(self, rows: Rows) -> None:
        """See `Engine`."""
        held = Primed(self._h[rows], self._c[rows], self._h[:0])
        self.start(held, self._sampling.rows(rows))

    def draw(self, uniform: Array) -> Tokens:
        """See `Engine`."""
        greedy = self._sampling.greedy
        if greedy.any():
            uniform = np.where(greedy[:, None], np.float32(GREEDY_UNIFORM), uniform)
        shares = self._shares(len(uniform))
        if self._pool is None or len(shares) == 1:
            parts = [self._run(share, uniform) for share in shares]
        else:
            parts = [*self._pool.map(self._run, shares, [uniform] * len(shares))]
        if len(parts) == 1:
            tokens, self._h, self._c = parts[0]
            return tokens
        tokens, self._h, self._c = (np.concatenate(each) for each in zip(*parts, strict=True))
        return tokens

    def _shares(self, streams: int) -> list[slice]:
        """Each thread's rows: equal shares, and no more of them than are worth a thread."""
        count = max(1, min(self._threads, streams // STREAMS_A_THREAD))
        ends = [streams * part // count for part in range(count + 1)]
        return [slice(begin, end) for begin, end in itertools.pairwise(ends)]

    def _run(self, rows: slice, uniform: Array) -> tuple[npt.NDArray[Any], Array, Array]:
        sampling = self._sampling
        feed: dict[str, npt.NDArray[Any]] = {
            H: self._h[rows],
            C: self._c[rows],
            UNIFORM: np.ascontiguousarray(uniform[rows], dtype=np.float32),
            INVERSE_TEMPERATURE: sampling.inverse_temperature[rows],
        }
        if self._filtered:
            feed[TOP_K] = sampling.top_k[rows]
            feed[TOP_P], feed[MIN_P] = sampling.top_p[rows], sampling.min_p[rows]
        session = self._session_for(rows.stop - rows.start, self._filtered)
        with runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            tokens, h, c = session.run(OUTPUTS, feed)
        return tokens, h, c
