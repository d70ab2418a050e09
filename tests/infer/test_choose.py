"""The rules that choose a path, and what they say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export import contract_library
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    SEQUENCE_FP16,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
    sibling_path,
)
from charlm.infer import choose
from charlm.infer.artifact import Model
from charlm.infer.choose import BLOCKS, DEVICE_BLOCKS, NATIVE, STEP
from charlm.infer.siblings import Siblings
from charlm.infer.work import Work

Opened = Callable[..., Model]
NOT_BUILT = "the native operator was not built"


@pytest.fixture
def opened(tmp_path: Path, small_metadata: Metadata) -> Opened:
    """A model with files of these kinds beside it, and with the native operator where it is said.

    `loss` is what int8 costs it, where that was measured.
    """

    def make(
        *kinds: Kind, device: str = "cpu", native: bool = False, loss: float | None = None
    ) -> Model:
        path = tmp_path / "model.onnx"
        for kind in kinds:
            sibling_path(path, kind).touch()
        quality = {} if loss is None else {"int8": {"loss": loss}}
        metadata = replace(small_metadata, quality=quality)
        model = Model(b"", metadata, str(path), device, 1, None, Siblings(path))
        if device == "cpu":
            model.__dict__["without_native"] = None if native else NOT_BUILT
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
    assert contract_library.instruction_set() in plan.reasons[0]


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


def test_a_device_takes_the_unrolled_graph(opened: Opened) -> None:
    model = opened(GENERATE, UNROLLED, UNROLLED_FP16, device="cuda")
    assert path(Work(1, 5), model) == path(Work(None), model) == DEVICE_BLOCKS
    plan = choose.choose(Work(), model, precision="fp16")
    assert (plan.path, plan.precision) == (DEVICE_BLOCKS, "fp16")


def test_a_device_takes_its_filters_from_a_graph_of_theirs(opened: Opened) -> None:
    work = Work(1, 0, filters=True)
    assert path(work, opened(UNROLLED, device="cuda")) == STEP
    assert path(work, opened(UNROLLED, FILTERED, device="cuda")) == DEVICE_BLOCKS


def test_a_device_never_takes_the_graph_of_the_cpu(opened: Opened) -> None:
    """Which leans on the order in which ArgMin takes equals."""
    plan = choose.choose(Work(None), opened(GENERATE, device="cuda"))
    assert plan.path == STEP
    assert "charlm-export --cuda writes it" in " ".join(plan.reasons)


@pytest.mark.parametrize("loss", [None, -0.001, 0.01])
def test_int8_may_cost_a_hundredth_of_a_bit(opened: Opened, loss: float | None) -> None:
    model = opened(native=True, loss=loss)
    assert choose.choose(Work(), model, precision="int8").path == NATIVE


@pytest.mark.parametrize("loss", [0.011, float("nan")])
def test_int8_that_costs_more_is_refused(opened: Opened, loss: float) -> None:
    model = opened(native=True, loss=loss)
    saying = f"int8 costs this model {loss:.4f} bits per character, and 0.01 is allowed"
    with pytest.raises(ModelFileError, match=saying):
        choose.choose(Work(), model, precision="int8")
    assert path(Work(), model) == NATIVE


@pytest.mark.parametrize(
    ("precision", "device", "error", "saying"),
    [
        ("int4", "cpu", SettingsError, "--precision is one of float32, int8, fp16, not 'int4'"),
        ("int8", "cuda", SettingsError, "--precision int8 runs with --provider cpu only"),
        ("int8", "cpu", SettingsError, f"int8 can.t be had: {NOT_BUILT}"),
        ("fp16", "cpu", SettingsError, "--precision fp16 runs with --provider cuda only"),
        ("fp16", "cuda", ModelFileError, "charlm-export --fp16 writes them"),
    ],
)
def test_a_precision_that_is_not_there_says_how_to_get_it(
    opened: Opened, precision: str, device: str, error: type[Exception], saying: str
) -> None:
    with pytest.raises(error, match=saying):
        choose.choose(Work(), opened(GENERATE, UNROLLED, device=device), precision=precision)


def test_fp16_has_no_filters(opened: Opened) -> None:
    model = opened(UNROLLED_FP16, device="cuda")
    with pytest.raises(SettingsError, match="--precision fp16 has no top-k, top-p or min-p"):
        choose.choose(Work(filters=True), model, precision="fp16")


@pytest.mark.parametrize(
    ("device", "precision"), [("cpu", "float32"), ("cuda", "float32"), ("cuda", "fp16")]
)
def test_a_window_is_always_stepped(opened: Opened, device: str, precision: str) -> None:
    work = Work(None, 0, filters=True, window=40)
    model = opened(SEQUENCE_FP16, GENERATE, device=device, native=True)
    plan = choose.choose(work, model, precision=precision)
    assert (plan.path, plan.window, plan.precision) == (STEP, 40, precision)
    assert "a window of 40 keeps 40 staggered states" in plan.reasons[0]
    for via in ("native", "blocks"):
        with pytest.raises(SettingsError, match="a window is stepped through"):
            choose.choose(work, model, precision=precision, via=via)


def test_a_window_is_not_stepped_in_every_precision(opened: Opened) -> None:
    with pytest.raises(SettingsError, match="--window is stepped through in float32"):
        choose.choose(Work(window=40), opened(native=True), precision="int8")
    with pytest.raises(ModelFileError, match="no fp16 graphs"):
        choose.choose(Work(window=40), opened(UNROLLED_FP16, device="cuda"), precision="fp16")


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
    device = opened(UNROLLED, UNROLLED_FP16, device="cuda")
    assert choose.choose(Work(), device, via="blocks").path == DEVICE_BLOCKS
    assert choose.choose(Work(), device, via="steps").path == STEP


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
    with pytest.raises(SettingsError, match="has no int8"):
        choose.choose(Work(), opened(GENERATE, native=True), via="blocks", precision="int8")
    with pytest.raises(ModelFileError, match="charlm-export --cuda writes it"):
        choose.choose(Work(), opened(GENERATE, device="cuda"), via="blocks")
    for precision, device in (("int8", "cpu"), ("fp16", "cuda")):
        model = opened(UNROLLED_FP16, device=device, native=True)
        with pytest.raises(SettingsError, match=f"the step loop has no {precision}"):
            choose.choose(Work(), model, via="steps", precision=precision)
