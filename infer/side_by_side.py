"""Samples of one prompt side by side, position by position."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.infer import sampler
from charlm.infer.artifact import Model
from charlm.infer.choose import Plan
from charlm.infer.engine import Reader
from charlm.infer.paths import engine_of, reader_of
from charlm.infer.sampler import Sampling, UniformStream, take_block
from charlm.infer.session import check_finite
from charlm.infer.settings import Settings

Tokens = npt.NDArray[Any]


def positions(
    model: Model, plan: Plan, prompt: Tokens, settings: Settings, count: int
) -> Iterator[npt.NDArray[np.int64]]:
    """The next token ids of `count` samples, int64 [count], once for each position.

    Sample s is stream s of the seed.

    Raises:
        ModelFileError: the weights are damaged.
    """
    streams = [UniformStream(settings.seed, number) for number in range(count)]
    reader, left = reader_of(model, plan), settings.length
    sampling = Sampling.same(
        count, len(model.metadata.vocabulary), settings.temperature, settings.filters
    )
    prompts, rows = [prompt], np.zeros(count, dtype=np.intp)
    if not len(prompt):
        first = _first(model, settings, streams)
        yield first.copy()
        if left == 1:
            return
        left = left and left - 1
        read, rows = np.unique(first, return_inverse=True)
        prompts = [*read[:, None]]
    engine = engine_of(model, plan)
    engine.start(_read(reader, prompts).take(rows), sampling)
    endless = left == 0
    while endless or left:
        steps = plan.longest_block if endless else min(plan.longest_block, left)
        block = engine.draw(take_block(streams, steps))
        yield from np.ascontiguousarray(block.T, dtype=np.int64)
        left -= 0 if endless else steps


def _first(model: Model, settings: Settings, streams: list[UniformStream]) -> npt.NDArray[np.int64]:
    """The first characters after an empty prompt."""
    initial = np.asarray(model.metadata.initial, dtype=np.float32)
    numbers = take_block(streams, 1)[:, 0]
    drawn = [sampler.draw_initial(initial, number, settings.temperature) for number in numbers]
    return np.array(drawn, dtype=np.int64)


def _read(reader: Reader, prompts: list[Tokens]) -> Any:
    primed = reader.read(prompts)
    check_finite(primed.logits)
    return primed
