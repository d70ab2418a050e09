"""One text that is wanted: with the model, all that fixes it."""

import functools
from dataclasses import dataclass
from typing import TypedDict

from charlm.data.system.errors import SettingsError
from charlm.data.text.vocabulary import Unknown
from charlm.infer.sampling import sampler
from charlm.infer.sampling.filters import Filters
from charlm.infer.window import check_window

MAX_LENGTH = 1 << 60  # a text is held whole: memory ends long before


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


@dataclass(frozen=True)
class Request:
    """One text that is wanted. With the model it fixes the text, whatever runs beside it.

    Raises:
        SettingsError: a setting out of range, or of another type.
    """

    prompt: str = ""
    length: int = 200  # characters to draw; 0: without end, which a batch does not take
    temperature: float = 1.0  # the model's own distribution; 0: always the likeliest
    seed: int = 0
    sample: int = 0  # which of the seed's texts: each has random numbers of its own
    top_k: int = 0  # of the likeliest characters; 0: all
    top_p: float = 1.0  # share of the probability that the likeliest must reach; 1: all of it
    min_p: float = 0.0  # of the likeliest character's probability; 0: however little
    stop: str | tuple[str, ...] = ()  # the text ends before the first of them
    unknown: Unknown | None = None  # what the model lacks in a prompt; None: as with its corpus
    window: int | None = None  # each follows from so many before it alone; None: from all of them
    line: int | None = None  # of the file that it stands in, from 1

    def __post_init__(self) -> None:
        _check_text(self.prompt, "the prompt")
        for each in (self.stop,) if isinstance(self.stop, str) else _listed(self.stop):
            _check_text(each, "a stop string")
        if not 0 <= sampler.whole(self.length, "--length") <= MAX_LENGTH:
            raise SettingsError(f"--length is from 0 (without end) to 2^60, not {self.length}")
        sampler.check_seed(self.seed)
        sampler.check_sample(self.sample)
        sampler.inverse_temperature(self.temperature)
        check_window(self.window)
        _ = self.filters

    @functools.cached_property
    def filters(self) -> Filters:
        """Which characters may be drawn.

        Raises:
            SettingsError: a filter out of range.
        """
        return Filters(self.top_k, self.top_p, self.min_p)


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise SettingsError(f"{what} is text, not {value!r}")


def _listed(stop: object) -> tuple[object, ...]:
    if not isinstance(stop, tuple | list):
        raise SettingsError(f"stop is text or a tuple of texts, not {stop!r}")
    return tuple(stop)
