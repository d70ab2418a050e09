"""Scoring many texts side by side: those that end leave, others enter, on all cores."""

import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlm.data.system.errors import CharlmError, CorpusError, VocabularyError
from charlm.data.text.vocabulary import Unknown
from charlm.infer.engines.base import TextReader, run_length
from charlm.infer.engines.planning import open_text_reader
from charlm.infer.model.open import Model
from charlm.infer.scoring.score import Score, TokenText, total_bits, zero_states

# Rows of a worker's batch. On one core, LSTM-192: 1 text 178,000 characters/s, 8 texts 399,000,
# 64 texts 542,000, 256 texts 550,000.
WIDTH = 64
WIDTHS = {"cpu": WIDTH, "cuda": 256}
WORKERS_OF_GPU = 2  # while one of them fetches texts, the other's are read
MOST_ROWS = 512  # or half of the files that a process may have open: each row may hold one
JOIN_SECONDS = 1.0  # a thread that waits for a pipe to be written can't be stopped
TEXT_ERRORS = (CorpusError, VocabularyError)  # of one text; the others can be scored


@dataclass(frozen=True)
class Text:
    """A text that wants a score."""

    name: str  # for messages
    chunks: Iterable[str]  # its characters; they are asked for once there is room for the text


@dataclass(frozen=True)
class Scored:
    """What became of a text."""

    index: int  # its place among the texts, from 0
    result: Score | CharlmError  # its score, or why it has none


def score_many(
    model: Model,
    texts: Iterable[Text],
    *,
    unknown: Unknown | None = None,
    precision: str = "float32",
    workers: int = 1,
    width: int = WIDTH,
) -> Iterator[Scored]:
    """Yield the score of each text, each from a zero state, as they are finished.

    Workers are threads that run one session side by side, each with a batch of its own: two of
    them scored 1.9 times as fast as one, where two threads inside a session's operators gave 1.0
    to 1.4 times. What is wrong with one text is its result, and the others go on. A batch rounds
    otherwise than a text alone does, in the seventh digit.

    Args:
        texts: any number; they are taken as there is room for them.
        width: how many texts each has side by side, at least 1.

    Raises:
        VocabularyError: the model does not know the character `unknown` either.
        SettingsError: the model has no graph of that precision.
        ModelFileError: a graph is damaged or can't be run.
    """
    model.metadata.unknown(unknown)  # it must be known
    rows = _most_rows()
    workers = min(workers, rows)
    width = max(1, min(width, rows // workers))
    pending = _Shared(enumerate(texts))
    batches = [
        _Worker(model, open_text_reader(model, precision), unknown, width, pending)
        for _ in range(workers)
    ]
    return batches[0].run() if workers == 1 else _side_by_side(batches, pending)


def _most_rows() -> int:
    if sys.platform == "win32":
        return MOST_ROWS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_ROWS if files == resource.RLIM_INFINITY else max(1, min(MOST_ROWS, files // 2))


class _Shared:
    """Texts that wait, for workers to take one at a time, until there are none or work stops."""

    def __init__(self, texts: Iterator[tuple[int, Text]]) -> None:
        self._texts, self._lock = texts, threading.Lock()
        self.stopped = threading.Event()

    def next(self) -> tuple[int, Text] | None:
        with self._lock:
            return next(self._texts, None)


class _Row:
    """A text in a batch, with its sum so far."""

    def __init__(self, index: int, text: TokenText) -> None:
        self.index, self.text = index, text
        self.characters, self.bits = 0, 0.0
        self._error: CharlmError | None = None

    def have(self, wanted: int) -> int:
        """How many characters it can give, up to `wanted`; 0 where it has ended, well or not."""
        try:
            return 0 if self._error else self.text.have(wanted)
        except TEXT_ERRORS as problem:
            self._error = problem
            return 0

    def scored(self) -> Scored:
        if self._error:
            return Scored(self.index, self._error)
        try:
            return Scored(self.index, Score(self.characters, self.bits).finished(self.text))
        except CorpusError as problem:
            return Scored(self.index, problem)


class _Worker:
    """One worker's texts, a row each."""

    def __init__(
        self,
        model: Model,
        reader: TextReader,
        unknown: Unknown | None,
        width: int,
        pending: _Shared,
    ) -> None:
        self._model, self._reader, self._unknown = model, reader, unknown
        self._width, self._pending = width, pending
        self._rows: list[_Row] = []
        self._h = self._c = zero_states(model.metadata, 0)

    def run(self) -> Iterator[Scored]:
        """Score texts until none waits."""
        while not self._pending.stopped.is_set():
            yield from self._exchange()
            if not self._rows:
                return
            self._read()

    def _exchange(self) -> list[Scored]:
        """Let rows that have ended leave, and others enter; what has left."""
        keep = [place for place, row in enumerate(self._rows) if row.have(1)]
        left = [row.scored() for row in self._rows if not row.have(1)]
        entered: list[_Row] = []
        while len(keep) + len(entered) < self._width and (row := self._next()):
            if row.have(1):
                entered.append(row)
            else:
                left.append(row.scored())
        if entered or len(keep) < len(self._rows):
            blank = zero_states(self._model.metadata, len(entered))
            self._h, self._c = (np.concatenate((each[keep], blank)) for each in (self._h, self._c))
            self._rows = [*(self._rows[place] for place in keep), *entered]
        return left

    def _next(self) -> _Row | None:
        taken = self._pending.next()
        if taken is None:
            return None
        index, text = taken
        return _Row(index, TokenText(text.chunks, text.name, self._model.metadata, self._unknown))

    def _read(self) -> None:
        """One run. A row that ends within it reads on, for nothing, until the run is over."""
        longest = run_length(len(self._rows), self._model)
        counts = [row.have(longest) for row in self._rows]
        time = max(counts)
        if time == 0:
            return
        ids = np.zeros((len(counts), time + 1), dtype=self._model.metadata.vocabulary.dtype)
        for place, (row, count) in enumerate(zip(self._rows, counts, strict=True)):
            if count:
                ids[place, : count + 1] = row.text.take(count)
        read = self._reader.run(ids, self._h, self._c)
        self._h, self._c = read.h, read.c
        for place, count in enumerate(counts):
            read.log_probability[place, count:] = 0  # past the text's end
        costs = total_bits(read.log_probability).tolist()
        for row, count, cost in zip(self._rows, counts, costs, strict=True):
            row.characters += count
            row.bits += cost


def _side_by_side(batches: list[_Worker], pending: _Shared) -> Iterator[Scored]:
    """What the batches give, each run by a thread of its own."""
    results: queue.SimpleQueue[Scored | BaseException | None] = queue.SimpleQueue()

    def work(batch: _Worker) -> None:
        try:
            for scored in batch.run():
                results.put(scored)
            results.put(None)
        except BaseException as problem:
            results.put(problem)

    threads = [threading.Thread(target=work, args=(batch,), daemon=True) for batch in batches]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        pending.stopped.set()
        for thread in threads:
            thread.join(JOIN_SECONDS)
