"""Many steps in one run: an engine on the generate graphs, its streams shared out over threads."""

from collections.abc import Callable
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
        self._pool: Any = None
        if threads > 1:
            from concurrent.futures import ThreadPoolExecutor  # as long to import as a graph opens

            self._pool = ThreadPoolExecutor(threads, "charlm")

    def start(self, primed: Primed, sampling: Sampling) -> None:
        """See `Engine`."""
        self._h = np.ascontiguousarray(primed.h, dtype=np.float32)
        self._c = np.ascontiguousarray(primed.c, dtype=np.float32)
        self._sampling = sampling
        self._filtered = sampling.filtered()
        for rows in self._groups():  # what can't be opened is found before anything is drawn
            for share in self._shares(rows):
                self._session(share)

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
        shares = [share for group in self._groups() for share in self._shares(group)]
        if self._pool is None or len(shares) == 1:
            parts = [self._run(rows, uniform) for rows in shares]
        else:
            parts = [*self._pool.map(self._run, shares, [uniform] * len(shares))]
        if len(parts) == 1:
            tokens, self._h, self._c = parts[0]
            return tokens
        joined = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(np.concatenate(shares))
        tokens, self._h, self._c = (each[order] for each in joined)
        return tokens

    def _groups(self) -> list[Rows]:
        """The rows without filters and those with, which another, slower graph draws."""
        with_filters = np.flatnonzero(self._filtered)
        return [rows for rows in (np.flatnonzero(~self._filtered), with_filters) if len(rows)]

    def _shares(self, rows: Rows) -> list[Rows]:
        """Each thread's rows: equal shares, and no more of them than are worth a thread."""
        return np.array_split(rows, max(1, min(self._threads, len(rows) // STREAMS_A_THREAD)))

    def _session(self, rows: Rows) -> Any:
        return self._session_for(len(rows), bool(self._filtered[rows[0]]))

    def _run(self, rows: Rows, uniform: Array) -> tuple[npt.NDArray[Any], Array, Array]:
        sampling, filtered = self._sampling, bool(self._filtered[rows[0]])
        feed: dict[str, npt.NDArray[Any]] = {
            H: self._h[rows],
            C: self._c[rows],
            UNIFORM: np.ascontiguousarray(uniform[rows], dtype=np.float32),
            INVERSE_TEMPERATURE: sampling.inverse_temperature[rows],
        }
        if filtered:
            feed[TOP_K] = sampling.top_k[rows]
            feed[TOP_P], feed[MIN_P] = sampling.top_p[rows], sampling.min_p[rows]
        session = self._session(rows)
        with runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            tokens, h, c = session.run(OUTPUTS, feed)
        return tokens, h, c
