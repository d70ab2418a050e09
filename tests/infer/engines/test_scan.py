"""Blocks by the portable graph of many steps: shared out over threads, and what goes wrong."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import GENERATE, UNIFORM, C, H, sibling_path
from charlm.infer.batch.results import Result
from charlm.infer.engines.base import Primed
from charlm.infer.engines.planning import Work, engine_of
from charlm.infer.engines.scan import STREAMS_A_THREAD, ScanEngine
from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.sampling.draw import Sampling

TEMPERATURES = [1.0, 0.5, 0.0]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_of_mixed_settings_is_that_of_single_texts(
    exact_with_siblings: Path, exact: Generator, threads: int
) -> None:
    blocks = Generator.open(exact_with_siblings, "cpu", threads, via="blocks")
    requests = [
        Request("the city"[: n % 8], 1 + 7 * n % 90, temperature, seed=5, sample=n)
        for n, temperature in zip(range(90), itertools.cycle(TEMPERATURES), strict=False)
    ]
    results = [*blocks.batch(requests, width=3 * STREAMS_A_THREAD)]
    assert len(results) == 90
    for result in results:
        assert isinstance(result, Result)
        asked = result.request
        assert result.text == exact.text(
            asked.prompt, length=asked.length, temperature=asked.temperature, seed=5,
            sample=asked.sample,
        )  # fmt: skip


class Noting:
    """A session that keeps how many streams were in each run."""

    def __init__(self) -> None:
        self.streams: list[int] = []

    def run(self, outputs: list[str], feed: dict[str, Any]) -> tuple[Any, ...]:
        self.streams.append(len(feed[UNIFORM]))
        return np.zeros(feed[UNIFORM].shape, dtype=np.uint8), feed[H], feed[C]


@pytest.mark.parametrize(
    ("streams", "shares"),
    [(1, [1]), (2 * STREAMS_A_THREAD - 1, [15]), (4 * STREAMS_A_THREAD + 3, [8, 9, 9, 9])],
)
def test_each_thread_gets_a_share_that_is_worth_it(streams: int, shares: list[int]) -> None:
    session, state = Noting(), np.arange(streams, dtype=np.float32)[:, None, None]
    engine = ScanEngine(session, vocabulary=28, threads=4)
    engine.start(Primed(state, state, state), Sampling.same(streams, 28))
    assert engine.draw(5).shape == (streams, 5)
    assert sorted(session.streams) == shares


@pytest.mark.parametrize("given", [(2, 6), (2, 5)])
def test_a_graph_that_gives_what_was_not_asked_for_is_refused(given: tuple[int, int]) -> None:
    """A block that is too long, or characters that there are not."""

    class Damaged(Noting):
        def run(self, outputs: list[str], feed: dict[str, Any]) -> tuple[Any, ...]:
            return np.full(given, 28, dtype=np.uint8), feed[H], feed[C]

    state = np.zeros((2, 1, 1), dtype=np.float32)
    engine = ScanEngine(Damaged(), vocabulary=28)
    engine.start(Primed(state, state, state), Sampling.same(2, 28))
    with pytest.raises(ModelFileError, match="write it anew with charlm-export"):
        engine.draw(5)


def test_what_onnx_runtime_refuses_is_one_line(exact_with_siblings: Path) -> None:
    generator = Generator.open(exact_with_siblings, "cpu", via="blocks")
    engine = engine_of(generator.model, generator.plan(Work(1, 0)))
    narrow = np.zeros((1, 1, 5), dtype=np.float32)
    engine.start(Primed(narrow, narrow, narrow), Sampling.same(1, 28))
    with pytest.raises(ModelFileError, match="ONNX Runtime can't run the model: ") as caught:
        engine.draw(3)
    assert "\n" not in str(caught.value)


def test_a_damaged_graph_is_found_before_a_character_is_shown(
    exact_with_siblings: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(exact_with_siblings, model)
    sibling_path(model, GENERATE).write_bytes(b"cut short")
    generator = Generator.open(model, "cpu", via="blocks")
    with pytest.raises(ModelFileError, match="not an ONNX file, or damaged"):
        generator.stream("the", length=1000)
