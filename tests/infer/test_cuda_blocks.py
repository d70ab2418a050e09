"""The unrolled graph and all that draws with it on a GPU, against the CPU; elsewhere skipped."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data import console
from charlm.data.corpus import SAMPLE
from charlm.data.extras import require_onnxruntime
from charlm.export import half_siblings, quality
from charlm.export.contract import LARGEST_LOSS
from charlm.export.contract_siblings import (
    FILTERED,
    SEQUENCE,
    SEQUENCE_FP16,
    UNROLLED,
    UNROLLED_FP16,
    UNROLLED_STEPS,
    Kind,
    sibling_path,
)
from charlm.export.half import HalfProducts
from charlm.export.quality import Sample
from charlm.export.read_graph import read_graph
from charlm.export.siblings import CUDA_KINDS, DEFAULT_KINDS, build_siblings
from charlm.infer import cli, shipped
from charlm.infer.cuda_block import CudaBlock
from charlm.infer.cuda_engine import CudaEngine, cuda_blocks
from charlm.infer.engine import Primed
from charlm.infer.filters import NO_FILTERS, Filters
from charlm.infer.generator import Generator
from charlm.infer.paths import reader_of
from charlm.infer.philox import UniformStream, take_block
from charlm.infer.requests import Request
from charlm.infer.runtime import session_on, session_options
from charlm.infer.sampling import Sampling
from charlm.infer.session import Stepper
from charlm.infer.work import Work

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("needs_cuda")]

Floats = npt.NDArray[np.float32]
PROMPT = "when i drew nigh the nameless city i kne"
STEPS = 1024  # 32 blocks
# Float32 parts from the CPU's a few times in a million characters, TF32 and fp16 far more often.
MOST_FLIPS = 20e-6


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ships, with every graph that a GPU may want beside it."""
    content = shipped.shipped_model().read_bytes()
    model = tmp_path_factory.mktemp("cuda") / "lovecraft.onnx"
    model.write_bytes(content)
    arrays, metadata = read_graph(content, "lovecraft.onnx")
    graphs = build_siblings(arrays, metadata, (*DEFAULT_KINDS, *CUDA_KINDS))
    graphs |= half_siblings.graphs(HalfProducts(arrays), metadata)
    for kind, graph in graphs.items():
        sibling_path(model, kind).write_bytes(graph)
    return model


@pytest.fixture(scope="module")
def on_cpu(path: Path) -> Generator:
    return Generator.open(path, "cpu")


@pytest.fixture(scope="module")
def on_cuda(path: Path) -> Generator:
    return Generator.open(path, "cuda")


def engine_of(generator: Generator, precision: str = "float32") -> CudaEngine:
    return CudaEngine(cuda_blocks(generator.model, precision))


def primed(generator: Generator, streams: int) -> Primed:
    reader = reader_of(generator.model, generator.plan(Work(None)))
    return reader.read([generator.encode(PROMPT)]).take([0] * streams)


def numbers(streams: int) -> list[UniformStream]:
    return [UniformStream(1, stream) for stream in range(streams)]


def same(streams: int, filters: Filters = NO_FILTERS) -> Sampling:
    return Sampling.same(streams, 62, 1.0, filters)


def flips_on_cpu(
    on_cpu: Generator,
    drawn: npt.NDArray[Any],
    count_flips: Callable[..., int],
    filters: Filters = NO_FILTERS,
) -> int:
    """How often the CPU, fed the text that was drawn, would have drawn otherwise; near-ties all."""
    start, stepper = primed(on_cpu, len(drawn)), Stepper(on_cpu.model, len(drawn))
    stepper.set_state(start.h, start.c)
    stepper.logits[:] = start.logits
    flips, uniform = 0, take_block(numbers(len(drawn)), drawn.shape[1])
    for column, row in zip(drawn.T, uniform.T, strict=True):
        flips += count_flips(stepper.logits, column.tolist(), row, 1.0, filters)
        stepper.token[:] = column
        stepper.step()
    return flips


@pytest.mark.parametrize("streams", [1, 64, 4096])
def test_the_unrolled_graph_draws_as_the_cpu_but_for_near_ties(
    on_cpu: Generator,
    on_cuda: Generator,
    count_flips: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    streams: int,
) -> None:
    """At 4,096 streams over four million characters, whose rate of flips is shown."""
    engine = engine_of(on_cuda)
    engine.start(primed(on_cpu, streams), same(streams))
    drawn = engine.draw(numbers(streams), STEPS)
    flips = flips_on_cpu(on_cpu, drawn, count_flips)
    with capsys.disabled():
        print(f"\n{streams} streams: {flips} flips in {drawn.size:,} characters")
    assert flips <= 1 + MOST_FLIPS * drawn.size


def test_filters_on_the_device_are_those_of_the_cpu(
    on_cpu: Generator, on_cuda: Generator, count_flips: Callable[..., int]
) -> None:
    filters, engine = Filters(top_k=20, top_p=0.9, min_p=0.01), engine_of(on_cuda)
    engine.start(primed(on_cpu, 64), same(64, filters))
    drawn = engine.draw(numbers(64), STEPS)
    assert flips_on_cpu(on_cpu, drawn, count_flips, filters) <= 5


def test_greedy_streams_take_the_likeliest(on_cpu: Generator, on_cuda: Generator) -> None:
    engine = engine_of(on_cuda)
    engine.start(primed(on_cpu, 3), Sampling.same(3, 62, 0.0))
    drawn = engine.draw(numbers(3), 64)
    assert on_cpu.vocabulary.decode(drawn[2]) == on_cpu.text(PROMPT, length=64, temperature=0)


def plain_block(path: Path, generator: Generator, kind: Kind, rows: int) -> CudaBlock:
    """A block whose runs are not captured."""
    runtime = require_onnxruntime()
    content = sibling_path(path, kind).read_bytes()
    session = session_on(runtime, content, session_options(runtime, 1), "cuda")
    return CudaBlock(
        session, kind, generator.metadata, rows=rows, steps=UNROLLED_STEPS, captured=False
    )


@pytest.mark.parametrize("kind", [UNROLLED, UNROLLED_FP16])
def test_replaying_a_captured_graph_is_running_it(
    path: Path, on_cpu: Generator, on_cuda: Generator, kind: Kind
) -> None:
    """To the last bit, in tokens and state, and whatever the first call did beforehand."""
    session = on_cuda.model.siblings.session(kind)
    captured = CudaBlock(session, kind, on_cuda.metadata, rows=64, steps=UNROLLED_STEPS)
    plain = plain_block(path, on_cuda, kind, 64)
    start, uniform = primed(on_cpu, 64), take_block(numbers(64), 256)
    for block in (captured, plain):
        block.set_state(start.h, start.c)
    for begin in range(0, 256, UNROLLED_STEPS):
        part = uniform[:, begin : begin + UNROLLED_STEPS]
        np.testing.assert_array_equal(captured.draw(part), plain.draw(part))
        for ours, theirs in zip(captured.state(), plain.state(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_first_text_is_that_of_later_ones_and_of_other_threads(
    on_cpu: Generator, path: Path
) -> None:
    """The first call of each thread captures, and works the graph through several times."""
    fresh = Generator.open(path, "cuda")
    found: list[npt.NDArray[Any]] = []

    def draw() -> None:
        engine = engine_of(fresh)
        engine.start(primed(on_cpu, 9), same(9))
        found.append(engine.draw(numbers(9), 96))

    draw()
    draw()
    other = threading.Thread(target=draw)
    other.start()
    other.join()
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])


def test_two_sizes_and_two_engines_do_not_disturb_each_other(
    on_cpu: Generator, on_cuda: Generator
) -> None:
    alone = engine_of(on_cuda)
    alone.start(primed(on_cpu, 64), same(64))
    wanted = alone.draw(numbers(64), 128)
    engines = {count: engine_of(on_cuda) for count in (64, 63, 7)}
    streams = {count: numbers(count) for count in engines}
    for count, engine in engines.items():
        engine.start(primed(on_cpu, count), same(count))
    for begin in range(0, 128, 32):
        for count, engine in engines.items():
            drawn = engine.draw(streams[count], 32)
            if count > 7:
                np.testing.assert_array_equal(drawn, wanted[:count, begin : begin + 32])


def test_rows_that_leave_and_enter_keep_their_texts(on_cpu: Generator, on_cuda: Generator) -> None:
    """In the middle of blocks; a near-tie may part a text later than this."""
    engine, start = engine_of(on_cuda), primed(on_cpu, 4)
    texts = [on_cpu.text(PROMPT, length=90, seed=1, stream=stream) for stream in range(4)]
    streams = numbers(4)
    engine.start(start, same(4))
    parts = [engine.draw(streams, 10)]
    engine.keep(np.array([2, 0]))
    parts.append(engine.draw([streams[2], streams[0]], 40))
    engine.replace(np.array([0]), start.take([0]), same(1))
    last = engine.draw([UniformStream(1, 3), streams[0]], 40)
    decode = on_cpu.vocabulary.decode
    assert [decode(row) for row in parts[0]] == [text[:10] for text in texts]
    assert [decode(row) for row in parts[1]] == [texts[2][10:50], texts[0][10:50]]
    assert [decode(row) for row in last] == [texts[3][:40], texts[0][50:]]


def requests() -> Iterator[Request]:
    for n in range(300):
        filters = {"top_k": 10} if n % 7 == 0 else {}
        yield Request(
            PROMPT[: n % 40], length=20 + n, seed=3, stream=n, temperature=0.5 + n % 3, **filters
        )


def test_batch_jobs_are_those_of_the_cpu_but_for_near_ties(
    on_cpu: Generator, on_cuda: Generator
) -> None:
    ours, theirs = ([*each.batch(requests(), width=100)] for each in (on_cuda, on_cpu))
    assert len(ours) == len(theirs) == 300
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))
    assert different <= 3, "of 50,000 characters, each a few times in a million"


@pytest.fixture(scope="module")
def sample(on_cpu: Generator) -> Sample:
    text = on_cpu.metadata.normalisation(SAMPLE.read_text(encoding="utf-8"))
    ids = on_cpu.vocabulary.encode(text, "drop").astype(np.int64)
    return Sample(ids[: len(ids) // 8 * 8].reshape(8, -1), "the sample that ships")


def bits(generator: Generator, kind: Kind, sample: Sample) -> float:
    session = generator.model.siblings.session(kind)
    return quality.bits_per_character(session, sample.ids, generator.metadata)


def test_scores_are_those_of_the_cpu(on_cpu: Generator, on_cuda: Generator, sample: Sample) -> None:
    wanted = bits(on_cpu, SEQUENCE, sample)
    assert bits(on_cuda, SEQUENCE, sample) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("kind", [SEQUENCE, SEQUENCE_FP16])
def test_smaller_precisions_lose_little(
    path: Path, on_cpu: Generator, sample: Sample, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    """TF32 in the graph of float32, and fp16 in its own."""
    smaller = Generator.open(path, "cuda", tf32=kind.precision == "float32")
    before, after = bits(on_cpu, SEQUENCE, sample), bits(smaller, kind, sample)
    name = "TF32" if kind is SEQUENCE else "fp16"
    with capsys.disabled():
        print(f"\n{name}: {before:.5f} -> {after:.5f} bits per character")
    assert abs(after - before) <= LARGEST_LOSS


def test_fp16_on_the_device_is_fp16_as_it_was_measured(
    on_cpu: Generator, on_cuda: Generator, sample: Sample
) -> None:
    wanted = bits(on_cpu, SEQUENCE_FP16, sample)
    assert bits(on_cuda, SEQUENCE_FP16, sample) == pytest.approx(wanted, abs=1e-3)


def test_state_and_settings_stay_on_the_device(on_cuda: Generator) -> None:
    session = on_cuda.model.siblings.session(UNROLLED)
    block = CudaBlock(session, UNROLLED, on_cuda.metadata, rows=8, steps=UNROLLED_STEPS)
    held = [*block._inputs.values(), block._tokens]
    places = [value.data_ptr() for value in held]
    for _ in range(3):
        block.draw(take_block(numbers(8), UNROLLED_STEPS))
    assert {value.device_name() for value in held} == {"cuda"}
    assert [value.data_ptr() for value in held] == places
    assert block.state()[0].any()


@pytest.mark.parametrize(
    "options",
    [[], ["--tf32"], ["--precision", "fp16"], ["--top-k", "5"], ["--samples", "70"]],
)
def test_the_command_draws_by_blocks_on_the_device(
    path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [PROMPT, "--model", str(path), "--provider", "cuda", "--length", "100"]
    arguments += ["--seed", "1", "--explain", *options]
    assert console.exit_code(cli.app, "charlm-gen", arguments) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(PROMPT)
    assert "blocks on the device" in shown.err
    assert FILTERED.name not in shown.err
