"""The rules that choose a path, and what they say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.export import contract_native
from charlm.export.contract import GENERATE, Kind, Metadata, sibling_path
from charlm.infer.model.artifact import Model
from charlm.infer.model.siblings import Siblings
from charlm.infer.planning import choose
from charlm.infer.planning.choose import BLOCKS, NATIVE, STEP
from charlm.infer.planning.work import Work

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
        model = Model(b"", metadata, str(path), device, 1, None, Siblings(path))
        model.__dict__["without_native"] = None if native or device == "cuda" else NOT_BUILT
        return model

    return make


def path(work: Work, model: Model) -> str:
    return choose.choose(work, model).path


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("work", [Work(1, 1), Work(1, 0, filters=True), Work(None), Work(9, 9)])
def test_the_native_operator_does_all_that_the_cpu_draws(
    opened: Opened, work: Work, precision: str
) -> None:
    plan = choose.choose(work, opened(GENERATE, native=True), precision=precision)
    assert (plan.path, plan.precision) == (NATIVE, precision)
    assert contract_native.instruction_set() in plan.reasons[0]


def test_without_it_short_texts_take_the_step_loop_and_long_ones_blocks(opened: Opened) -> None:
    model = opened(GENERATE)
    assert path(Work(1, choose.WORTH_BLOCKS_ALONE - 1), model) == STEP
    assert path(Work(1, choose.WORTH_BLOCKS_ALONE), model) == BLOCKS
    assert path(Work(1, 0), model) == BLOCKS, "without end"
    assert path(Work(100, choose.WORTH_BLOCKS_TOGETHER // 100 - 1), model) == STEP
    assert path(Work(100, choose.WORTH_BLOCKS_TOGETHER // 100), model) == BLOCKS
    assert NOT_BUILT in choose.choose(Work(1, 0), model).reasons[0]


def test_without_a_graph_of_many_steps_there_is_the_step_loop(opened: Opened) -> None:
    plan = choose.choose(Work(1, 0), opened())
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
        file.truncate(4 * choose.MEASURED_SIZE)
    assert path(Work(1, 3 * choose.WORTH_BLOCKS_ALONE), model) == STEP
    assert path(Work(1, 4 * choose.WORTH_BLOCKS_ALONE), model) == BLOCKS


@pytest.mark.parametrize("precision", ["float32", "fp16"])
@pytest.mark.parametrize("work", [Work(1, 5), Work(1, 0, filters=True), Work(None)])
def test_the_native_operator_does_all_that_a_gpu_draws(
    opened: Opened, work: Work, precision: str
) -> None:
    """Whatever graphs there are; in long runs, since each brings its texts back to the host."""
    plan = choose.choose(work, opened(GENERATE, device="cuda"), precision=precision)
    assert (plan.path, plan.precision, plan.threads) == (NATIVE, precision, 1)
    assert plan.longest_block == choose.LONGEST_ON_GPU
    assert "on the GPU" in plan.reasons[0]


SMALLER = pytest.mark.parametrize(("precision", "device"), [("int8", "cpu"), ("fp16", "cuda")])


@SMALLER
@pytest.mark.parametrize("loss", [None, -0.001, 0.01])
def test_a_smaller_precision_may_cost_a_hundredth_of_a_bit(
    opened: Opened, precision: str, device: str, loss: float | None
) -> None:
    model = opened(device=device, native=True, loss=loss)
    assert choose.choose(Work(), model, precision=precision).path == NATIVE


@SMALLER
@pytest.mark.parametrize("loss", [0.011, float("nan")])
def test_one_that_costs_more_is_refused(
    opened: Opened, precision: str, device: str, loss: float
) -> None:
    model = opened(device=device, native=True, loss=loss)
    saying = f"{precision} costs this model {loss:.4f} bits per character, and 0.01 is allowed"
    with pytest.raises(ModelFileError, match=saying):
        choose.choose(Work(), model, precision=precision)
    assert path(Work(), model) == NATIVE


@pytest.mark.parametrize(
    ("precision", "device", "saying"),
    [
        ("int4", "cpu", "--precision is one of float32, int8, fp16, not 'int4'"),
        ("int8", "cuda", "--precision int8 runs with --provider cpu only"),
        ("int8", "cpu", f"int8 can.t be had: {NOT_BUILT}"),
        ("fp16", "cpu", "--precision fp16 runs with --provider cuda only"),
    ],
)
def test_a_precision_that_is_not_there_says_how_to_get_it(
    opened: Opened, precision: str, device: str, saying: str
) -> None:
    with pytest.raises(SettingsError, match=saying):
        choose.choose(Work(), opened(GENERATE, device=device), precision=precision)


def test_a_window_is_stepped_on_the_cpu_in_float32(opened: Opened) -> None:
    work, model = Work(None, 0, filters=True, window=40), opened(GENERATE, native=True)
    plan = choose.choose(work, model)
    assert (plan.path, plan.window, plan.precision) == (STEP, 40, "float32")
    assert "a window of 40 keeps 40 staggered states" in plan.reasons[0]
    for via in ("native", "blocks"):
        with pytest.raises(SettingsError, match="a window is stepped through"):
            choose.choose(work, model, via=via)
    with pytest.raises(SettingsError, match="--window is stepped through on the CPU"):
        choose.choose(work, opened(device="cuda"))


@SMALLER
def test_a_window_has_no_smaller_precision(opened: Opened, precision: str, device: str) -> None:
    with pytest.raises(SettingsError, match="--window is stepped through in float32"):
        choose.choose(Work(window=40), opened(device=device, native=True), precision=precision)


def test_threads_are_the_cores_for_many_texts_and_one_for_one(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(native=True)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert choose.choose(Work(None), model).threads == 3
    assert choose.choose(Work(1, 0), model, threads=2).threads == 1
    assert choose.choose(Work(None), model, threads=2).threads == 2
    assert choose.choose(Work(None), opened(device="cuda")).threads == 1


def test_a_way_that_is_asked_for_is_taken(opened: Opened) -> None:
    model = opened(GENERATE, native=True)
    for via, wanted in (("native", NATIVE), ("blocks", BLOCKS), ("steps", STEP)):
        assert choose.choose(Work(1, 1), model, via=via).path == wanted
    assert choose.choose(Work(), opened(device="cuda"), via="native").path == NATIVE


def test_a_way_that_is_not_there_is_refused(opened: Opened) -> None:
    with pytest.raises(SettingsError, match="via is auto, native, blocks, steps, not 'bloks'"):
        choose.choose(Work(), opened(), via="bloks")
    for model in (opened(native=True), opened()):
        with pytest.raises(ModelFileError, match="no graph of many steps"):
            choose.choose(Work(), model, via="blocks")
    with pytest.raises(SettingsError, match=NOT_BUILT):
        choose.choose(Work(), opened(), via="native")
    with pytest.raises(SettingsError, match="has no top-k"):
        choose.choose(Work(filters=True), opened(GENERATE, native=True), via="blocks")
    for via in ("blocks", "steps"):
        with pytest.raises(SettingsError, match="has no int8"):
            choose.choose(Work(), opened(GENERATE, native=True), via=via, precision="int8")
        with pytest.raises(SettingsError, match=f"via {via} runs on the CPU: give provider cpu"):
            choose.choose(Work(), opened(GENERATE, device="cuda"), via=via)
