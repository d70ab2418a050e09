"""The engine for CUDA without one: its binding code on the CPU, with a device's ways.

Where this leaves off, `test_cuda.py` goes on with a GPU.
"""

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export import half_siblings
from charlm.export.contract import C_NEXT, H_NEXT, C, H
from charlm.export.contract_siblings import (
    FILTERED,
    SEQUENCE,
    UNROLLED,
    UNROLLED_FP16,
    UNROLLED_STEPS,
    sibling_path,
)
from charlm.export.half import HalfProducts
from charlm.export.read_graph import read_graph
from charlm.export.siblings import build_siblings
from charlm.infer import batch, cuda_block, cuda_engine, session
from charlm.infer.artifact import Model, open_model
from charlm.infer.batch import block_length
from charlm.infer.cuda_engine import CudaBlocks, CudaEngine, cuda_blocks, rows_for
from charlm.infer.engine import Engine, HostEngine, Primed
from charlm.infer.filters import Filters
from charlm.infer.generator import Generator
from charlm.infer.paths import reader_of
from charlm.infer.philox import UniformStream
from charlm.infer.requests import Request
from charlm.infer.sampling import Sampling
from charlm.infer.step_engine import StepEngine
from charlm.infer.work import Work

KINDS = (UNROLLED, FILTERED, SEQUENCE)


@pytest.fixture(scope="module")
def path(exact_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that rounds alike everywhere, with the graphs for a GPU beside it."""
    content = exact_path.read_bytes()
    model = tmp_path_factory.mktemp("cuda") / "exact.onnx"
    model.write_bytes(content)
    arrays, metadata = read_graph(content, "exact")
    half = half_siblings.graphs(HalfProducts(arrays), metadata)
    for kind, graph in (build_siblings(arrays, metadata, KINDS) | half).items():
        sibling_path(model, kind).write_bytes(graph)
    return model


class Replaying:
    """A session that ONNX Runtime started for CUDA graphs, as far as a caller can tell.

    In the first call of a thread with a graph's number, the graph is worked through three times:
    to allocate, once more, and as captured. It then runs on the buffers that it was captured with.
    """

    def __init__(self, real: Any) -> None:
        self.real, self._sess = real, self
        self.runs: list[str] = []
        self.bound: list[tuple[str, str, Any]] = []
        self._captured = threading.local()

    def io_binding(self) -> Any:
        made = self.real.io_binding()
        bindings = SimpleNamespace(_iobinding=made._iobinding, held=made)
        for way in ("input", "output"):
            bind = getattr(made, f"bind_ortvalue_{way}")

            def note(name: str, value: Any, way: str = way, bind: Any = bind) -> None:
                self.bound.append((way, name, value))
                bind(name, value)

            setattr(bindings, f"bind_ortvalue_{way}", note)
        return bindings

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        number = options.get_run_config_entry("gpu_graph_id") if options else None
        captured = self._captured.__dict__
        times = 3 if number and number not in captured else 1
        if number:
            assert int(number) > 0, "0 is ONNX Runtime's own, -1 runs without capture"
            assert captured.setdefault(number, binding) is binding, "replayed on other buffers"
        for _ in range(times):
            self.real._sess.run_with_iobinding(binding, None)
        self.runs.append(number or "")


class Device:
    """Stands in for a GPU's memory: the CPU's, but every value there is a copy."""

    RunOptions = onnxruntime.RunOptions

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.OrtValue = self

    def ortvalue_from_numpy(self, array: npt.NDArray[Any], device: str, number: int) -> Any:
        if device == "cpu":
            return onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
        assert (device, number) == ("cuda", 0)
        real = onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), "cpu", 0)
        self.values.append(real)
        return real


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    for module in (cuda_block, session):
        monkeypatch.setattr(module, "require_onnxruntime", lambda: made)
    return made


@pytest.fixture
def on_cpu(path: Path) -> Generator:
    return Generator.open(path, "cpu")


@pytest.fixture
def on_device(
    path: Path, device: Device, as_if_on_cuda: Callable[[Model, Any], Model]
) -> Generator:
    """The same, and the rest of the program believes that it is on a GPU."""
    del device
    model = open_model(path, "cpu")
    for kind in (UNROLLED, UNROLLED_FP16):
        model.siblings._open[kind.name, 1] = Replaying(model.siblings.session(kind))
    return Generator(as_if_on_cuda(model, model.session))


def unrolled(generator: Generator) -> Any:
    return generator.model.siblings.session(UNROLLED)


def engine_on(generator: Generator, precision: str = "float32") -> CudaEngine:
    return CudaEngine(cuda_blocks(generator.model, precision))


def numbers(count: int) -> list[UniformStream]:
    return [UniformStream(5, stream) for stream in range(count)]


def mixed(count: int, filters: bool = False) -> Sampling:
    """Streams that differ: some greedy, and some filtered where it is asked for."""
    temperatures = [(1.0, 0.5, 0.0, 2.0)[row % 4] for row in range(count)]
    filtered = [Filters(top_k=3 * (row % 3)) if filters else Filters() for row in range(count)]
    return Sampling.of(temperatures, filtered, 28)


def primed(generator: Generator, count: int) -> Primed:
    prompts = [generator.encode("the city"[: 1 + row % 8]) for row in range(count)]
    return reader_of(generator.model, generator.plan(Work(None))).read(prompts)


@pytest.mark.parametrize("filters", [False, True])
@pytest.mark.parametrize("count", [1, 3, 64, 100])
def test_it_draws_what_the_step_engine_draws(
    on_cpu: Generator, on_device: Generator, count: int, filters: bool
) -> None:
    """1,000 characters of each stream, in blocks of any length, whole and in part."""
    start, sampling = primed(on_cpu, count), mixed(count, filters)
    steps, device = StepEngine(on_cpu.model), engine_on(on_device)
    steps.start(start, sampling)
    device.start(start, sampling)
    wanted, streams = steps.draw(numbers(count), 1000), numbers(count)
    found = [device.draw(streams, length) for length in (32, 1, 40, 32, 864, 31)]
    assert [each.dtype for each in found] == [np.uint8] * 6
    np.testing.assert_array_equal(np.concatenate(found, axis=1), wanted)
    assert [each.position for each in streams] == [1000] * count


def change(engine: Engine, generator: Generator) -> list[str]:
    """Streams that leave, enter and are doubled, in the middle of blocks."""
    streams = numbers(4)
    engine.start(primed(generator, 4), mixed(4))
    drawn = [engine.draw(streams, 10)]
    engine.replace(np.array([1, 3]), primed(generator, 2), mixed(2, filters=True))
    drawn.append(engine.draw(streams, 40))
    engine.keep(np.array([3, 0, 0]))
    drawn.append(engine.draw(streams[:3], 32))
    engine.replace(np.array([0]), primed(generator, 1), mixed(1))
    engine.keep(np.array([2]))
    drawn.append(engine.draw(streams[:1], 18))
    engine.start(primed(generator, 9), mixed(9))
    drawn.append(engine.draw(numbers(9), 5))
    return [generator.vocabulary.decode(row) for tokens in drawn for row in tokens]


def test_rows_are_replaced_kept_and_doubled(on_cpu: Generator, on_device: Generator) -> None:
    wanted = change(StepEngine(on_cpu.model), on_cpu)
    assert change(engine_on(on_device), on_device) == wanted


def test_the_state_is_what_it_was_before_the_graph_was_captured(
    on_cpu: Generator, on_device: Generator
) -> None:
    """The first call works the graph through several times, and the state would move with it."""
    start = primed(on_cpu, 3)
    steps, device = StepEngine(on_cpu.model), engine_on(on_device)
    steps.start(start, mixed(3))
    device.start(start, mixed(3))
    wanted, found = steps.draw(numbers(3), 64), device.draw(numbers(3), 64)
    np.testing.assert_array_equal(found, wanted)
    assert len(unrolled(on_device).runs) == 3, "a call to capture, and two blocks"


def test_another_thread_captures_its_own_graph(on_cpu: Generator, on_device: Generator) -> None:
    """ONNX Runtime keeps a graph for the thread that captured it."""
    start, streams = primed(on_cpu, 3), numbers(3)
    steps, device = StepEngine(on_cpu.model), engine_on(on_device)
    steps.start(start, mixed(3))
    device.start(start, mixed(3))
    found: list[Any] = [device.draw(streams, 32)]
    for _ in range(2):
        other = threading.Thread(target=lambda: found.append(device.draw(streams, 32)))
        other.start()
        other.join()
    np.testing.assert_array_equal(np.concatenate(found, axis=1), steps.draw(numbers(3), 96))
    assert len(unrolled(on_device).runs) == 6


def test_state_and_settings_stay_on_the_device(on_device: Generator, device: Device) -> None:
    """h and c are bound as input and output of one buffer, and a block only sends numbers."""
    engine = engine_on(on_device)
    engine.start(primed(on_device, 5), mixed(5))
    bound = {(way, name): value for way, name, value in unrolled(on_device).bound}
    assert bound["input", H] is bound["output", H_NEXT]
    assert bound["input", C] is bound["output", C_NEXT]
    made = len(device.values)
    for _ in range(4):
        engine.draw(numbers(5), UNROLLED_STEPS)
    assert len(device.values) == made
    assert len(unrolled(on_device).bound) == len(bound)


def test_graphs_are_captured_once_a_size(on_device: Generator) -> None:
    for count in (3, 7, 8, 9, 60, 4):
        engine = engine_on(on_device)
        engine.start(primed(on_device, count), mixed(count))
        engine.draw(numbers(count), 64)
        del engine
    assert len(set(unrolled(on_device).runs)) == 2, "of 8 and of 64 rows"


def test_engines_at_the_same_time_have_blocks_of_their_own(
    on_cpu: Generator, on_device: Generator
) -> None:
    start = primed(on_cpu, 2)
    engines: list[Engine] = [StepEngine(on_cpu.model), engine_on(on_device), engine_on(on_device)]
    streams = [numbers(2) for _ in engines]
    for each in engines:
        each.start(start, mixed(2))
    for _ in range(2):
        wanted, *found = (each.draw(own, 32) for each, own in zip(engines, streams, strict=True))
        for each in found:
            np.testing.assert_array_equal(each, wanted)
    assert len(set(unrolled(on_device).runs)) == 2


def test_sizes_waste_little_where_it_costs() -> None:
    assert [rows_for(count) for count in (1, 2, 8, 9, 512, 513, 1024)] == [
        1, 8, 8, 64, 512, 1024, 1024
    ]  # fmt: skip
    for count in range(1025, 1 << 16, 997):
        assert count <= rows_for(count) < 2 * count
    assert rows_for(1 << 16) == 1 << 16
    assert rows_for(100_000) == 100_000


@pytest.mark.parametrize("steps", [5, 32, 50])
def test_fp16_goes_on_from_the_middle_of_a_block(on_device: Generator, steps: int) -> None:
    """In its own precision: a text does not depend on where it was cut."""
    start, streams = primed(on_device, 3), numbers(3)
    whole, cut = (engine_on(on_device, "fp16") for _ in range(2))
    whole.start(start, mixed(3))
    cut.start(start, mixed(3))
    parts = np.concatenate([cut.draw(streams, steps) for _ in range(128 // steps)], axis=1)
    np.testing.assert_array_equal(parts, whole.draw(numbers(3), parts.shape[1]))


def test_fp16_has_no_filters(on_device: Generator) -> None:
    with pytest.raises(SettingsError, match=r"^--precision fp16 has no top-k, top-p or min-p"):
        engine_on(on_device, "fp16").start(primed(on_device, 3), mixed(3, filters=True))


REQUESTS = [
    Request("the city"[: n % 9], length=1 + 11 * n, stream=n, seed=2, temperature=0.5 * (n % 4),
            top_k=5 * (n % 2), stop=("a",) * (n % 5 == 0))
    for n in range(40)
]  # fmt: skip


@pytest.mark.parametrize("width", [1, 9, 64])
def test_jobs_give_what_they_give_on_the_cpu(
    on_cpu: Generator, on_device: Generator, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    asked = []
    draw = CudaEngine.draw

    def noted(engine: CudaEngine, numbers: Any, steps: int) -> Any:
        asked.append(steps)
        return draw(engine, numbers, steps)

    monkeypatch.setattr(CudaEngine, "draw", noted)
    found = [*on_device.batch(REQUESTS, width=width)]
    assert found == [*on_cpu.batch(REQUESTS, width=width)]
    assert asked
    assert not [steps for steps in asked if steps % UNROLLED_STEPS], "no block in part"


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_p": 0.9}])
def test_single_texts_are_those_of_the_cpu(
    on_cpu: Generator, on_device: Generator, settings: dict[str, Any]
) -> None:
    for prompt in ("", "the city"):
        ours, theirs = (
            each.text(prompt, length=300, seed=4, **settings) for each in (on_device, on_cpu)
        )
        assert ours == theirs


@pytest.mark.parametrize(
    ("remaining", "longest", "wanted"),
    [([1], 64, 32), ([32], 64, 32), ([33], 64, 32), ([1000, 1], 64, 64), ([1000], 8, 32)],
)
def test_blocks_are_asked_for_in_multiples(remaining: list[int], longest: int, wanted: int) -> None:
    assert block_length(np.array(remaining), longest, 32) == wanted


def test_engines_that_draw_any_number_say_so() -> None:
    assert StepEngine.block is HostEngine.block is None
    assert CudaEngine.block == UNROLLED_STEPS
    assert batch.block_length(np.array([5]), 64) == 5


@pytest.mark.parametrize("size", [3, 600])
def test_streams_that_a_device_can_not_hold_are_one_line(
    on_device: Generator, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def full(*_: Any) -> None:
        raise RuntimeException("CUDA error 2: out of memory\nsomewhere")

    start = primed(on_device, size)
    monkeypatch.setattr(Device, "ortvalue_from_numpy", full)
    saying = rf"^{rows_for(size)} streams side by side can't be held \(give a smaller --width\)"
    with pytest.raises(SettingsError, match=saying):
        engine_on(on_device).start(start, mixed(size))


@pytest.mark.parametrize("room", [True, False])
def test_idle_blocks_make_room_for_one_of_another_size(
    on_cpu: Generator,
    on_device: Generator,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    room: bool,
) -> None:
    """A device that holds one block's values: those in use stay, those that nobody uses go."""
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    real, held = Device.ortvalue_from_numpy, weakref.WeakSet[Any]()

    def scarce(self: Device, array: npt.NDArray[Any], *where: Any) -> Any:
        if any(len(each.numpy()) != len(array) for each in held):
            raise RuntimeException("CUDA error 2: out of memory")
        value = real(self, array, *where)
        device.values.clear()
        held.add(value)
        return value

    two, nine = primed(on_cpu, 2), primed(on_cpu, 9)
    steps = StepEngine(on_cpu.model)
    steps.start(nine, mixed(9))
    monkeypatch.setattr(Device, "ortvalue_from_numpy", scarce)
    few = engine_on(on_device)
    few.start(two, mixed(2))
    few.draw(numbers(2), 32)
    if room:
        del few
        unrolled(on_device).bound.clear()
    many = engine_on(on_device)
    if not room:
        with pytest.raises(SettingsError, match=r"^64 streams side by side can't be held"):
            many.start(nine, mixed(9))
        return
    many.start(nine, mixed(9))
    np.testing.assert_array_equal(many.draw(numbers(9), 32), steps.draw(numbers(9), 32))


def test_two_threads_can_reach_for_the_last_idle_block(on_device: Generator) -> None:
    """The other one is faster: what was there when this one looked is gone."""

    class Fleeting(list[Any]):
        def __bool__(self) -> bool:
            return True

    blocks = CudaBlocks(on_device.model)
    blocks._idle["unrolled", 1] = Fleeting()
    assert blocks.take(1, filtered=False).rows == 1


def test_a_run_that_fails_is_one_line_and_the_block_can_be_used_again(
    on_device: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def fail(*_: Any) -> None:
        raise RuntimeException("CUDA error 700\nsomewhere")

    engine, start = engine_on(on_device), primed(on_device, 3)
    engine.start(start, mixed(3))
    with monkeypatch.context() as patch:
        patch.setattr(Replaying, "run_with_iobinding", fail)
        with pytest.raises(
            ModelFileError, match=r"^ONNX Runtime can't run the model: CUDA .* 700$"
        ):
            engine.draw(numbers(3), 32)
    engine.start(start, mixed(3))
    assert engine.draw(numbers(3), 32).shape == (3, 32)


def test_a_missing_graph_is_named(on_device: Generator, tmp_path: Path, path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(path.read_bytes())
    model = Generator.open(alone, "cpu").model
    with pytest.raises(ModelFileError, match=r"alone\.unrolled\.onnx"):
        CudaEngine(CudaBlocks(model)).start(primed(on_device, 1), mixed(1))


Options = Callable[..., dict[str, str]]


@pytest.mark.parametrize("tf32", [False, True])
def test_sessions_are_captured_where_there_is_no_control_flow(
    path: Path, monkeypatch: pytest.MonkeyPatch, tf32: bool
) -> None:
    from charlm.infer import runtime

    asked: list[tuple[str, dict[str, Any]]] = []
    real = runtime.session_on

    def noted(module: Any, content: bytes, options: Any, device: str, **how: Any) -> Any:
        asked.append((device, how))
        return real(module, content, options, "cpu")

    monkeypatch.setattr("charlm.infer.siblings.session_on", noted)
    siblings = Generator.open(path, "cpu", tf32=tf32).model.siblings
    siblings._device = "cuda"
    for kind in (UNROLLED, FILTERED, UNROLLED_FP16, SEQUENCE):
        siblings.session(kind)
    assert [how["captured"] for _, how in asked] == [True, False, True, False]
    assert all(each == ("cuda", {"tf32": tf32, "captured": each[1]["captured"]}) for each in asked)
    assert UNROLLED.steps == cuda_engine.UNROLLED_STEPS
