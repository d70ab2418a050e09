"""Blocks by the generate graph against the step loop: the same text, however it is cut."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.errors import ModelFileError
from charlm.export.contract_siblings import FILTERED, GENERATE, sibling_path
from charlm.infer import sequence_reader
from charlm.infer.choose import BLOCKS, STEP, WORTH_SEQUENCE
from charlm.infer.engine import Primed, StepEngine, StepReader, Tokens
from charlm.infer.filters import Filters
from charlm.infer.generator import Generator
from charlm.infer.paths import engine_of
from charlm.infer.requests import Request
from charlm.infer.sampling import Sampling
from charlm.infer.scan_engine import STREAMS_A_THREAD, ScanEngine
from charlm.infer.sequence_reader import SequenceReader
from charlm.infer.work import Work

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 0.0},
    {"top_k": 3},
    {"top_p": 0.7},
    {"min_p": 0.2, "top_k": 5},
]


@pytest.fixture(scope="module")
def steps(exact_with_siblings: Path) -> Generator:
    return Generator.open(exact_with_siblings, "cpu", via="steps")


@pytest.fixture(scope="module")
def blocks(exact_with_siblings: Path) -> Generator:
    return Generator.open(exact_with_siblings, "cpu", via="blocks")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("prompt", ["", "the nameless city"])
def test_a_text_is_that_of_the_step_loop(
    steps: Generator, blocks: Generator, prompt: str, settings: dict[str, Any]
) -> None:
    for length in (1, 2, 17, 700):
        wanted = steps.text(prompt, length=length, seed=3, **settings)
        assert blocks.text(prompt, length=length, seed=3, **settings) == wanted


def test_a_text_without_end_begins_as_one_with_an_end(blocks: Generator) -> None:
    endless = "".join(itertools.islice(blocks.stream("the", length=0, seed=4), 1500))
    assert endless == blocks.text("the", length=1500, seed=4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_of_mixed_settings_is_that_of_single_texts(
    exact_with_siblings: Path, steps: Generator, threads: int
) -> None:
    blocks = Generator.open(exact_with_siblings, "cpu", threads, via="blocks")
    requests = [
        Request("the city"[: number % 8], length=1 + 7 * number % 90, seed=5, stream=number, **each)
        for number, each in zip(range(90), itertools.cycle(SETTINGS), strict=False)
    ]
    results = [*blocks.batch(requests, width=3 * STREAMS_A_THREAD)]
    for request, result in zip(requests, results, strict=True):
        alone = steps.text(
            request.prompt, length=request.length, seed=5, stream=request.stream,
            temperature=request.temperature, top_k=request.top_k, top_p=request.top_p,
            min_p=request.min_p,
        )  # fmt: skip
        assert result.text == alone  # type: ignore[union-attr]


def test_samples_side_by_side_are_those_of_the_step_loop(
    steps: Generator, blocks: Generator
) -> None:
    for prompt in ("", "a"):
        ours, theirs = (
            np.stack([*each.samples(prompt, count=40, length=130, seed=2)])
            for each in (blocks, steps)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_exchanged_and_dropped_as_the_step_engine_does(blocks: Generator) -> None:
    model = blocks.model
    ours, theirs = engine_of(model, blocks.plan(Work(None))), StepEngine(model)
    reader, size = StepReader(model), len(model.metadata.vocabulary)
    random = np.random.default_rng(0)

    def drawn(streams: int, count: int) -> None:
        uniform = random.random((streams, count), dtype=np.float32)
        np.testing.assert_array_equal(ours.draw(uniform), theirs.draw(uniform))

    prompts = [blocks.encode(prompt) for prompt in ("the", "a city", "no", "a")]
    later = reader.read(prompts[2:])
    for engine in (ours, theirs):
        engine.start(reader.read(prompts), Sampling.same(4, size))
    drawn(4, 9)
    for engine in (ours, theirs):
        engine.replace(
            np.array([2, 0]), later, Sampling.of([0.5, 2.0], [Filters(), Filters()], size)
        )
    drawn(4, 8)
    for engine in (ours, theirs):
        engine.keep(np.array([3, 0, 0]))
    drawn(3, 7)


def test_the_state_is_not_that_of_the_caller(blocks: Generator) -> None:
    model = blocks.model
    primed = StepReader(model).read([blocks.encode("the")])
    before = primed.h.copy(), primed.c.copy()
    engine = engine_of(model, blocks.plan(Work(1, 0)))
    engine.start(primed, Sampling.same(1, len(model.metadata.vocabulary)))
    engine.draw(np.full((1, 20), 0.5, dtype=np.float32))
    np.testing.assert_array_equal(primed.h, before[0])
    np.testing.assert_array_equal(primed.c, before[1])


def test_each_thread_gets_a_share_that_is_worth_it() -> None:
    engine = ScanEngine(lambda streams, filtered: None, threads=4)
    (only,) = engine._shares(np.arange(2 * STREAMS_A_THREAD - 1))
    assert len(only) == 2 * STREAMS_A_THREAD - 1
    rows = np.arange(4 * STREAMS_A_THREAD + 3)
    shares = engine._shares(rows)
    assert len(shares) == 4
    np.testing.assert_array_equal(np.concatenate(shares), rows)


def test_only_the_streams_that_filter_take_the_graph_that_does(blocks: Generator) -> None:
    asked: list[tuple[int, bool]] = []
    model, size = blocks.model, len(blocks.vocabulary)

    def session_for(streams: int, filtered: bool) -> Any:
        asked.append((streams, filtered))
        return model.siblings.session(FILTERED if filtered else GENERATE)

    engine = ScanEngine(session_for)
    filters = [Filters(top_k=2), Filters(), Filters(), Filters(top_k=2), Filters()]
    primed = StepReader(model).read([blocks.encode("the")] * 5)
    uniform = np.random.default_rng(0).random((5, 30), dtype=np.float32)
    engine.start(primed, Sampling.of([1.0] * 5, filters, size))
    assert asked == [(3, False), (2, True)]
    ours = engine.draw(uniform)
    assert asked == [(3, False), (2, True)] * 2
    reference = StepEngine(model)
    reference.start(primed, Sampling.of([1.0] * 5, filters, size))
    np.testing.assert_array_equal(ours, reference.draw(uniform))
    np.testing.assert_array_equal(engine.draw(uniform), reference.draw(uniform))


def test_what_onnx_runtime_refuses_is_one_line(blocks: Generator) -> None:
    model = blocks.model
    engine = engine_of(model, blocks.plan(Work(1, 0)))
    primed = StepReader(model).read([blocks.encode("the")])
    narrow = Primed(primed.h[..., :5], primed.c, primed.logits)
    engine.start(narrow, Sampling.same(1, len(model.metadata.vocabulary)))
    with pytest.raises(ModelFileError, match="ONNX Runtime can't run the model: ") as caught:
        engine.draw(np.zeros((1, 3), dtype=np.float32))
    assert "\n" not in str(caught.value)


def test_without_siblings_the_step_loop_draws(exact: Generator, blocks: Generator) -> None:
    assert exact.plan(Work(None)).path == STEP
    assert blocks.plan(Work(None)).path == BLOCKS
    assert exact.text("the", length=900, seed=1) == blocks.text("the", length=900, seed=1)


def test_a_long_prompt_is_read_by_the_graph_of_whole_texts(
    exact_with_siblings: Path, exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    class Counted(SequenceReader):
        def read(self, prompts: Sequence[Tokens]) -> Primed:
            read.extend(map(len, prompts))
            return super().read(prompts)

    monkeypatch.setattr(sequence_reader, "SequenceReader", Counted)
    generator = Generator.open(exact_with_siblings, "cpu")
    prompt = "the city of the sea " * (WORTH_SEQUENCE // 20)
    for length in (50, 800):
        wanted = exact.text(prompt, length=length, seed=1)
        assert generator.text(prompt, length=length, seed=1) == wanted
    assert read == [len(prompt)] * 2
    generator.text("the city", length=800)
    assert len(read) == 2


def test_a_damaged_graph_is_found_before_a_character_is_shown(
    exact_with_siblings: Path, tmp_path: Path
) -> None:
    for path in exact_with_siblings.parent.iterdir():
        shutil.copy(path, tmp_path)
    model = tmp_path / exact_with_siblings.name
    sibling_path(model, GENERATE).write_bytes(b"cut short")
    generator = Generator.open(model, "cpu", via="blocks")
    with pytest.raises(ModelFileError, match="ONNX Runtime can't load it"):
        generator.stream("the", length=1000)
