"""What a batch gives back, in the order of its requests or as it is finished."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from charlm.data.system.errors import CharlmError
from charlm.infer.request import Request


@dataclass(frozen=True)
class Result:
    """One text of a batch.

    Attributes:
        index: the request's place among the requests, from 0.
        request: what was asked for.
        prompt: the prompt as the model read it.
        text: the characters after the prompt, without the stop string.
        finish: `"length"`, or `"stop"` where a stop string ended it.
        stop: the stop string that ended it, as the request has it, or None.
        lacking: how many characters of the prompt the model lacks, which it reads as another or
            not at all.
    """

    index: int
    request: Request
    prompt: str
    text: str
    finish: Literal["length", "stop"]
    stop: str | None = None
    lacking: int = 0

    def __str__(self) -> str:
        return self.text

    @property
    def characters(self) -> int:
        """How long the text is."""
        return len(self.text)


@dataclass(frozen=True)
class Failure:
    """One request of a batch that has no text.

    Attributes:
        index: the request's place among the requests, from 0.
        line: the line that it stood in, from 1, or None.
        error: why.
    """

    index: int
    line: int | None
    error: CharlmError

    def __str__(self) -> str:
        return f"no text: {self.error}"


Outcome = Result | Failure


class Indexed(Protocol):
    """What has a place among others."""

    @property
    def index(self) -> int:
        """From 0."""


Placed = TypeVar("Placed", bound=Indexed)


class Order(Generic[Placed]):
    """Gives outcomes out in the order of what was asked for, or as they come.

    In order, what is finished must wait for what was asked for before it. So that the waiting stay
    bounded, a request may begin only if fewer than `window` requests are between it and the first
    whose outcome is not out yet.

    Args:
        ordered: whether to keep the requests' order.
        window: how many requests may be under way or waiting, at least 1.
    """

    def __init__(self, ordered: bool = True, window: int = 1) -> None:
        self.ordered, self.window = ordered, window
        self._next = 0  # the first index that is not out
        self._waiting: dict[int, Placed] = {}

    def may_begin(self, index: int) -> bool:
        """Whether the request of that index may begin now."""
        return not self.ordered or index < self._next + self.window

    def add(self, outcome: Placed) -> None:
        """Take an outcome in."""
        self._waiting[outcome.index] = outcome

    def ready(self) -> Iterator[Placed]:
        """Give out what can be given out now."""
        while self._waiting and (not self.ordered or self._next in self._waiting):
            index = self._next if self.ordered else next(iter(self._waiting))
            self._next += 1
            outcome = self._waiting[index]
            del self._waiting[index]  # no `pop`: Python raises Ctrl-C as a call ends
            yield outcome

    def rest(self) -> Iterator[Placed]:
        """Give out all that is finished, where what it waits for will not come."""
        for index in sorted(self._waiting):
            outcome = self._waiting[index]
            del self._waiting[index]
            yield outcome


def in_order(outcomes: Iterable[Placed]) -> Iterator[Placed]:
    """The same by their places; all that is finished comes before an error or Ctrl-C goes on."""
    order: Order[Placed] = Order()
    try:
        for outcome in outcomes:
            order.add(outcome)
            yield from order.ready()
    except (Exception, KeyboardInterrupt):
        yield from order.rest()
        raise
