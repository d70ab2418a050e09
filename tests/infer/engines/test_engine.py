"""What every engine of the CPU does with the streams that it holds."""

from typing import Any

import numpy as np

from charlm.infer.engines.base import Engine, Primed
from charlm.infer.engines.planning import BLOCKS, Work, engine_of, reader_of
from charlm.infer.generator import Generator
from charlm.infer.sampling.draw import Sampling
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream


def engine(generator: Generator) -> Engine:
    return engine_of(generator.model, generator.plan(Work(None)))


def primed(generator: Generator, *prompts: str) -> Primed:
    reader = reader_of(generator.model, generator.plan(Work(None)))
    return reader.read([generator.encode(prompt) for prompt in prompts])


def numbers(*streams: int) -> list[UniformStream]:
    return [UniformStream(3, stream) for stream in streams]


def sampling_of(streams: list[UniformStream], temperature: float = 1.0) -> Sampling:
    return Sampling.same(len(streams), 28, temperature, numbers=streams)


def test_streams_draw_what_each_draws_alone(exact: Generator, exact_each_way: Generator) -> None:
    """Blocks of any length, each stream with settings of its own."""
    prompts = ["the city", "a", "a", "é z"]
    settings: list[dict[str, Any]] = [
        {"temperature": 0.5}, {"temperature": 0}, {"top_k": 3}, {"temperature": 2, "top_p": 0.9}
    ]  # fmt: skip
    if exact_each_way.plan(Work(None)).path == BLOCKS:  # which has no filters
        settings[2:] = [{}, {"temperature": 2}]
    filters = [Filters(each.get("top_k", 0), each.get("top_p", 1.0)) for each in settings]
    temperatures = [each.get("temperature", 1.0) for each in settings]
    drawing, streams = engine(exact_each_way), numbers(0, 1, 2, 3)
    sampling = Sampling.of(list(zip(temperatures, filters, strict=True)), 28, streams)
    drawing.start(primed(exact_each_way, *prompts), sampling)
    blocks = [drawing.draw(steps) for steps in (1, 7, 32)]
    assert [block.shape for block in blocks] == [(4, 1), (4, 7), (4, 32)]
    for stream, tokens in enumerate(np.concatenate(blocks, axis=1)):
        wanted = exact.text(prompts[stream], length=40, seed=3, sample=stream, **settings[stream])
        assert exact.vocabulary.decode(tokens) == wanted


def test_rows_are_replaced_kept_and_doubled(exact: Generator, exact_each_way: Generator) -> None:
    texts = [exact.text("a", length=30, seed=3, sample=stream) for stream in range(4)]
    other = exact.text("the", length=20, seed=3, sample=7, temperature=0.3)
    drawing = engine(exact_each_way)
    drawing.start(primed(exact_each_way, *["a"] * 4), sampling_of(numbers(0, 1, 2, 3)))
    drawing.draw(10)
    drawing.replace(np.array([1]), primed(exact_each_way, "the"), sampling_of(numbers(7), 0.3))
    drawing.keep(np.array([3, 1, 1]))
    drawn = drawing.draw(20)
    assert [exact.vocabulary.decode(row) for row in drawn] == [texts[3][10:], other, other]


def test_what_was_primed_is_not_written_to(exact_each_way: Generator) -> None:
    given = primed(exact_each_way, "a", "the")
    sampling = sampling_of(numbers(0, 1))
    settings, before = (
        sampling.settings.copy(),
        (given.h.copy(), given.c.copy(), given.logits.copy()),
    )
    drawing = engine(exact_each_way)
    drawing.start(given, sampling)
    drawing.draw(10)
    drawing.replace(np.array([0, 1]), given, sampling)
    drawing.draw(10)
    np.testing.assert_array_equal(sampling.settings, settings)
    for ours, kept in zip((given.h, given.c, given.logits), before, strict=True):
        np.testing.assert_array_equal(ours, kept)
