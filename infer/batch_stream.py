"""One stream of a batch: its prompt as tokens, what it has drawn, and when it ends."""

import numpy as np

from charlm.export.contract import Metadata
from charlm.infer import stops
from charlm.infer.engine import Tokens
from charlm.infer.philox import UniformStream
from charlm.infer.requests import Request
from charlm.infer.results import Result


class BatchStream:
    """A request on its way to its text.

    Args:
        index: the request's place among the requests.
        request: what is asked for.
        metadata: the model's.

    Attributes:
        prompt: tokens to be read before the next is drawn.
        shown_prompt: the request's prompt as the model reads it.
        uniforms: the stream's random numbers, at its position.
        remaining: how many characters may yet be drawn; 0 once the text has ended.

    Raises:
        VocabularyError: a character of the prompt or of a stop string that the model lacks.
        SettingsError: an empty stop string.
    """

    def __init__(self, index: int, request: Request, metadata: Metadata) -> None:
        self.index, self.request = index, request
        self._vocabulary = vocabulary = metadata.vocabulary
        unknown = metadata.unknown(request.unknown)
        text = metadata.normalisation(request.prompt)
        self.prompt: Tokens = vocabulary.encode(text, unknown)
        self.shown_prompt = vocabulary.decode(self.prompt)
        self._lacking = vocabulary.lacks(text)
        self._stops = stops.normalised(request.stop, metadata)
        self._before = max((len(stop) for stop in self._stops), default=1) - 1
        self._type = np.dtype(vocabulary.dtype)
        self._drawn = bytearray()  # tokens in the vocabulary's smallest type
        self._end: tuple[int, str] | None = None
        self.uniforms = UniformStream(request.seed, request.stream)
        self.remaining = request.length

    def take(self, tokens: bytes) -> None:
        """Add tokens that were drawn, in the vocabulary's type; what lies past the end is not."""
        size = self._type.itemsize
        before = len(self._drawn)
        self._drawn += tokens[: self.remaining * size]
        self.remaining -= (len(self._drawn) - before) // size
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
        return self._vocabulary.decode(np.frombuffer(self._drawn, dtype=self._type)[start:end])
