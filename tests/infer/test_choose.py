"""The rules that choose a path, and what they say."""

from pathlib import Path

import pytest

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    INT8,
    INT8_ORT,
    SEQUENCE_INT8,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
    sibling_path,
)
from charlm.infer import choose
from charlm.infer.choose import BLOCKS, DEVICE_BLOCKS, STEP
from charlm.infer.siblings import Siblings
from charlm.infer.work import Work


@pytest.fixture
def with_kinds(tmp_path: Path) -> object:
    """Siblings of a model that has files of these kinds beside it."""

    def make(*kinds: Kind) -> Siblings:
        model = tmp_path / "model.onnx"
        for kind in kinds:
            sibling_path(model, kind).touch()
        return Siblings(model)

    return make


def path(work: Work, siblings: Siblings, device: str = "cpu") -> str:
    return choose.choose(work, siblings, device).path


def test_short_texts_take_the_step_loop_and_long_ones_blocks(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE, FILTERED)  # type: ignore[operator]
    assert path(Work(1, choose.WORTH_BLOCKS_ALONE - 1), siblings) == STEP
    assert path(Work(1, choose.WORTH_BLOCKS_ALONE), siblings) == BLOCKS
    assert path(Work(1, 0), siblings) == BLOCKS, "without end"
    assert path(Work(100, choose.WORTH_BLOCKS_TOGETHER // 100 - 1), siblings) == STEP
    assert path(Work(100, choose.WORTH_BLOCKS_TOGETHER // 100), siblings) == BLOCKS
    assert path(Work(None, 1), siblings) == BLOCKS, "a file of any number of prompts"


def test_without_a_graph_of_many_steps_there_is_the_step_loop(with_kinds: object) -> None:
    plan = choose.choose(Work(None), with_kinds(), "cpu")  # type: ignore[operator]
    assert plan.path == STEP
    assert "charlm-export writes it" in " ".join(plan.reasons)


def test_without_a_graph_for_filters_many_texts_take_the_step_loop(with_kinds: object) -> None:
    """Any of them may have filters; a single text says at once whether it has."""
    siblings = with_kinds(GENERATE)  # type: ignore[operator]
    assert path(Work(None), siblings) == path(Work(3, 100_000), siblings) == STEP
    assert path(Work(1, 100_000), siblings) == BLOCKS


def test_a_larger_model_must_be_worth_more(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE)  # type: ignore[operator]
    graph = sibling_path(siblings._model, GENERATE)  # type: ignore[arg-type]
    with graph.open("r+b") as file:
        file.truncate(4 * choose.MEASURED_SIZE)
    assert path(Work(1, 3 * choose.WORTH_BLOCKS_ALONE), siblings) == STEP
    assert path(Work(1, 4 * choose.WORTH_BLOCKS_ALONE), siblings) == BLOCKS


def test_a_single_text_has_the_threads_that_its_model_is_worth(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE, FILTERED)  # type: ignore[operator]
    alone = choose.choose(Work(1, 0), siblings, "cpu", threads=4, session_threads=4)
    assert (alone.threads, alone.session_threads) == (1, 4)
    many = choose.choose(Work(None), siblings, "cpu", threads=4, session_threads=4)
    assert (many.threads, many.session_threads) == (4, 1)


def test_filters_stay_with_numpy_on_the_cpu(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE, INT8, SEQUENCE_INT8)  # type: ignore[operator]
    assert path(Work(1, 0, filters=True), siblings) == STEP
    plan = choose.choose(Work(1, 0, filters=True), siblings, "cpu", precision="int8")
    assert plan.path == BLOCKS, "the step graph is float32"


def test_a_device_takes_the_unrolled_graph(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE, FILTERED, UNROLLED)  # type: ignore[operator]
    assert path(Work(1, 5), siblings, "cuda") == DEVICE_BLOCKS
    assert path(Work(None), siblings, "cpu") == BLOCKS


def test_a_device_takes_its_filters_from_a_graph_of_theirs(with_kinds: object) -> None:
    work = Work(1, 0, filters=True)
    assert path(work, with_kinds(GENERATE, UNROLLED), "cuda") == STEP  # type: ignore[operator]
    siblings = with_kinds(GENERATE, UNROLLED, FILTERED)  # type: ignore[operator]
    assert path(work, siblings, "cuda") == DEVICE_BLOCKS


def test_a_device_never_takes_the_graph_of_the_cpu(with_kinds: object) -> None:
    """Which leans on the order in which ArgMin takes equals."""
    plan = choose.choose(Work(None), with_kinds(GENERATE), "cuda")  # type: ignore[operator]
    assert plan.path == STEP
    assert "charlm-export --cuda writes it" in " ".join(plan.reasons)


def test_a_way_that_is_asked_for_on_a_device(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE)  # type: ignore[operator]
    with pytest.raises(ModelFileError, match="charlm-export --cuda writes it"):
        choose.choose(Work(), siblings, "cuda", via="blocks")
    siblings = with_kinds(UNROLLED, UNROLLED_FP16)  # type: ignore[operator]
    assert choose.choose(Work(), siblings, "cuda", via="blocks").path == DEVICE_BLOCKS
    assert choose.choose(Work(), siblings, "cuda", via="steps").path == STEP
    with pytest.raises(SettingsError, match="the step loop has no fp16"):
        choose.choose(Work(), siblings, "cuda", via="steps", precision="fp16")


def test_fp16_has_no_filters(with_kinds: object) -> None:
    siblings = with_kinds(UNROLLED_FP16)  # type: ignore[operator]
    with pytest.raises(SettingsError, match="--precision fp16 has no top-k, top-p or min-p"):
        choose.choose(Work(filters=True), siblings, "cuda", precision="fp16")


def test_int8_changes_its_ops_with_the_number_of_streams(with_kinds: object) -> None:
    siblings = with_kinds(INT8, INT8_ORT)  # type: ignore[operator]
    few, many = choose.WORTH_ORT_OPS - 1, choose.WORTH_ORT_OPS
    assert choose.generate_kind(siblings, "int8", few) == INT8
    assert choose.generate_kind(siblings, "int8", many) == INT8_ORT
    sibling_path(siblings._model, INT8_ORT).unlink()  # type: ignore[arg-type]
    assert choose.generate_kind(siblings, "int8", many) == INT8


@pytest.mark.parametrize(
    ("precision", "device", "error", "saying"),
    [
        ("int4", "cpu", SettingsError, "--precision is one of float32, int8, fp16, not 'int4'"),
        ("int8", "cuda", SettingsError, "--precision int8 runs with --provider cpu only"),
        ("fp16", "cpu", SettingsError, "--precision fp16 runs with --provider cuda only"),
        ("int8", "cpu", ModelFileError, "charlm-export --int8 writes them"),
        ("fp16", "cuda", ModelFileError, "charlm-export --fp16 writes them"),
    ],
)
def test_a_precision_that_is_not_there_says_how_to_get_it(
    with_kinds: object, precision: str, device: str, error: type[Exception], saying: str
) -> None:
    siblings = with_kinds(GENERATE, UNROLLED)  # type: ignore[operator]
    with pytest.raises(error, match=saying):
        choose.choose(Work(), siblings, device, precision=precision)


def test_fp16_takes_its_own_graph(with_kinds: object) -> None:
    siblings = with_kinds(UNROLLED, UNROLLED_FP16)  # type: ignore[operator]
    plan = choose.choose(Work(), siblings, "cuda", precision="fp16")
    assert (plan.path, plan.precision) == (DEVICE_BLOCKS, "fp16")


def test_threads_are_the_cores_for_many_texts_and_one_for_one(
    with_kinds: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    siblings = with_kinds(GENERATE)  # type: ignore[operator]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert choose.choose(Work(None), siblings, "cpu").threads == 3
    assert choose.choose(Work(1, 0), siblings, "cpu").threads == 1
    assert choose.choose(Work(None), siblings, "cpu", threads=2).threads == 2
    assert choose.choose(Work(None), siblings, "cuda").threads == 1


def test_a_way_that_is_asked_for_is_taken(with_kinds: object) -> None:
    siblings = with_kinds(GENERATE)  # type: ignore[operator]
    assert choose.choose(Work(1, 1), siblings, "cpu", via="blocks").path == BLOCKS
    assert choose.choose(Work(None), siblings, "cpu", via="steps").path == STEP
    int8 = with_kinds(INT8, SEQUENCE_INT8)  # type: ignore[operator]
    with pytest.raises(SettingsError, match="the step loop has no int8"):
        choose.choose(Work(), int8, "cpu", precision="int8", via="steps")
    with pytest.raises(SettingsError, match="via is auto, steps or blocks, not 'bloks'"):
        choose.choose(Work(), siblings, "cpu", via="bloks")
    with pytest.raises(ModelFileError, match="no graph of many steps"):
        choose.choose(Work(), Siblings(), "cpu", via="blocks")
