"""Requests that wait for a place in a batch, and the streams that they become.

Their prompts are read many at a time, ahead.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from charlm.data.system.errors import CharlmError, SettingsError
from charlm.export.contract import Metadata
from charlm.infer.batch.prompt_file import BadLine
from charlm.infer.batch.results import Failure, Order, Outcome, Result
from charlm.infer.engines.base import Array, Primed, Reader, Tokens, check_finite
from charlm.infer.request import Request
from charlm.infer.sampling.draw import draw_first
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.sampling.stops import StopFinder, normalised

NO_END = "`length` 0, a text without end, can't be one of several"
Refuse = Callable[[Request], CharlmError | None]  # why a request can't be served, if it can't


@dataclass(frozen=True)
class Opening:
    """How texts begin and end: what requests of the same words have in common.

    Attributes:
        prompt: tokens to be read before the first is drawn.
        shown: the prompt as the model reads it.
        lacking: how many of its characters the model does not know.
        stops: the stop strings as the model writes them.
        initial: float32 [vocabulary], how often each character begins a text without a prompt.
    """

    prompt: Tokens
    shown: str
    lacking: int
    stops: tuple[str, ...]
    initial: Array

    @classmethod
    def of(cls, request: Request, metadata: Metadata) -> "Opening":
        """That of a request.

        Raises:
            VocabularyError: a character of the prompt or of a stop string that the model lacks.
            SettingsError: an empty stop string.
        """
        vocabulary, text = metadata.vocabulary, metadata.normalisation(request.prompt)
        prompt, lacking = vocabulary.encode_counting(text, metadata.unknown(request.unknown))
        return cls(
            prompt,
            vocabulary.decode(prompt),
            lacking,
            normalised(request.stops, metadata),
            np.asarray(metadata.initial, dtype=np.float32),
        )


class Stream:
    """A request on its way to its text.

    Args:
        index: the request's place among the requests.
        request: what is asked for.
        opening: of the request.
        metadata: the model's.

    Attributes:
        prompt: tokens to be read before the next is drawn; where there are none, a first one has
            been drawn already.
        numbers: the stream's random numbers, from where it begins to be drawn.
        remaining: how many characters may yet be drawn; 0 once the text has ended.
        watched: whether somebody looks on as the text comes.
    """

    def __init__(self, index: int, request: Request, opening: Opening, metadata: Metadata) -> None:
        self.index, self.request, self.opening = index, request, opening
        state = request.state
        self._stop = StopFinder(opening.stops) if opening.stops else None
        self._certain: list[str] = []  # of the text, what no stop string can take back
        self.watched, self._told = False, 0
        position = 0 if state is None else state.position
        self.numbers = UniformStream(request.seed, request.sample, position)
        self.remaining, self.prompt = request.length, opening.prompt
        if not len(self.prompt) and (state is None or not state.characters):
            first = draw_first(opening.initial, self.numbers, request.temperature)
            self.prompt = np.array([first], dtype=metadata.vocabulary.dtype)
            self.take(metadata.vocabulary.characters[first])

    def take(self, drawn: str) -> None:
        """Add what was drawn; what lies past the end is left out.

        All of it or nothing: Ctrl-C comes as something is called, and nothing is between changes.
        """
        text = drawn[: self.remaining]
        remaining = self.remaining - len(text)
        if self._stop is None:
            self._certain += [text]
            self.remaining = remaining
            return
        text, held, found = self._stop.look(text)
        if found is not None:
            remaining = 0
        elif not remaining:
            text += held
        self._stop.held, self._stop.found = held, found
        self._certain += [text]
        self.remaining = remaining

    def news(self) -> str:
        """What has become certain of the text since this was asked last."""
        told, self._told = self._told, len(self._certain)
        return "".join(self._certain[told:])

    def result(self) -> Result:
        """The text, once nothing remains."""
        found = None if self._stop is None else self._stop.found
        return Result(
            self.index,
            self.request,
            self.opening.shown,
            "".join(self._certain),
            "length" if found is None else "stop",
            None if found is None else self.request.stops[found],
            self.opening.lacking,
        )


@dataclass(frozen=True)
class Entrants:
    """Streams that can begin: each has read its prompt.

    Attributes:
        streams: at least one.
        primed: their states, in the same order.
    """

    streams: Sequence[Stream]
    primed: Primed


class Intake:
    """The requests that are yet to begin.

    Args:
        requests: read as they are needed, and as far ahead as one more batch; None among them says
            that no more are there yet.
        reader: reads their prompts.
        metadata: the model's.
        order: says which may begin, and takes those that fail or end before they begin.
        ahead: how many to read at a time.
        refuse: is asked of each request; what it says is why that one fails.

    Attributes:
        exhausted: whether no request is left that was not read.
    """

    def __init__(
        self,
        requests: Iterable[Request | BadLine | None],
        reader: Reader,
        metadata: Metadata,
        order: Order[Outcome],
        ahead: int,
        refuse: Refuse | None = None,
    ) -> None:
        self._requests, self._count = iter(requests), 0
        self._reader, self._metadata, self._order = reader, metadata, order
        self._ahead, self._refuse, self.exhausted = ahead, refuse, False
        self._next: tuple[int, Request | BadLine] | None = None
        self._ready: deque[tuple[Stream, Primed, int]] = deque()
        self._opened: tuple[object, Opening] | None = None  # of the request before
        self._last: dict[bytes, tuple[Primed, int]] = {}  # states of the prompts read last

    def take(self, count: int) -> Entrants | None:
        """Up to `count` streams; fewer where there are no more, or the order holds them back."""
        if len(self._ready) < count:  # but once: what fails or ends early must come out, too
            self._read([stream for each in self._pull() if (stream := self._begun(*each))])
        taken = [self._ready.popleft() for _ in range(min(count, len(self._ready)))]
        if not taken:
            return None
        parts = []
        for _, group in groupby(taken, key=lambda each: id(each[1])):
            together = list(group)
            parts.append(together[0][1].take([row for _, _, row in together]))
        return Entrants([stream for stream, _, _ in taken], Primed.joined(parts))

    def _pull(self) -> Iterator[tuple[int, Request | BadLine]]:
        """The next requests, as many as are read at a time."""
        for _ in range(self._ahead):
            if self._next is None:
                try:
                    request = next(self._requests)
                except StopIteration:
                    self.exhausted = True
                    return
                if request is None:
                    return
                self._next = self._count, request
                self._count += 1
            if not self._order.may_begin(self._next[0]):
                return
            pulled, self._next = self._next, None
            yield pulled

    def _begun(self, index: int, request: Request | BadLine) -> Stream | None:
        """The stream of a request, if there is nothing wrong with it."""
        if not isinstance(request, Request | BadLine):
            raise SettingsError(f"batch() takes Request objects, not {type(request).__name__}")
        try:
            if isinstance(request, BadLine):
                raise request.error
            if request.length == 0:
                raise SettingsError(NO_END)
            if self._refuse and (why := self._refuse(request)):
                raise why
            if request.state is not None:
                request.state.check(self._metadata)
            alike = request.prompt, request.unknown, request.stop
            if self._opened is None or self._opened[0] != alike:  # samples of a prompt: once
                self._opened = alike, Opening.of(request, self._metadata)
            return Stream(index, request, self._opened[1], self._metadata)
        except CharlmError as problem:
            self._order.add(Failure(index, request.line, problem))
            return None

    def _read(self, streams: list[Stream]) -> None:
        """Read the prompts of streams, but of those that end with their first character."""
        for stream in streams:
            if not stream.remaining:
                self._order.add(stream.result())
        streams = [stream for stream in streams if stream.remaining]
        if not streams:
            return
        begun = self._states([each.prompt for each in streams if each.request.state is None])
        going_on = self._after_states([each for each in streams if each.request.state is not None])
        self._ready.extend(
            (each, *next(begun if each.request.state is None else going_on)) for each in streams
        )

    def _after_states(self, streams: list[Stream]) -> Iterator[tuple[Primed, int]]:
        """Where the state of each of these stands, which go on from states of their own."""
        before = [each.request.state.primed for each in streams if each.request.state is not None]
        for stream, primed in zip(streams, before, strict=True):
            if len(stream.prompt):
                primed = self._reader.read([stream.prompt], primed)
            check_finite(primed.logits)
            yield primed, 0

    def _states(self, prompts: list[Tokens]) -> Iterator[tuple[Primed, int]]:
        """Where the state of each prompt stands; what was read here or just before is not again.

        Samples of one prompt are the common case.
        """
        keys = [prompt.tobytes() for prompt in prompts]
        fresh = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._last
        }
        known: dict[bytes, tuple[Primed, int]] = {}
        for key in set(keys) - set(fresh):  # a copy: one stream must not hold many others' states
            states, row = self._last[key]
            known[key] = (states if len(states.h) == 1 else states.take([row]), 0)
        if fresh:
            primed = self._reader.read(list(fresh.values()))
            check_finite(primed.logits)
            known |= {key: (primed, row) for row, key in enumerate(fresh)}
        self._last = known
        return iter([known[key] for key in keys])
