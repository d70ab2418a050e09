"""One stream of a batch: its prompt as tokens, what it has drawn, and when it ends."""

from dataclasses import dataclass

import numpy as np

from charlm.export.contract import Metadata
from charlm.infer.batch.results import Result
from charlm.infer.engines.engine import Tokens
from charlm.infer.request import Request
from charlm.infer.sampling import stops
from charlm.infer.sampling.philox import UniformStream

AT_FIRST = 1 << 12  # tokens that a stream has room for as it begins; a stop may end it sooner


@dataclass(frozen=True)
class Opening:
    """How texts begin and end: what requests of the same words have in common.

    Attributes:
        prompt: tokens to be read before the first is drawn.
        shown: the prompt as the model reads it.
        lacking: how many of its characters the model does not know.
        stops: the stop strings as the model writes them.
    """

    prompt: Tokens
    shown: str
    lacking: int
    stops: tuple[str, ...]

    @classmethod
    def of(cls, request: Request, metadata: Metadata) -> "Opening":
        """That of a request.

        Raises:
            VocabularyError: a character of the prompt or of a stop string that the model lacks.
            SettingsError: an empty stop string.
        """
        vocabulary, text = metadata.vocabulary, metadata.normalisation(request.prompt)
        prompt = vocabulary.encode(text, metadata.unknown(request.unknown))
        ends = stops.normalised(request.stop, metadata)
        return cls(prompt, vocabulary.decode(prompt), vocabulary.lacks(text), ends)


class BatchStream:
    """A request on its way to its text.

    Args:
        index: the request's place among the requests.
        request: what is asked for.
        opening: of the request.
        metadata: the model's.

    Attributes:
        prompt: tokens to be read before the next is drawn.
        shown_prompt: the request's prompt as the model reads it.
        uniforms: the stream's random numbers, at its position.
        remaining: how many characters may yet be drawn; 0 once the text has ended.
    """

    def __init__(self, index: int, request: Request, opening: Opening, metadata: Metadata) -> None:
        self.index, self.request = index, request
        self._vocabulary = vocabulary = metadata.vocabulary
        self.prompt, self.shown_prompt = opening.prompt, opening.shown
        self._lacking, self._stops = opening.lacking, opening.stops
        self._before = max((len(stop) for stop in self._stops), default=1) - 1
        self._type = np.dtype(vocabulary.dtype)
        # Tokens in the vocabulary's smallest type: room for all of them, or for the first of many.
        self._drawn = bytearray(min(request.length, AT_FIRST) * self._type.itemsize)
        self._size = 0  # bytes of them
        self._end: tuple[int, str] | None = None
        self.uniforms = UniformStream(request.seed, request.sample)
        self.remaining = request.length

    def take(self, tokens: bytes | memoryview) -> None:
        """Add tokens that were drawn, in the vocabulary's type; what lies past the end is not."""
        size, before = self._type.itemsize, self._size
        taken = tokens[: self.remaining * size]
        self._size += len(taken)
        if self._size > len(self._drawn):
            self._drawn.extend(bytes(max(len(self._drawn), len(taken))))
        self._drawn[before : self._size] = taken
        self.remaining -= len(taken) // size
        if self._stops:
            start = max(0, before // size - self._before)
            self._end = stops.find(self._text(start), self._stops)
            if self._end is not None:
                self._end = self._end[0] + start, self._end[1]
                self.remaining = 0

    def certain(self, start: int) -> str:
        """The text from a position on, as far as no stop string can take it back."""
        if self._end is not None:
            return self._text(start, self._end[0])
        text = self._text(start)
        if not self._stops or not self.remaining:
            return text
        # What may begin a stop string may lie before `start` only if it was held back then.
        return text[: len(text) - stops.begun(text, self._stops)]

    def result(self) -> Result:
        """The text, once nothing remains."""
        if self._end is None:
            text = self._text(0)
            return Result(
                self.index, self.request, self.shown_prompt, text, "length", lacking=self._lacking
            )
        end, found = self._end
        given = stops.several(self.request.stop)[self._stops.index(found)]
        return Result(
            self.index, self.request, self.shown_prompt, self._text(0, end), "stop", given,
            self._lacking,
        )  # fmt: skip

    def _text(self, start: int, end: int | None = None) -> str:
        drawn = np.frombuffer(self._drawn, self._type, self._size // self._type.itemsize)
        return self._vocabulary.decode(drawn[start:end])
