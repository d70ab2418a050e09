"""Which way a job is computed, how wide, by what, and where."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system import memory
from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.export import weights
from charlm.export.contract import GENERATE, Kind, Metadata, sibling_path
from charlm.export.contract import native as contract_native
from charlm.export.graphs import build_siblings, step_graph
from charlm.infer import generator as generator_module
from charlm.infer.batch.results import Failure, Result
from charlm.infer.engines import planning
from charlm.infer.engines.planning import (
    BLOCKS,
    NATIVE,
    STEP,
    WORTH_CUDA_CHARACTERS,
    WORTH_CUDA_STREAMS,
    Plan,
    Work,
    choose,
    provider_for,
    reader_of,
)
from charlm.infer.generator import Generator
from charlm.infer.model import shipped
from charlm.infer.model.open import Model, open_model
from charlm.infer.request import Request

Opened = Callable[..., Model]
NOT_BUILT = "the native operator was not built"


@pytest.fixture
def opened(tmp_path: Path, small_metadata: Metadata) -> Opened:
    """A model with files of these kinds beside it, and with the native operator where it is said.

    `loss` is what smaller precisions cost it, where that was measured.
    """

    def make(
        *kinds: Kind, device: str = "cpu", native: bool = False, loss: float | None = None
    ) -> Model:
        path = tmp_path / "model.onnx"
        for kind in kinds:
            sibling_path(path, kind).touch()
        quality = {} if loss is None else {name: {"loss": loss} for name in ("int8", "fp16")}
        metadata = replace(small_metadata, quality=quality)
        model = Model(path, b"", metadata, device)
        model.__dict__["without_native"] = None if native or device == "cuda" else NOT_BUILT
        return model

    return make


def path(work: Work, model: Model) -> str:
    return choose(work, model).path


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("work", [Work(1, 1), Work(1, 0, filters=True), Work(None), Work(9, 9)])
def test_the_native_operator_does_all_that_the_cpu_draws(
    opened: Opened, work: Work, precision: str
) -> None:
    plan = choose(work, opened(GENERATE, native=True), precision=precision)
    assert (plan.path, plan.precision) == (NATIVE, precision)
    assert contract_native.instruction_set() in plan.reasons[0]


def test_without_it_short_texts_take_the_step_loop_and_long_ones_blocks(opened: Opened) -> None:
    model = opened(GENERATE)
    assert path(Work(1, planning.WORTH_BLOCKS_ALONE - 1), model) == STEP
    assert path(Work(1, planning.WORTH_BLOCKS_ALONE), model) == BLOCKS
    assert path(Work(1, 0), model) == BLOCKS, "without end"
    assert path(Work(100, planning.WORTH_BLOCKS_TOGETHER // 100 - 1), model) == STEP
    assert path(Work(100, planning.WORTH_BLOCKS_TOGETHER // 100), model) == BLOCKS
    assert NOT_BUILT in choose(Work(1, 0), model).reasons[0]


def test_without_a_graph_of_many_steps_there_is_the_step_loop(opened: Opened) -> None:
    plan = choose(Work(1, 0), opened())
    assert plan.path == STEP
    assert NOT_BUILT in plan.reasons[0]
    assert "charlm-export writes it" in plan.reasons[0]


def test_what_may_have_filters_takes_the_step_loop(opened: Opened) -> None:
    """The lines of a file may ask for some; the portable graph of many steps has none."""
    model = opened(GENERATE)
    assert path(Work(1, 0, filters=True), model) == path(Work(None), model) == STEP


def test_a_larger_model_must_be_worth_more(opened: Opened, tmp_path: Path) -> None:
    model = opened(GENERATE)
    with sibling_path(tmp_path / "model.onnx", GENERATE).open("r+b") as file:
        file.truncate(4 * planning.MEASURED_SIZE)
    assert path(Work(1, 3 * planning.WORTH_BLOCKS_ALONE), model) == STEP
    assert path(Work(1, 4 * planning.WORTH_BLOCKS_ALONE), model) == BLOCKS


@pytest.mark.parametrize("precision", ["float32", "fp16"])
@pytest.mark.parametrize(
    ("work", "longest"),
    [
        (Work(1, 5), planning.LONGEST_ALONE[NATIVE]),
        (Work(1, 0, filters=True), planning.LONGEST_ALONE[NATIVE]),
        (Work(None), planning.LONGEST_ON_GPU),
    ],
)
def test_the_native_operator_does_all_that_a_gpu_draws(
    opened: Opened, work: Work, longest: int, precision: str
) -> None:
    """Whatever graphs there are; many texts in long runs, since each brings them to the host."""
    plan = choose(work, opened(GENERATE, device="cuda"), precision=precision)
    assert (plan.path, plan.precision, plan.threads) == (NATIVE, precision, 1)
    assert plan.longest_block == longest
    assert "on the GPU" in plan.reasons[0]


SMALLER = pytest.mark.parametrize(("precision", "device"), [("int8", "cpu"), ("fp16", "cuda")])


@SMALLER
@pytest.mark.parametrize("loss", [None, -0.001, 0.01])
def test_a_smaller_precision_may_cost_a_hundredth_of_a_bit(
    opened: Opened, precision: str, device: str, loss: float | None
) -> None:
    model = opened(device=device, native=True, loss=loss)
    assert choose(Work(), model, precision=precision).path == NATIVE


@SMALLER
@pytest.mark.parametrize("loss", [0.011, float("nan")])
def test_one_that_costs_more_is_refused(
    opened: Opened, precision: str, device: str, loss: float
) -> None:
    model = opened(device=device, native=True, loss=loss)
    saying = f"{precision} costs this model {loss:.4f} bits per character, and 0.01 is allowed"
    with pytest.raises(ModelFileError, match=saying):
        choose(Work(), model, precision=precision)
    assert path(Work(), model) == NATIVE


@pytest.mark.parametrize(
    ("precision", "device", "saying"),
    [
        ("int4", "cpu", "`precision` is one of float32, int8, fp16, not 'int4'"),
        ("int8", "cuda", "`precision` int8 runs with `provider` cpu only"),
        ("int8", "cpu", f"int8 can.t be had: {NOT_BUILT}"),
        ("fp16", "cpu", "`precision` fp16 runs with `provider` cuda only"),
    ],
)
def test_a_precision_that_is_not_there_says_how_to_get_it(
    opened: Opened, precision: str, device: str, saying: str
) -> None:
    with pytest.raises(SettingsError, match=saying):
        choose(Work(), opened(GENERATE, device=device), precision=precision)


def test_a_window_is_stepped_on_the_cpu_in_float32(opened: Opened) -> None:
    work, model = Work(None, 0, filters=True, window=40), opened(GENERATE, native=True)
    plan = choose(work, model)
    assert (plan.path, plan.window, plan.precision) == (STEP, 40, "float32")
    assert "a window of 40 keeps 40 staggered states" in plan.reasons[0]
    for via in ("native", "blocks"):
        with pytest.raises(SettingsError, match="a window is stepped through"):
            choose(work, model, via=via)
    with pytest.raises(SettingsError, match="`window` is stepped through on the CPU"):
        choose(work, opened(device="cuda"))


@SMALLER
def test_a_window_has_no_smaller_precision(opened: Opened, precision: str, device: str) -> None:
    with pytest.raises(SettingsError, match="`window` is stepped through in float32"):
        choose(Work(window=40), opened(device=device, native=True), precision=precision)


def test_threads_are_the_cores_for_many_texts_and_one_for_one(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(native=True)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert choose(Work(None), model).threads == 3
    assert choose(Work(1, 0), model, threads=2).threads == 1
    assert choose(Work(None), model, threads=2).threads == 2
    assert choose(Work(None), opened(device="cuda")).threads == 1


def test_a_way_that_is_asked_for_is_taken(opened: Opened) -> None:
    model = opened(GENERATE, native=True)
    for via, wanted in (("native", NATIVE), ("blocks", BLOCKS), ("steps", STEP)):
        assert choose(Work(1, 1), model, via=via).path == wanted
    assert choose(Work(), opened(device="cuda"), via="native").path == NATIVE


def test_a_way_that_is_not_there_is_refused(opened: Opened) -> None:
    with pytest.raises(SettingsError, match="via is auto, native, blocks, steps, not 'bloks'"):
        choose(Work(), opened(), via="bloks")
    for model in (opened(native=True), opened()):
        with pytest.raises(ModelFileError, match="no graph of many steps"):
            choose(Work(), model, via="blocks")
    with pytest.raises(SettingsError, match=NOT_BUILT):
        choose(Work(), opened(), via="native")
    with pytest.raises(SettingsError, match="has no top-k"):
        choose(Work(filters=True), opened(GENERATE, native=True), via="blocks")
    for via in ("blocks", "steps"):
        with pytest.raises(SettingsError, match="has no int8"):
            choose(Work(), opened(GENERATE, native=True), via=via, precision="int8")
        with pytest.raises(SettingsError, match=f"via {via} runs on the CPU: give provider cpu"):
            choose(Work(), opened(GENERATE, device="cuda"), via=via)


@pytest.mark.parametrize("prompt", ["", "the nameless city"])
@pytest.mark.parametrize("length", [1, 2, 17, 700])
def test_every_way_draws_the_same_texts(
    exact: Generator, exact_each_way: Generator, prompt: str, length: int
) -> None:
    settings: list[dict[str, Any]] = [{}, {"temperature": 0.5}, {"temperature": 0.0}]
    if exact_each_way.plan(Work(1)).path != BLOCKS:  # which has no filters
        settings += [{"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2, "top_k": 5}]
    for each in settings:
        wanted = exact.text(prompt, length=length, seed=3, **each)
        assert exact_each_way.text(prompt, length=length, seed=3, **each) == wanted


def test_a_request_that_the_plan_cannot_serve_fails_alone(exact_with_siblings: Path) -> None:
    generator = Generator.open(exact_with_siblings, "cpu", via="blocks")
    requests = [Request("the", 20, sample=n, top_k=3 if n == 1 else 0) for n in range(3)]
    first, second, third = generator.batch(requests, work=Work(3, 20))
    assert isinstance(first, Result)
    assert isinstance(second, Failure)
    assert isinstance(second.error, SettingsError)
    assert isinstance(third, Result)


def test_prompts_are_read_in_the_precision_that_draws() -> None:
    model = open_model(shipped.shipped_model(), "cpu")
    prompt = model.metadata.vocabulary.encode("when i drew nigh")
    int8, float32 = (
        reader_of(model, Plan(NATIVE, precision, 1, 64, (), 1, None)).read([prompt])
        for precision in ("int8", "float32")
    )
    assert not np.array_equal(int8.h, float32.h)
    np.testing.assert_allclose(int8.h, float32.h, atol=0.2)


@pytest.mark.parametrize(("precision", "provider"), [("int8", "cpu"), ("fp16", "cuda")])
def test_auto_opens_where_the_precision_is(
    precision: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(path: Path, provider: str, *rest: object, **named: object) -> Model:
        asked.append(provider)
        return open_model(path, "cpu")

    monkeypatch.setattr(generator_module, "open_model", opened)
    Generator.open(shipped.shipped_model(), precision=precision)
    assert asked == [provider]


@pytest.mark.parametrize("via", ["native", "blocks", "steps"])
def test_greedy_texts_take_the_lowest_of_equals(
    exact_weights: weights.Weights, exact_metadata: Metadata, tmp_path: Path, via: str
) -> None:
    """Whatever the random number is."""
    bias = np.zeros_like(exact_weights.head_bias)
    bias[[4, 7, 9]] = 1
    tied = replace(exact_weights, head=np.zeros_like(exact_weights.head), head_bias=bias)
    metadata = replace(exact_metadata, weights_sha256=weights.sha256(tied))
    path = tmp_path / "tied.onnx"
    path.write_bytes(step_graph.build(tied, metadata))
    (graph,) = build_siblings(tied, metadata, (GENERATE,)).values()
    sibling_path(path, GENERATE).write_bytes(graph)
    found = Generator.open(path, "cpu", via=via).text("the", length=40, temperature=0, seed=1)
    assert found == metadata.vocabulary.characters[4] * 40


@pytest.mark.parametrize("asked_for", [0, -1, planning.MAX_WIDTH + 1])
def test_a_width_out_of_range_is_refused_at_once(exact: Generator, asked_for: int) -> None:
    with pytest.raises(SettingsError, match=f"`width` is from 1 to 65536, not {asked_for}"):
        exact.batch([], width=asked_for)


def test_a_width_that_memory_can_not_hold_is_refused_at_once(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 100 * planning.stream_bytes(exact.model))
    assert planning.checked_width(100, exact.model) == 100
    with pytest.raises(SettingsError, match=r"`width` 101 needs .* holds 100 streams"):
        exact.batch([], width=101)
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert planning.checked_width(101, exact.model) == 101


@pytest.mark.parametrize(
    ("device", "threads", "wanted"),
    [
        ("cpu", 1, 256),
        ("cpu", 4, 1024),
        ("cpu", 256, 1 << 16),
        ("cuda", 1, 132 * 256),
        ("cuda", 64, 132 * 256),
    ],
)
def test_the_default_fills_the_device(
    exact: Generator,
    as_if_on_cuda: Callable[[Model], Model],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    threads: int,
    wanted: int,
) -> None:
    """On the CPU each thread has its share; on a GPU each of its multiprocessors, here 132."""
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    monkeypatch.setattr(contract_native, "gpu", lambda: (132, "a GPU"))
    model = as_if_on_cuda(exact.model) if device == "cuda" else exact.model
    assert planning.checked_width(None, model, threads) == wanted


def test_the_default_is_never_out_of_range(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert planning.checked_width(None, exact.model, 100_000) == planning.MAX_WIDTH


@pytest.mark.parametrize(("streams", "wanted"), [(300, 300), (100, 100), (0.5, 1)])
def test_the_default_is_what_memory_holds_where_that_is_less(
    exact: Generator, monkeypatch: pytest.MonkeyPatch, streams: float, wanted: int
) -> None:
    held = int(streams * planning.stream_bytes(exact.model))
    monkeypatch.setattr(memory, "memory_bytes", lambda: held)
    assert planning.checked_width(None, exact.model, threads=2) == wanted


def test_auto_leaves_a_gpu_alone_where_the_job_is_small() -> None:
    assert provider_for(Work(1, 0), "auto")[0] == "cpu"
    provider, why = provider_for(Work(WORTH_CUDA_STREAMS, 10), "auto")
    assert provider == "cpu"
    assert why is not None
    assert str(WORTH_CUDA_STREAMS) in why
    most = (WORTH_CUDA_CHARACTERS - 1) // WORTH_CUDA_STREAMS
    assert provider_for(Work(WORTH_CUDA_STREAMS, most), "auto")[0] == "cpu"
    assert provider_for(Work(WORTH_CUDA_STREAMS, most + 1), "auto") == ("auto", None)
    assert provider_for(Work(None), "auto") == ("auto", None)
    assert provider_for(Work(None, window=40), "auto")[0] == "cpu", "where windows are stepped"
    assert provider_for(Work(1, 1), "cuda") == ("cuda", None)


def test_auto_goes_where_the_precision_is() -> None:
    for work in (Work(1, 1), Work(None)):
        assert provider_for(work, "auto", "int8")[0] == "cpu"
        assert provider_for(work, "auto", "fp16")[0] == "cuda"
        assert provider_for(work, "cuda", "int8") == ("cuda", None), "which is then refused"
