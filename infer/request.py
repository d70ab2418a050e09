"""One text that is wanted, and all its options, checked once: with the model, all that fixes it."""

import functools
import os
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, TypedDict

from charlm.data import MAX_WINDOW
from charlm.data.system.errors import SettingsError
from charlm.data.text.vocabulary import Unknown
from charlm.infer.sampling.filters import Filters, inverse_temperature

if TYPE_CHECKING:
    from charlm.infer.model.state import State

MAX_LENGTH = 1 << 60  # a text is held whole: memory ends long before
MAX_SEED = (1 << 64) - 1


def draw_seed() -> int:
    """A new seed, to be shown, for a text whose user named none."""
    return int.from_bytes(os.urandom(4), "little")


class Settings(TypedDict, total=False):
    """How a text is drawn, as keywords; see `Request`, which has their defaults."""

    length: int
    temperature: float
    seed: int
    sample: int
    top_k: int
    top_p: float
    min_p: float
    stop: str | tuple[str, ...]
    unknown: Unknown | None
    window: int | None
    state: "State | None"


@dataclass(frozen=True)
class Request:
    """One text that is wanted. With the model it fixes the text, whatever runs beside it.

    Raises:
        SettingsError: a setting out of range, or of another type.
    """

    prompt: str = ""
    length: int = 200  # characters to draw; 0: without end, which a batch does not take
    temperature: float = 1.0  # the model's own distribution; 0: always the likeliest
    seed: int = field(default_factory=draw_seed)  # drawn, where it is not given
    sample: int = 0  # which of the seed's texts: each has random numbers of its own
    top_k: int = 0  # of the likeliest characters; 0: all
    top_p: float = 1.0  # share of the probability that the likeliest must reach; 1: all of it
    min_p: float = 0.0  # of the likeliest character's probability; 0: however little
    stop: str | tuple[str, ...] = ()  # the text ends before the first of them
    unknown: Unknown | None = None  # what the model lacks in a prompt; None: as with its corpus
    window: int | None = None  # each follows from so many before it alone; None: from all of them
    state: "State | None" = None  # to go on from; None: the beginning of a text
    line: int | None = None  # of the file that it stands in, from 1

    def __post_init__(self) -> None:
        _check_text(self.prompt, "the prompt")
        if not isinstance(self.stop, str | tuple | list):
            raise SettingsError(f"stop is text or a tuple of texts, not {self.stop!r}")
        for each in self.stops:
            _check_text(each, "a stop string")
        _check_whole(self.length, "`length`", MAX_LENGTH, "0 (without end) to 2^60")
        _check_whole(self.seed, "`seed`", MAX_SEED, "0 to 2^64 - 1")
        _check_whole(self.sample, "`sample`", MAX_SEED, "0 to 2^64 - 1")
        _check_number(self.temperature, "`temperature`")
        inverse_temperature(self.temperature)
        check_window(self.window)
        if self.window is not None and self.state is not None:
            raise SettingsError("`window` reads from a zero state: leave it out to go on from one")
        _ = self.filters

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, one or several."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def filters(self) -> Filters:
        """Which characters may be drawn.

        Raises:
            SettingsError: a filter out of range.
        """
        return _filters(self.top_k, self.top_p, self.min_p)


_filters = functools.lru_cache(typed=True)(Filters)  # many requests have the same


def check_window(window: int | None) -> None:
    """A window: each character follows from the last N alone, read from a zero state.

    Raises:
        SettingsError: out of range.
    """
    if window is not None and not 1 <= window <= MAX_WINDOW:
        raise SettingsError(
            f"`window` is from 1 to {MAX_WINDOW} characters, not {window}; "
            "leave it out to carry the state from the text's beginning"
        )


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise SettingsError(f"{what} is text, not {value!r}")


def _check_number(value: object, what: str) -> None:
    if not isinstance(value, (float, Real)):  # `Real` alone takes longer than all else
        raise SettingsError(f"{what} is a number, not {value!r}")


def _check_whole(number: int, what: str, most: int, described: str) -> None:
    if type(number) is not int:
        raise SettingsError(f"{what} is a whole number, not {number!r}")
    if not 0 <= number <= most:
        raise SettingsError(f"{what} is from {described}, not {number}")
