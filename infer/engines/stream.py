"""One text as it is drawn: its characters, and at any of them the state."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import SettingsError
from charlm.infer.engines.base import Primed, check_finite
from charlm.infer.engines.planning import Plan, engine_of, reader_of
from charlm.infer.model.open import Model
from charlm.infer.request import Request
from charlm.infer.sampling.filters import Sampling
from charlm.infer.sampling.philox import UniformStream

if TYPE_CHECKING:
    from charlm.infer.model.state import State

Tokens = npt.NDArray[Any]
FIRST_BLOCK = 16  # a reader waits for no more than this before the first character


@dataclass(frozen=True)
class Block:
    """Characters that were drawn together."""

    start: int  # how many had been drawn before
    primed: Primed  # the state then; its logits are not used
    text: str  # the characters

    @property
    def end(self) -> int:
        """How many have been drawn with them."""
        return self.start + len(self.text)


class TextStream(Iterator[str]):
    """A text as it is drawn: an iterator of its characters.

    ```python
    stream = generator.stream("the old house ", length=80, seed=1)
    beginning = "".join(itertools.islice(stream, 20))
    stream.state.save("house.safetensors")  # after those 20 characters
    ```

    Args:
        request: what is wanted. The prompt has been read when this returns: what can't be opened is
            found before a character is shown.

    Raises:
        ModelFileError: the weights are damaged, or a graph beside the model can't be used.
        StateError: the request's state is of other weights.
    """

    def __init__(self, model: Model, plan: Plan, prompt: Tokens, request: Request) -> None:
        self._model, self._request, self._prompt = model, request, len(prompt)
        self._vocabulary, self._longest = model.metadata.vocabulary, plan.longest_block
        self._reader, self._engine = reader_of(model, plan), engine_of(model, plan)
        before, self._first = request.state, ""
        if before is not None:
            before.check(model.metadata)
        position = 0 if before is None else before.position
        numbers = UniformStream(request.seed, request.sample, position)
        if not len(prompt) and (before is None or not before.characters):
            from charlm.infer.sampling.draw import draw_first

            initial = np.asarray(model.metadata.initial, dtype=np.float32)
            prompt = np.array([draw_first(initial, numbers, request.temperature)])
            self._first = self._vocabulary.characters[prompt[0]]
        primed = None if before is None else before.primed
        if primed is None or len(prompt):
            primed = self._reader.read([prompt], primed)
        check_finite(primed.logits)
        size, temperature = len(self._vocabulary), request.temperature
        sampling = Sampling.same(1, size, temperature, request.filters, [numbers])
        self._engine.start(primed, sampling)
        self._begun, self._given = primed, 0
        self._blocks: deque[Block] = deque()  # of which characters may yet be given
        self._pieces = self._until_stop()
        self._characters = (character for piece in self._pieces for character in piece)

    def __next__(self) -> str:
        """The next character."""
        character = next(self._characters)
        self._given += 1
        return character

    def pieces(self) -> Iterator[str]:
        """The characters that are left, as many at once as are drawn together."""
        for piece in self._pieces:
            self._given += len(piece)
            yield piece

    @property
    def state(self) -> "State":
        """The state after the characters that were given so far.

        From it the text goes on, with the same seed character by character as it would have.

        Raises:
            SettingsError: the text has a window.
        """
        from charlm.infer.model.state import State

        if self._request.window is not None:
            raise SettingsError("`window` leaves no state to go on from: leave it out to have one")
        start, given, request = self._request.state, self._given, self._request
        before = State.start(self._model.metadata) if start is None else start
        found = replace(
            before, seed=request.seed, sample=request.sample, position=before.position + given
        )
        if given < len(self._first):
            return found
        primed = self._begun
        for block in self._blocks:
            if block.start < given <= block.end:
                text = block.text[: given - block.start]
                primed = self._reader.read([self._vocabulary.encode(text)], block.primed)
        return found.after(primed, self._prompt + given)

    def _until_stop(self) -> Iterator[str]:
        if not self._request.stops:
            return self._drawn()
        from charlm.infer.sampling import stops

        found = stops.normalised(self._request.stops, self._model.metadata)
        return stops.until(self._drawn(), found)

    def _drawn(self) -> Iterator[str]:
        drawn = len(self._first)
        if drawn:
            yield self._first
        if self._request.length == drawn > 0:
            return
        for steps in _lengths(self._request.length and self._request.length - drawn, self._longest):
            while self._blocks and self._blocks[0].end < self._given:
                self._blocks.popleft()
            before = self._engine.held()
            text = self._vocabulary.decode(self._engine.draw(steps)[0])
            self._blocks.append(Block(drawn, before, text))
            drawn += steps
            yield text


def _lengths(left: int, longest: int) -> Iterator[int]:
    """Lengths of blocks that grow; `left` in all, or without end where that is 0."""
    endless, block = left == 0, FIRST_BLOCK if longest > FIRST_BLOCK else 1  # a step may be slow
    while endless or left:
        steps = block if endless else min(block, left)
        yield steps
        left -= 0 if endless else steps
        block = min(2 * block, longest)
