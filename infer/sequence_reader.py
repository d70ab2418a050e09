"""Reading prompts in whole runs of a sequence graph."""

from collections.abc import Sequence

import numpy as np

from charlm.infer import sequence
from charlm.infer.artifact import Model
from charlm.infer.engine import Primed, Reader, StepReader, Tokens


class SequenceReader:
    """A `Reader` that runs a sequence graph over many prompts at once.

    The longest stand first, so that those still being read are always the first rows. A run ends
    where a prompt ends.

    Args:
        model: an open model with a sequence graph beside it.
        precision: of the graph.

    Raises:
        SettingsError: the model has no such graph.
        ModelFileError: the graph is damaged or of other weights.
    """

    def __init__(self, model: Model, precision: str = "float32") -> None:
        self.metadata, self._model, self._precision = model.metadata, model, precision
        self._open(1)

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        self._open(len(prompts))
        sizes = np.array([len(prompt) for prompt in prompts])
        order = np.argsort(-sizes, kind="stable")
        lengths = sizes[order]
        tokens = np.concatenate([prompts[row] for row in order])
        begins = np.cumsum(lengths) - lengths
        state = self._zero(len(prompts))
        parts, done = [], 0
        for length in np.unique(lengths).tolist():
            reading = int(np.count_nonzero(lengths >= length))
            state = self._read(tokens, begins[:reading], done, length, state.take(slice(reading)))
            parts.append(state.take(slice(int(np.count_nonzero(lengths > length)), None)))
            done = length
        return Primed.joined(parts[::-1]).take(np.argsort(order))

    def _open(self, texts: int) -> None:
        self._sequence = sequence.open_sequence(self._model, texts, self._precision)

    def _zero(self, count: int) -> Primed:
        shape = (count, self.metadata.layers, self.metadata.hidden)
        zeros = np.zeros(shape, dtype=np.float32)
        return Primed(zeros, zeros, np.zeros((count, len(self.metadata.vocabulary)), np.float32))

    def _read(self, tokens: Tokens, begins: Tokens, first: int, last: int, state: Primed) -> Primed:
        """The state after the characters `first` to `last` of the prompts that begin there."""
        longest = sequence.run_length(len(begins), self.metadata)
        for place in range(first, last, longest):
            columns = np.arange(place, min(place + longest, last))
            read = tokens[begins[:, None] + columns].astype(np.int64)
            # Nothing is asked of what follows: any target will do.
            found = self._sequence.run(read, read, state.h, state.c)
            state = Primed(found.h, found.c, found.logits)
        return state


def reader_for(model: Model, precision: str = "float32") -> Reader:
    """The fastest reader that a model's siblings allow.

    Args:
        model: an open model.
        precision: `float32`, which every model can, or another whose sibling stands beside it.

    Raises:
        SettingsError: the precision is unknown, or the model has no graph of it.
        ModelFileError: a sibling is damaged or of other weights.
    """
    there = any(kind in model.siblings for kind in sequence.kinds_for(precision))
    if there or precision != "float32":
        return SequenceReader(model, precision)
    return StepReader(model)
