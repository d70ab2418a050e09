"""Requests that wait for a place in a batch; their prompts are read many at a time, ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from charlm.data.system.errors import CharlmError, SettingsError
from charlm.export.contract import Metadata
from charlm.infer.batch.batch_stream import BatchStream, Opening
from charlm.infer.batch.prompt_file import BadLine
from charlm.infer.batch.results import Failure, Order
from charlm.infer.engines.engine import Primed, Reader, Tokens
from charlm.infer.engines.session import check_finite
from charlm.infer.request import Request
from charlm.infer.sampling import sampler
from charlm.infer.sampling.philox import take_block

NO_END = "--length 0, a text without end, can't be one of several"
Refuse = Callable[[Request], CharlmError | None]  # why a request can't be served, if it can't


@dataclass(frozen=True)
class Entrants:
    """Streams that can begin: each has read its prompt.

    Attributes:
        streams: at least one.
        primed: their states, in the same order.
    """

    streams: Sequence[BatchStream]
    primed: Primed


class Waiting:
    """The requests that are yet to begin.

    Args:
        requests: read as they are needed, and as far ahead as one more batch.
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
        requests: Iterable[Request | BadLine],
        reader: Reader,
        metadata: Metadata,
        order: Order,
        ahead: int,
        refuse: Refuse | None = None,
    ) -> None:
        self._requests = enumerate(requests)
        self._reader, self._metadata, self._order = reader, metadata, order
        self._ahead, self._refuse, self.exhausted = ahead, refuse, False
        self._next: tuple[int, Request | BadLine] | None = None
        self._ready: deque[tuple[BatchStream, Primed, int]] = deque()
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
            self._next = self._next or next(self._requests, None)
            if self._next is None:
                self.exhausted = True
                return
            if not self._order.may_begin(self._next[0]):
                return
            pulled, self._next = self._next, None
            yield pulled

    def _begun(self, index: int, request: Request | BadLine) -> BatchStream | None:
        """The stream of a request, if there is nothing wrong with it."""
        if not isinstance(request, Request | BadLine):
            raise TypeError(f"batch() takes Request objects, not {type(request).__name__}")
        try:
            if isinstance(request, BadLine):
                raise request.error
            if request.length == 0:
                raise SettingsError(NO_END)
            if self._refuse and (why := self._refuse(request)):
                raise why
            alike = request.prompt, request.unknown, request.stop
            if self._opened is None or self._opened[0] != alike:  # samples of a prompt: once
                self._opened = alike, Opening.of(request, self._metadata)
            return BatchStream(index, request, self._opened[1], self._metadata)
        except CharlmError as problem:
            self._order.add(Failure(index, request.line, problem))
            return None

    def _read(self, streams: list[BatchStream]) -> None:
        """Read the prompts; a stream without one draws its first character and reads that."""
        self._draw_first([stream for stream in streams if not len(stream.prompt)])
        for stream in streams:
            if not stream.remaining:
                self._order.add(stream.result())
        streams = [stream for stream in streams if stream.remaining]
        if not streams:
            return
        states = self._states([stream.prompt for stream in streams])
        self._ready.extend((stream, *state) for stream, state in zip(streams, states, strict=True))

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
        return (known[key] for key in keys)

    def _draw_first(self, streams: list[BatchStream]) -> None:
        if not streams:
            return
        initial = np.asarray(self._metadata.initial, dtype=np.float32)
        numbers = take_block([stream.uniforms for stream in streams], 1)[:, 0]
        for stream, number in zip(streams, numbers, strict=True):
            token = sampler.draw_initial(initial, number, stream.request.temperature)
            stream.prompt = np.array([token], dtype=self._metadata.vocabulary.dtype)
            stream.take(stream.prompt.tobytes())
