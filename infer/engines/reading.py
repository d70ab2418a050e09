"""Reading prompts of any lengths by what reads texts of one length: the longest stand first.

So those still being read are always the first rows, and the batch shrinks as prompts end.
"""

from collections.abc import Callable, Sequence

import numpy as np

from charlm.infer.engines.engine import Primed, Tokens
from charlm.infer.engines.sequence import Ids, open_sequence, run_length
from charlm.infer.engines.window_stepper import stepper_of
from charlm.infer.model.artifact import Model

Advance = Callable[[Ids, Primed], Primed]  # reads [batch, time] from a state


class SequenceReader:
    """A `Reader` in whole runs, by the fastest way that the model's siblings allow.

    Args:
        model: an open model.
        precision: see `open_sequence`.

    Raises:
        SettingsError: the model has no graph of the precision.
        ModelFileError: a graph is damaged or of other weights.
    """

    def __init__(self, model: Model, precision: str = "float32") -> None:
        self._model, self._metadata = model, model.metadata
        self._sequence = open_sequence(model, precision)

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        shape = (len(prompts), self._metadata.layers, self._metadata.hidden)
        return longest_first(prompts, _blank(shape, len(self._metadata.vocabulary)), self._advance)

    def _advance(self, ids: Ids, state: Primed) -> Primed:
        longest = run_length(len(ids), self._model)
        followed = np.concatenate((ids, ids[:, -1:]), axis=1)  # nothing is asked of the last
        for place in range(0, ids.shape[1], longest):
            end = min(place + longest, ids.shape[1])
            read = self._sequence.run(followed[:, place : end + 1], state.h, state.c)
            state = Primed(read.h, read.c, read.logits)
        return state


class WindowReader:
    """A `Reader` for windows: of a prompt only the last `window` characters are read.

    Args:
        model: an open model.
        window: as of `WindowStepper`.
    """

    def __init__(self, model: Model, window: int) -> None:
        self._model, self._window = model, window

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        metadata = self._model.metadata
        shape = (len(prompts), self._window, metadata.layers, metadata.hidden)
        cut = [prompt[-self._window :] for prompt in prompts]
        return longest_first(cut, _blank(shape, len(metadata.vocabulary)), self._advance)

    def _advance(self, ids: Ids, state: Primed) -> Primed:
        stepper = stepper_of(self._model, len(ids), self._window)
        stepper.set_state(state.h, state.c)
        for column in ids.T:
            stepper.token[:] = column
            stepper.step()
        return Primed(*stepper.state(), stepper.logits.copy())


def longest_first(prompts: Sequence[Tokens], state: Primed, advance: Advance) -> Primed:
    """The states after prompts, each of at least one character, in their order.

    Args:
        prompts: token ids.
        state: of all of them, before.
        advance: reads the same number of characters of several.
    """
    sizes = np.array([len(prompt) for prompt in prompts])
    order = np.argsort(-sizes, kind="stable")
    lengths = sizes[order]
    tokens = np.concatenate([prompts[row] for row in order])
    begins = np.cumsum(lengths) - lengths
    parts, done, state = [], 0, state.take(order)
    for length in np.unique(lengths).tolist():
        reading = int(np.count_nonzero(lengths >= length))
        places = begins[:reading, None] + np.arange(done, length)
        state = advance(tokens[places], state.take(slice(reading)))
        parts.append(state.take(slice(int(np.count_nonzero(lengths > length)), None)))
        done = length
    return Primed.joined(parts[::-1]).take(np.argsort(order))


def _blank(shape: tuple[int, ...], vocabulary: int) -> Primed:
    zeros = np.zeros(shape, dtype=np.float32)
    return Primed(zeros, zeros, np.zeros((shape[0], vocabulary), dtype=np.float32))
