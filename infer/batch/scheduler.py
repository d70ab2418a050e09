"""Many streams in one batch: those that end leave, others enter, none waits for the slowest."""

import contextlib
import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import SettingsError
from charlm.export.contract import Metadata
from charlm.infer.batch.intake import Entrants, Intake, Refuse, Stream
from charlm.infer.batch.prompt_file import BadLine
from charlm.infer.batch.results import Order, Outcome
from charlm.infer.engines.base import Engine, Reader, Tokens
from charlm.infer.request import Request
from charlm.infer.sampling.filters import Sampling

WINDOW = 4  # batches of requests under way or waiting, where results come in order
LONGEST_BLOCK = 64
BLOCKS = (8, 16, 32, 64, 128, 256, 512)
DECODED = 1 << 20  # characters at once: a call a text takes longer than a short one itself
BLOCK_COST = 3  # what starting a block costs, in steps
# A block of which texts are shown lasts so long, and longer for each of them, as showing them does;
# but it has so many characters or steps: in less, starting blocks would take most of the time.
WATCHED_SECONDS, SECONDS_EACH = 0.02, 0.0004
WATCHED_CHARACTERS, FEWEST_STEPS = 8192, 32
# Ctrl-C waits for a block; past a stop string it is drawn for nothing.
LONGEST_SECONDS, FIRST_STEPS, STEPS_TO_A_STOP = 1.0, 1024, 256


@dataclass(frozen=True)
class Piece:
    """What is new of a text.

    Attributes:
        index: of its request.
        prompt: as the model read it.
        text: characters that no stop string can take back; may be empty.
    """

    index: int
    prompt: str
    text: str


class Watcher(Protocol):
    """Looks on as texts come."""

    def watches(self, index: int) -> bool:
        """Whether it wants to see the text of that request; asked once, as it begins."""

    def see(self, pieces: Sequence[Piece]) -> Collection[int]:
        """Take what a block has added to the texts that are watched.

        Returns:
            Those that are not wanted any more: their results are what they have so far.
        """


def generate_batch(
    engines: Sequence[Engine],
    reader: Reader,
    metadata: Metadata,
    requests: Iterable[Request | BadLine | None],
    *,
    width: int,
    ordered: bool = True,
    longest_block: int = LONGEST_BLOCK,
    watcher: Watcher | None = None,
    refuse: Refuse | None = None,
) -> Iterator[Outcome]:
    """Yield the text of each request, or why it has none.

    A text depends on its request and the model alone: not on the width, nor on what runs beside it,
    nor on the order. Requests are taken as they are needed, but `width` at a time, so that their
    prompts are read together: whoever writes one once the last is answered wants a width of 1.

    In order, at most `WINDOW * width` are under way or wait to be yielded: where
    one text is far longer than the others, they wait for it once so many are done, and the batch
    shrinks. What is finished is yielded before an error or Ctrl-C goes on to the caller.

    Args:
        engines: draw the characters, each for its share of the streams; nobody else may use them
            meanwhile. With several, one draws while the texts of another are cut.
        reader: reads the prompts.
        metadata: the model's.
        requests: any number of them. None says that no more are there yet: it is asked again after
            a block, or at once where no text is being drawn, so that it had better wait then.
        width: how many streams run side by side, at least 1.
        ordered: yield in the order of the requests, or as they are finished.
        longest_block: steps that are drawn at once at most, at least 1.
        watcher: is handed texts in pieces, as soon as they are certain.
        refuse: says why the engine can't serve a request, or None where it can; the others run.

    Raises:
        SettingsError: a width below 1, or more streams than memory holds.
        ModelFileError: the graph can't be run, or gives what is not finite.
    """
    if width < 1:
        raise SettingsError(f"`width` is 1 or more, not {width}")
    order: Order[Outcome] = Order(ordered, WINDOW * width)
    intake = Intake(requests, reader, metadata, order, width, refuse)
    with ThreadPoolExecutor(len(engines)) as pool:
        beside = pool if len(engines) > 1 else None
        batches = [
            _Batch(engine, intake, metadata, share, longest_block, watcher, beside)
            for engine, share in zip(engines, _shares(width, len(engines)), strict=True)
            if share
        ]
        try:
            for batch in itertools.cycle(batches):
                batch.cut()
                batch.hand_over(order)
                batch.show()  # once they are safe: here Ctrl-C often comes
                batch.hand_over(order)
                yield from order.ready()  # filling may wait for requests that are yet to be written
                batch.fill()
                yield from order.ready()
                batch.draw()
                if intake.exhausted and not any(each.streams for each in batches):
                    return
        except MemoryError as problem:
            yield from _finished(batches, order)
            raise SettingsError(
                f"{width} streams side by side don't fit into memory: give a smaller `width`"
            ) from problem
        except (Exception, KeyboardInterrupt):
            yield from _finished(batches, order)
            raise


def _finished(batches: "list[_Batch]", order: Order[Outcome]) -> Iterator[Outcome]:
    """All that is finished, where no more will come."""
    for batch in batches:
        with contextlib.suppress(Exception):
            batch.cut(wait=False)
            batch.hand_over(order)
    yield from order.rest()


def _shares(width: int, count: int) -> list[int]:
    return [width * (each + 1) // count - width * each // count for each in range(count)]


def block_length(remaining: npt.NDArray[np.int64], longest: int) -> int:
    """The number of steps that gives the most characters for its time.

    A longer block costs fewer starts; in a shorter one less is drawn past the end of a text.

    Args:
        remaining: int64 [batch], characters that each stream may yet draw, at least 1 each.
        longest: the most steps.
    """
    ends = {int(remaining.min()), int(remaining.max())}
    choices = {min(steps, longest) for steps in (*BLOCKS, *ends)}
    return max(
        sorted(choices),
        key=lambda steps: np.minimum(remaining, steps).sum() / (steps + BLOCK_COST),
    )


def longest_worth(streams: int, speed: float, stops: bool) -> int:
    """The most steps of a block that neither takes long nor is mostly drawn for nothing.

    Args:
        speed: characters a second, of all streams; 0 where it is not known yet.
        stops: whether a stop string may end a text within it.
    """
    if stops:
        return STEPS_TO_A_STOP
    return max(FEWEST_STEPS, int(speed * LONGEST_SECONDS) // streams) if speed else FIRST_STEPS


def longest_shown(watched: int, streams: int, speed: float) -> int:
    """The most steps of a block of which texts are shown.

    Args:
        watched: how many of the streams are shown.
        speed: characters a second, of all of them.
    """
    moving = int(speed * (WATCHED_SECONDS + watched * SECONDS_EACH))
    return max(FEWEST_STEPS, max(WATCHED_CHARACTERS, moving) // streams)


class _Batch:
    """The streams that run now, each in a row of the engine."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        metadata: Metadata,
        width: int,
        longest: int,
        watcher: Watcher | None,
        pool: ThreadPoolExecutor | None,
    ) -> None:
        self.streams: list[Stream] = []
        self._engine, self._intake, self._width, self._longest = engine, intake, width, longest
        self._vocabulary = metadata.vocabulary
        self._watcher, self._pool, self._speed = watcher, pool, 0.0
        self._block: Tokens | Future[Tokens] | None = None
        self._row = 0  # the last whose stream was given its part of the block
        self._left: list[int] = []  # what remained to each before
        self._ended: list[Stream] = []  # whose texts are not handed over

    def draw(self) -> None:
        """Draw a block, in the pool if there is one."""
        self._block, self._row = None, 0
        if self.streams:
            steps = self._steps()
            if self._pool:
                self._block = self._pool.submit(self._timed, steps)
            else:
                self._block = self._timed(steps)

    def _timed(self, steps: int) -> Tokens:
        began = time.perf_counter()
        tokens = self._engine.draw(steps)
        speed = tokens.size / max(1e-6, time.perf_counter() - began)
        self._speed = ((self._speed or speed) + speed) / 2
        return tokens

    def cut(self, wait: bool = True) -> None:
        """Give the streams what the block has drawn; those that it ends stay in their rows.

        Where this was interrupted it goes on.
        """
        block = self._block
        if isinstance(block, Future):
            block = block.result() if wait or block.done() else None
        if block is None:
            return
        count, steps = block.shape
        rows = max(1, DECODED // steps)
        for first in range(self._row, count, rows):
            tokens = block[first : first + rows].astype(self._vocabulary.dtype, copy=False)
            text = self._vocabulary.decode(tokens.ravel())
            for start in range(0, len(text), steps):
                self._row = first + start // steps
                stream = self.streams[self._row]
                if stream.remaining == self._left[self._row]:  # it has not taken its part yet
                    stream.take(text[start : start + steps])
                if not stream.remaining:
                    self._ended.append(stream)
        self._block = None

    def hand_over(self, order: Order[Outcome]) -> None:
        """Add the texts that have ended."""
        for stream in self._ended:
            order.add(stream.result())
        self._ended.clear()

    def show(self) -> None:
        """Show what is new of the texts that are watched; those that nobody wants any more end."""
        watched = [stream for stream in self.streams if stream.watched]
        if not (self._watcher and watched):
            return
        pieces = [Piece(each.index, each.opening.shown, each.news()) for each in watched]
        unwanted = self._watcher.see(pieces)
        left = [each for each in watched if each.remaining and each.index in unwanted]
        for stream in left:
            stream.remaining = 0
        self._ended += left

    def fill(self) -> None:
        """Put streams that wait into the rows of those that ended; drop the rows left over."""
        free = [row for row, stream in enumerate(self.streams) if not stream.remaining]
        room = self._width - len(self.streams) + len(free)
        entrants = self._intake.take(room)
        if entrants and self._watcher:
            for stream in entrants.streams:
                stream.watched = self._watcher.watches(stream.index)
        if len(free) == len(self.streams):
            self.streams = list(entrants.streams) if entrants else []
            if entrants:
                self._engine.start(entrants.primed, self._sampling(entrants))
            return
        if entrants:
            free = self._widen(free, len(entrants.streams))
            taken, free = free[: len(entrants.streams)], free[len(entrants.streams) :]
            self._engine.replace(np.array(taken), entrants.primed, self._sampling(entrants))
            for row, stream in zip(taken, entrants.streams, strict=True):
                self.streams[row] = stream
        if free:
            self._keep(sorted(set(range(len(self.streams))) - set(free)))

    def _widen(self, free: list[int], wanted: int) -> list[int]:
        """Rows for `wanted` streams: those that are free, and new ones where they are too few."""
        rows = len(self.streams)
        if wanted > len(free):
            more = list(range(rows, rows + wanted - len(free)))
            self._keep([*range(rows), *(0 for _ in more)])
            free = [*free, *more]
        return free

    def _keep(self, rows: list[int]) -> None:
        self._engine.keep(np.array(rows))
        self.streams = [self.streams[row] for row in rows]

    def _steps(self) -> int:
        count = len(self.streams)
        stops = any(stream.opening.stops for stream in self.streams)
        longest = min(self._longest, longest_worth(count, self._speed, stops))
        if watched := sum(stream.watched for stream in self.streams):
            longest = min(longest, longest_shown(watched, count, self._speed))
        self._left = [each.remaining for each in self.streams]
        return block_length(np.array(self._left), longest)

    def _sampling(self, entrants: Entrants) -> Sampling:
        how = [(each.request.temperature, each.request.filters) for each in entrants.streams]
        return Sampling.of(how, len(self._vocabulary), [each.numbers for each in entrants.streams])
