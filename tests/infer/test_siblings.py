"""Files beside a model: of the same weights, whole, and what they say they are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import GENERATE, KEY_KIND, NATIVE, SEQUENCE, sibling_path
from charlm.infer.model.artifact import open_model
from charlm.infer.model.siblings import Siblings


@pytest.fixture
def model(exact_with_siblings: Path, tmp_path: Path) -> Path:
    """A copy of a model and its siblings, to be spoiled."""
    for path in exact_with_siblings.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / exact_with_siblings.name


def edited(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    graph = onnx.load(str(path))
    change(graph)
    path.write_bytes(graph.SerializeToString())


def test_those_that_are_there_are_known_and_opened_once(model: Path) -> None:
    siblings = open_model(model, "cpu").siblings
    assert siblings.kinds() == [GENERATE, SEQUENCE]
    assert GENERATE in siblings
    assert NATIVE not in siblings
    session = siblings.session(GENERATE)
    assert siblings.session(GENERATE) is session
    assert siblings.session(GENERATE, threads=2) is not session


def test_one_that_is_missing_is_named(model: Path) -> None:
    with pytest.raises(ModelFileError, match=r"exact\.native\.onnx"):
        open_model(model, "cpu").siblings.session(NATIVE)
    with pytest.raises(ModelFileError, match="without a file"):
        Siblings().session(GENERATE)


def test_one_cut_short_is_refused(model: Path) -> None:
    path = sibling_path(model, GENERATE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ModelFileError, match=r"generate\.onnx: not an ONNX file, or damaged"
    ) as caught:
        open_model(model, "cpu").siblings.session(GENERATE)
    assert "\n" not in str(caught.value)


def test_one_of_other_weights_is_refused(model: Path) -> None:
    def other(graph: onnx.ModelProto) -> None:
        for entry in graph.metadata_props:
            if entry.key == "charlm.weights_sha256":
                entry.value = "0" * 64

    edited(sibling_path(model, GENERATE), other)
    with pytest.raises(ModelFileError, match="made from other weights"):
        open_model(model, "cpu").siblings.session(GENERATE)


def test_one_under_the_name_of_another_is_refused(model: Path) -> None:
    shutil.copy(sibling_path(model, SEQUENCE), sibling_path(model, GENERATE))
    with pytest.raises(ModelFileError, match="says that it is 'sequence'"):
        open_model(model, "cpu").siblings.session(GENERATE)


def test_a_step_graph_in_its_place_is_refused(model: Path) -> None:
    shutil.copy(model, sibling_path(model, GENERATE))
    with pytest.raises(ModelFileError, match="says that it is 'None'"):
        open_model(model, "cpu").siblings.session(GENERATE)


def test_other_tensors_are_refused(model: Path) -> None:
    def lie(graph: onnx.ModelProto) -> None:
        for entry in graph.metadata_props:
            if entry.key == KEY_KIND:
                entry.value = GENERATE.name

    shutil.copy(sibling_path(model, SEQUENCE), sibling_path(model, GENERATE))
    edited(sibling_path(model, GENERATE), lie)
    with pytest.raises(
        ModelFileError, match="not a charlm graph of kind generate: its tensors are"
    ):
        open_model(model, "cpu").siblings.session(GENERATE)


def test_weights_in_another_file_are_refused(model: Path) -> None:
    def outside(graph: onnx.ModelProto) -> None:
        (scan,) = (node for node in graph.graph.node if node.op_type == "Scan")
        (body,) = (each.g for each in scan.attribute if each.name == "body")
        tensor = body.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "elsewhere.bin"

    edited(sibling_path(model, GENERATE), outside)
    (model.parent / "elsewhere.bin").write_bytes(bytes(1 << 16))
    with pytest.raises(ModelFileError):
        open_model(model, "cpu").siblings.session(GENERATE)
