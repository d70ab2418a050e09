"""What the procedures share: the weights, the prompt, and charlm's own sampling for all of them.

So that only the models differ, every procedure but the notebook's draws the very text that charlm
draws for the same seed. A library that steps gives a `Steps`; here it becomes a `Run`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.harness.settings import WEIGHTS, CaseSettings, Run
from charlm.infer.sampling.draw import Sampler
from charlm.infer.sampling.philox import UniformStream, take_block

Arrays = dict[str, npt.NDArray[Any]]
BLOCK = 256  # positions whose random numbers are made at once


def load_weights(settings: CaseSettings) -> tuple[Arrays, npt.NDArray[Any], list[str]]:
    """The model's weights by Torch's names, the window that starts a text, and the characters.

    Raises:
        CaseFailedError: they could not be read out of the model.
    """
    with np.load(settings.artifact(WEIGHTS)) as file:
        arrays = dict(file)
    window = arrays.pop("window").astype(np.int64)
    characters = arrays.pop("characters").tolist()
    return arrays, window, characters


def lstm_layers(arrays: Arrays) -> list[tuple[npt.NDArray[Any], ...]]:
    """Of each layer: weights of its input [4h, inputs] and state [4h, h], and its whole bias."""
    count = sum(name.startswith("lstm.weight_hh") for name in arrays)
    return [
        (
            arrays[f"lstm.weight_ih_l{n}"],
            arrays[f"lstm.weight_hh_l{n}"],
            arrays[f"lstm.bias_ih_l{n}"] + arrays[f"lstm.bias_hh_l{n}"],
        )
        for n in range(count)
    ]


def run_of(stream: Iterator[str]) -> Run:
    """A `Run` that takes its characters from a stream without end."""
    return lambda count: "".join(islice(stream, count))


class Steps(Protocol):
    """A batch of streams on their way through a model, with their state inside.

    Attributes:
        token: integers [batch], filled by the caller before each step.
        logits: float32 [batch, vocabulary], written by each step in place.
    """

    token: npt.NDArray[Any]
    logits: npt.NDArray[np.float32]

    @property
    def step(self) -> Callable[[], None]:
        """Read `token`, move the state on, write `logits`."""


def run_of_steps(
    steps: Steps, prompt: Iterable[int], characters: list[str], settings: CaseSettings
) -> Run:
    """Read `prompt`, token ids, in every stream, then draw.

    A unit is one character of each stream: a string at batch 1, token ids int64 [batch] otherwise.
    """
    for token in prompt:
        steps.token[:] = token
        steps.step()
    if settings.batch == 1:
        return run_of(_draw_one(steps, characters, settings))
    many = _draw_many(steps, settings)
    return lambda count: list(islice(many, count))


def _draw_one(steps: Steps, characters: list[str], settings: CaseSettings) -> Iterator[str]:
    draw, token, step = (
        Sampler(steps.logits, settings.temperature).draw_one,
        steps.token,
        steps.step,
    )
    for uniform in UniformStream(settings.seed, 0):
        drawn = draw(uniform)
        yield characters[drawn]
        token[0] = drawn
        step()


def _draw_many(steps: Steps, settings: CaseSettings) -> Iterator[npt.NDArray[np.int64]]:
    draw = Sampler(steps.logits, settings.temperature).draw
    streams = [UniformStream(settings.seed, stream) for stream in range(settings.batch)]
    while True:
        for uniforms in take_block(streams, BLOCK).T:
            drawn = draw(uniforms)
            yield drawn
            steps.token[:] = drawn
            steps.step()
