"""What was measured of a model, as `report.json` holds it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from charlm.train.report.compressors import Compressed
from charlm.train.report.extent import Extent


@dataclass(frozen=True)
class Point:
    """The model after an epoch; None for what was not recorded."""

    epoch: float
    characters: int
    seconds: float | None
    train_bits: float
    validation_bits: float | None


@dataclass(frozen=True)
class ContextPoint:
    """Bits per character where the state is zeroed every `length` characters; None: never."""

    length: int | None
    bits: float


@dataclass(frozen=True)
class Drift:
    """A text read round and round without a reset.

    Attributes:
        characters: read in all.
        lap: characters of the text.
        laps: bits per character of each whole lap.
        window: characters that each of `windows` is the mean of.
        windows: bits per character, in order.
        places: characters read at each look at the state.
        hidden: norm of h there.
        cell: norm of c there.
    """

    characters: int
    lap: int
    laps: tuple[float, ...]
    window: int
    windows: tuple[float, ...]
    places: tuple[int, ...]
    hidden: tuple[float, ...]
    cell: tuple[float, ...]

    def first_and_last(self) -> tuple[float, float]:
        """Bits of the first and the last lap; of the first and last tenth where there is one."""
        if len(self.laps) > 1:
            return self.laps[0], self.laps[-1]
        tenth = max(1, len(self.windows) // 10)
        ends = self.windows[:tenth], self.windows[-tenth:]
        return sum(ends[0]) / tenth, sum(ends[1]) / tenth


@dataclass(frozen=True)
class Character:
    """How hard a character is to predict.

    Attributes:
        character: it.
        count: its occurrences in the held-out text.
        bits: mean of -log2 p where it stood.
        frequency_bits: what its frequency in the training text alone would cost.
        share: of all the bits of the held-out text.
    """

    character: str
    count: int
    bits: float
    frequency_bits: float
    share: float


@dataclass(frozen=True)
class Copies:
    """What a text has word for word from the training text.

    Attributes:
        name: of the text.
        characters: its length.
        longest: the longest copy, in characters.
        text: that copy.
        shares: of its substrings of so many characters, those that the training text has.
    """

    name: str
    characters: int
    longest: int
    text: str
    shares: dict[int, float]


@dataclass(frozen=True)
class Distances:
    """Jensen-Shannon divergence of a text from the held-out text, by the n-grams' name."""

    name: str
    values: dict[str, float]


@dataclass(frozen=True)
class Sample:
    """A text of the model."""

    temperature: float
    text: str


@dataclass(frozen=True)
class Advice:
    """What to try next.

    Attributes:
        what: in a few words.
        because: the figure that says so.
        command: a line to run; empty where there is none.
    """

    what: str
    because: str
    command: str


@dataclass(frozen=True)
class Evidence:
    """All that a report says.

    Attributes:
        name: of the run folder.
        about: facts on model and training, by name.
        texts: names of the text's files.
        seed: of the samples.
        extent: how much was measured.
        curve: the training, an evaluation each; empty where nobody recorded it.
        bits: per character of the held-out text, state carried.
        held_out: whether nothing of that text was learnt from, as far as is known.
        gap: bits per character of training and held-out text, both in segments.
        gap_length: characters of such a segment.
        ngrams: bits per character of models of order 1, 2, …
        compressed: what compressors need.
        context: by how often the state is zeroed.
        drift: whether it stays good when it never is.
        hardest: characters, those that cost the most in all first.
        copies: of samples, and of the held-out text.
        distances: of samples, and of the training text.
        samples: a text at each temperature.
        advice: what to try next.
        notes: what could not be known or was cut short.
    """

    name: str
    about: dict[str, str]
    texts: tuple[str, ...]
    seed: int
    extent: Extent
    curve: tuple[Point, ...]
    bits: float
    held_out: bool
    gap: tuple[float, float]
    gap_length: int
    ngrams: tuple[float, ...]
    compressed: tuple[Compressed, ...]
    context: tuple[ContextPoint, ...]
    drift: Drift
    hardest: tuple[Character, ...]
    copies: tuple[Copies, ...]
    distances: tuple[Distances, ...]
    samples: tuple[Sample, ...]
    advice: tuple[Advice, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Its JSON form."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Figures rounded to what they mean."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
