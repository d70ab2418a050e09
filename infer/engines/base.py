"""What draws characters for a batch of streams, reads their prompts, or judges their texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import Metadata
from charlm.infer.model.open import Model

if TYPE_CHECKING:
    from charlm.infer.sampling.filters import Sampling

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Tokens = npt.NDArray[Any]  # of any integer type

# Characters in one run: a single text gains nothing from longer runs than 1,024; many texts gain
# nothing from longer than 16 each on a CPU, and thousands nothing from longer than 1,024 on a GPU.
CELLS = {"cpu": 4096, "cuda": 1 << 23}
LONGEST_RUN = 1024
MOST_NUMBERS = 1 << 22  # in the largest array of a run, 16 MiB, where a vocabulary is large


@dataclass(frozen=True)
class Primed:
    """Streams that have read their prompts.

    Attributes:
        h, c: float32 [streams, layers, hidden], the state after the last character read; where a
            window is read, [streams, window, layers, hidden], see `WindowStepper`.
    """

    h: Array
    c: Array
    logits: Array  # float32 [streams, vocabulary], of the character to come

    def take(self, rows: Sequence[int] | slice | Rows) -> "Primed":
        """Some of the streams, in the order that is asked for."""
        return Primed(self.h[rows], self.c[rows], self.logits[rows])

    def replaced(self, rows: Rows, others: "Primed") -> "Primed":
        """These streams, but for some rows that others have taken."""
        changed = Primed(self.h.copy(), self.c.copy(), self.logits.copy())
        changed.put(rows, others)
        return changed

    def put(self, rows: Rows, others: "Primed") -> None:
        """Let others take some rows, in place."""
        self.h[rows], self.c[rows], self.logits[rows] = others.h, others.c, others.logits

    @staticmethod
    def joined(parts: Sequence["Primed"]) -> "Primed":
        """The streams of several, one after another."""
        h, c, logits = zip(*((part.h, part.c, part.logits) for part in parts), strict=True)
        return Primed(np.concatenate(h), np.concatenate(c), np.concatenate(logits))


@dataclass(frozen=True)
class Read(Primed):
    """Streams that have read a text, and what each character of it cost.

    Attributes:
        log_probability: float32 [streams, time], of each character after one that was read, natural
            logarithm.
    """

    log_probability: Array


class Engine(Protocol):
    """Draws blocks of characters for a batch of streams whose states and settings it holds."""

    def start(self, primed: Primed, sampling: "Sampling") -> None:
        """Hold these streams, at least one, and no others."""

    def replace(self, rows: Rows, primed: Primed, sampling: "Sampling") -> None:
        """Put other streams into some rows of the batch, which are distinct."""

    def keep(self, rows: Rows) -> None:
        """Hold only these rows, at least one, in this order; one named twice is there twice."""

    def held(self) -> Primed:
        """The streams as they are now, but for their logits, which may be older."""

    def draw(self, steps: int) -> Tokens:
        """The next characters of each stream, [batch, steps]; states and random numbers move on.

        Args:
            steps: how many, at least 1.
        """


class Reader(Protocol):
    """Reads prompts."""

    def read(self, prompts: Sequence[Tokens], before: Primed | None = None) -> Primed:
        """Read at least one prompt, each of at least one token; the longer the list, the better.

        Args:
            prompts: token ids.
            before: the states before them, which stay as they are; None: zero states.
        """


class TextReader(Protocol):
    """Reads a batch of texts; states go in and come out."""

    def run(self, ids: Tokens, h: Array, c: Array) -> Read:
        """Read all but the last character of every text, and judge all but the first.

        Args:
            ids: [batch, time + 1], at least two characters.
            h, c: float32 [batch, layers, hidden], the state before the first.

        Raises:
            ModelFileError: the graph can't be run, for example since memory does not hold it.
        """


class Predictor(Protocol):
    """Reads a batch of texts, and says what it expects in every place; states go in and out."""

    def predict(self, ids: Tokens, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """Read all but the last character of every text.

        Args:
            ids: [batch, time + 1]; a time of 0 reads nothing.
            h, c: float32 [batch, layers, hidden], before the first.

        Raises:
            ModelFileError: see `TextReader.run`.

        Returns:
            Natural logarithms of all probabilities before each character but the first, float32
            [batch, time, vocabulary]; h and c after what was read.
        """


class HostEngine:
    """What all engines share: their streams' state can be had as arrays, and others put there."""

    def start(self, primed: Primed, sampling: "Sampling") -> None:
        """See `Engine`."""
        self._h = np.ascontiguousarray(primed.h, dtype=np.float32)
        self._c = np.ascontiguousarray(primed.c, dtype=np.float32)
        self._logits, self._sampling = primed.logits, sampling

    def replace(self, rows: Rows, primed: Primed, sampling: "Sampling") -> None:
        """See `Engine`."""
        self.start(self.held().replaced(rows, primed), self._sampling.replaced(rows, sampling))

    def keep(self, rows: Rows) -> None:
        """See `Engine`."""
        self.start(self.held().take(rows), self._sampling.take(rows))

    def held(self) -> Primed:
        """See `Engine`."""
        return Primed(self._h, self._c, self._logits)


Advance = Callable[[Tokens, npt.NDArray[np.int64], Primed], Primed]


def read_prompts(
    prompts: Sequence[Tokens],
    before: Primed | None,
    metadata: Metadata,
    advance: Advance,
    borders: Iterable[int] = (),
    window: tuple[int, ...] = (),
) -> Primed:
    """The states after prompts of any lengths, which are read side by side, section by section.

    Args:
        prompts: token ids, at least one of each.
        before: the states before them; None: zero states.
        advance: reads a section, ids [rows, time] of which each row has so many, from a state.
        borders: where a section ends, rising; the last is no less than the longest prompt. None:
            where prompts end: up to each, those that are longer are read by as much.
        window: states of each stream, where it has several.
    """
    lengths, done = np.array([len(prompt) for prompt in prompts]), 0
    if before is None:
        shape = (len(prompts), *window, metadata.layers, metadata.hidden)
        h, c = np.zeros((2, *shape), dtype=np.float32)
        state = Primed(h, c, np.zeros((len(prompts), len(metadata.vocabulary)), dtype=np.float32))
    else:
        state = before.take(np.arange(len(prompts)))
    for end in borders or sorted(set(lengths.tolist())):
        rows = np.flatnonzero(lengths > done)
        parts = [prompts[row][done:end] for row in rows.tolist()]
        counts = np.array([len(part) for part in parts], dtype=np.int64)
        ids = np.zeros((len(parts), int(counts.max())), dtype=prompts[0].dtype)
        for row, part in zip(ids, parts, strict=True):
            row[: len(part)] = part
        state.put(rows, advance(ids, counts, state.take(rows)))
        done = end
    return state


def run_length(batch: int, model: Model, device: str | None = None) -> int:
    """How many characters of each text one run should read: long enough, in bounded memory.

    Args:
        device: that reads them; None: the model's.
    """
    device = device or model.device
    cells = CELLS[device]
    if device == "cpu":
        widest = max(len(model.metadata.vocabulary), 4 * model.metadata.hidden)
        cells = min(cells, MOST_NUMBERS // widest)
    return max(1, min(LONGEST_RUN, cells // batch))


def read_in_runs(
    texts: TextReader, model: Model, ids: Tokens, h: Array, c: Array
) -> Iterator[tuple[int, Read]]:
    """Read texts [batch, time + 1] from a state in runs of bounded size; where each began."""
    longest = run_length(len(ids), model)
    for start in range(0, ids.shape[1] - 1, longest):
        read = texts.run(ids[:, start : start + longest + 1], h, c)
        h, c = read.h, read.c
        yield start, read


def log_softmax(logits: Array) -> Array:
    """Natural logarithms of the probabilities that logits [..., vocabulary] give, alike."""
    wide = logits - logits.max(axis=-1, keepdims=True)
    found: Array = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return found


def check_finite(logits: Array) -> None:
    """Once a text: what is not finite stays so, and sampling would make a character of it.

    Raises:
        ModelFileError: infinite, or not a number.
    """
    if not np.isfinite(logits).all():
        raise ModelFileError("the model gives logits that are not finite: its weights are damaged")
