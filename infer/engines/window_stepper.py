"""Steps streams of which each is read from a window: N staggered states each, in one batch."""

import numpy as np

from charlm.infer.engines.session import Array, Stepper
from charlm.infer.model.artifact import Model


class WindowStepper:
    """A `Stepper` whose logits follow from exactly the last `window` characters, from zero.

    The notebook that charlm grew out of reads its window anew for each character: `window` steps,
    one after another. Here a stream has `window` states, begun at successive characters. One step
    of a batch gives the new character to all of them; the oldest has then read `window` of them,
    its logits are what is asked for, and a state of zeros takes its place. The work for a character
    is the same, `window` rows times the recurrent weights, but as one matrix product, which reads
    the weights once and pays for one call: with LSTM-192, a window of 40 and one core 0.2 ms,
    little more than NumPy takes for that product, where 40 steps of one LSTM operator take 0.6 ms.
    No two windows share a state, so an exact way can't do with fewer rows. Only the output layer
    works for nothing: the step graph has logits of all rows, and one a stream is read.

    While a text is shorter than the window, its older states have all read it from its beginning.

    Args:
        model: an open model.
        batch: number of streams.
        window: characters, at least 1.

    Attributes:
        token: int64 [batch], to be filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    def __init__(self, model: Model, batch: int, window: int) -> None:
        self._all = Stepper(model, batch * window, fresh=batch)
        self._shape = (window, batch, model.metadata.layers, model.metadata.hidden)
        self._tokens = self._all.token.reshape(window, batch)
        self.token = np.zeros(batch, dtype=np.int64)
        self.logits: Array = self._all.logits[-batch:]  # the oldest states stand last

    def step(self) -> None:
        """Read `token`, advance the states, write `logits`.

        Raises:
            ModelFileError: see `Stepper.step`.
        """
        self._tokens[:] = self.token
        self._all.step()

    def state(self) -> tuple[Array, Array]:
        """Copies of (h, c), each float32 [batch, window, layers, hidden], the oldest last."""
        h, c = (each.reshape(self._shape).swapaxes(0, 1) for each in self._all.state())
        return h, c

    def set_state(self, h: Array, c: Array) -> None:
        """Put the streams into a state that `state` gave, or into some streams of it."""
        shape = (-1, *self._shape[2:])
        self._all.set_state(*(each.swapaxes(0, 1).reshape(shape) for each in (h, c)))


def stepper_of(model: Model, batch: int, window: int | None) -> Stepper | WindowStepper:
    """A stepper of so many streams."""
    if window is not None:
        return WindowStepper(model, batch, window)
    return Stepper(model, batch)
