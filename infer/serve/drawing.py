"""One thread for each model that draws all its clients' texts side by side."""

import asyncio
import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from charlm.data.system import console
from charlm.infer.batch.results import Outcome, Result
from charlm.infer.batch.scheduler import Piece
from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.serve.settings import READ_TOGETHER

News = str | Outcome | Exception  # what is new of a text: a piece, or how it ended


class StreamedText:
    """A text that is being drawn for a client. The event loop's, but for `left`.

    Args:
        request: what is wanted.
        wake: is called in the event loop when the text has ended.
        eager: `wake` is called when there is more of it, too.

    Attributes:
        size: how many characters have come.
        outcome: once it has ended; an exception where drawing itself failed.
        first: `time.perf_counter()` when its first character had come; 0: none has.
        left: whether the client has gone; it is drawn no further. See `Drawer.give_up`.
    """

    def __init__(self, request: Request, wake: Callable[[], None], eager: bool) -> None:
        self.request, self._wake, self._eager = request, wake, eager
        self._pieces: list[str] = []
        self.size, self.first = 0, 0.0
        self.outcome: Outcome | Exception | None = None
        self.left = False

    def add(self, text: str) -> None:
        """Take what has come."""
        if text:
            self.first = self.first or time.perf_counter()
            self._pieces.append(text)
            self.size += len(text)
            if self._eager:
                self._wake()

    def take(self) -> str:
        """What has come and was not taken before."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def end(self, outcome: Outcome | Exception) -> None:
        """Take how it ended, and what of it was not seen."""
        self.outcome = outcome
        if isinstance(outcome, Result):
            self.add(outcome.text[self.size :])
        self._wake()


class Drawer:
    """Draws texts as they are asked for; each is what its request gives alone.

    What comes is handed to the event loop once a block, of all texts together.

    Args:
        generator: of the model; nobody else draws many texts with it.
        width: texts side by side at most.
        loop: the event loop.
    """

    def __init__(self, generator: Generator, width: int, loop: asyncio.AbstractEventLoop) -> None:
        self._generator, self._width, self._loop = generator, width, loop
        self._queue: dict[StreamedText, None] = {}  # those that wait, the first to come first
        self._arrival = threading.Condition()  # of a text in the queue, and of `close`
        self._running: dict[int, StreamedText] = {}
        self._count = self._read = 0
        self._closed = self._called = False
        self._news: deque[tuple[StreamedText, News]] = deque()
        self._thread = threading.Thread(target=self._run, name="charlm-draw", daemon=True)
        self._thread.start()

    def submit(self, text: StreamedText) -> None:
        """Draw a text once there is room."""
        with self._arrival:
            self._queue[text] = None
            self._arrival.notify()

    def give_up(self, text: StreamedText) -> None:
        """Draw a text no further; one that waits is forgotten at once."""
        text.left = True
        with self._arrival:
            self._queue.pop(text, None)

    @property
    def running(self) -> int:
        """How many texts are being drawn."""
        return min(len(self._running), self._width)  # the prompts of some are read ahead

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self._queue) + len(self._running) - self.running

    def close(self) -> None:
        """Draw no more; texts that are left are not finished."""
        with self._arrival:
            self._closed = True
            self._arrival.notify()
        self._thread.join()

    def watches(self, index: int) -> bool:
        """See `Watcher`."""
        return index in self._running

    def see(self, pieces: Sequence[Piece]) -> list[int]:
        """See `Watcher`."""
        self._tell((self._running[each.index], each.text) for each in pieces if each.text)
        return [each.index for each in pieces if self._closed or self._running[each.index].left]

    def _run(self) -> None:
        while self._next(block=True, taken=False) is not None:
            self._count = 0
            try:
                self._draw()
            except Exception as problem:
                self._fail(problem)

    def _draw(self) -> None:
        outcomes = self._generator.batch(
            self._requests(), width=self._width, ordered=False, watcher=self
        )
        for outcome in outcomes:
            self._tell([(self._running.pop(outcome.index), outcome)])

    def _requests(self) -> Iterator[Request | None]:
        """What to draw; waits for it only where nothing else is being drawn.

        Prompts of many are not read at once: those that are being drawn would stand still.
        """
        while not self._closed:
            if self._read > READ_TOGETHER:
                self._read = 0
                yield None
            text = self._next(block=not self._running)
            if text is None:
                self._read = 0
                yield None
                continue
            self._running[self._count] = text
            self._count += 1
            self._read += len(text.request.prompt)
            yield text.request

    def _next(self, block: bool, taken: bool = True) -> StreamedText | None:
        """The text that has waited longest, which waits no more if it is taken; None: none waits.

        Args:
            block: wait for one; there is none only once all is closed.
        """
        with self._arrival:
            while block and not (self._queue or self._closed):
                self._arrival.wait()
            text = None if self._closed else next(iter(self._queue), None)
            if text and taken:
                del self._queue[text]
            return text

    def _fail(self, problem: Exception) -> None:
        """End all texts with what has gone wrong, and go on with new ones."""
        console.say("".join(traceback.format_exception(problem)))
        failed = list(self._running.values())
        self._running.clear()
        if not failed and (text := self._next(block=False)):  # no drawing can even begin
            failed = [text]
        self._tell((text, problem) for text in failed)

    def _tell(self, news: Iterable[tuple[StreamedText, News]]) -> None:
        """Have the event loop take what is new; it is called once for all that waits for it."""
        self._news.extend(news)
        if self._news and not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there any more
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._called = False  # before it looks: what comes from now on calls again
        while self._news:
            text, news = self._news.popleft()
            if isinstance(news, str):
                text.add(news)
            else:
                text.end(news)
