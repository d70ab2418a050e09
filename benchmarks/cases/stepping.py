"""What the step loops of other libraries share: prompt, sampling and the carried state's rhythm.

A library gives a `Steps`; here it becomes a `Run` that draws the very text that charlm draws for
the same seed, by charlm's own sampler, so that only the steps differ.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import drawer, run_of
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.infer.sampling.draw import Sampler
from charlm.infer.sampling.philox import UniformStream, take_block

BLOCK = 256  # positions whose random numbers are made at once


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
        return run_of(_one(steps, characters, settings))
    many = _many(steps, settings)
    return lambda count: list(islice(many, count))


def _one(steps: Steps, characters: list[str], settings: CaseSettings) -> Iterator[str]:
    draw, token, step = drawer(steps.logits, settings), steps.token, steps.step
    while True:
        drawn = draw()
        yield characters[drawn]
        token[0] = drawn
        step()


def _many(steps: Steps, settings: CaseSettings) -> Iterator[npt.NDArray[np.int64]]:
    draw = Sampler(steps.logits, settings.temperature).draw
    for uniforms in _uniforms(settings):
        drawn = draw(uniforms)
        yield drawn
        steps.token[:] = drawn
        steps.step()


def _uniforms(settings: CaseSettings) -> Iterator[npt.NDArray[np.float32]]:
    """float32 [batch] for each position, without end."""
    streams = [UniformStream(settings.seed, stream) for stream in range(settings.batch)]
    while True:
        yield from take_block(streams, BLOCK).T
