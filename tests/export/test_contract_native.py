"""The native graph: made from a step graph's bytes, and only from one that charlm wrote."""

import contextlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from charlm.data.errors import ModelFileError
from charlm.export import contract_native, step_graph, weights
from charlm.export.contract import Metadata
from charlm.export.contract_native import native_graph, properties_of
from charlm.export.contract_siblings import NATIVE, tensors
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]


@pytest.fixture(scope="module")
def content(make_model: Make, metadata_of: Describe) -> bytes:
    model = make_model(layers=2)
    return step_graph.build(weights.from_torch(model), metadata_of(model))


@pytest.fixture(scope="module")
def metadata(make_model: Make, metadata_of: Describe) -> Metadata:
    return metadata_of(make_model(layers=2))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_has_the_step_graphs_weights_and_the_contracts_tensors(
    make_model: Make, metadata_of: Describe, layers: int
) -> None:
    model = make_model(layers=layers)
    metadata, laid_out = metadata_of(model), weights.from_torch(model)
    step = step_graph.build(laid_out, metadata)
    proto = onnx.load_model_from_string(native_graph(step, metadata, "m.onnx"))
    onnx.checker.check_model(proto)
    (node,) = proto.graph.node
    assert (node.domain, node.op_type) == ("charlm", "CharLSTM")
    arrays = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    stacked = np.zeros((0, 32, 64), np.float32) if layers == 1 else np.stack(laid_out.stacked)
    biases = np.zeros((0, 64), np.float32) if layers == 1 else np.stack(laid_out.stacked_bias)
    wanted = {
        "table": laid_out.table[:, 0], "recurrent": laid_out.recurrent, "upper": stacked,
        "upper_bias": biases, "head": laid_out.head, "head_bias": laid_out.head_bias,
    }  # fmt: skip
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert list(node.input) == [*wanted, *contract_native.INPUTS]
    assert list(node.output) == [*contract_native.OUTPUTS]
    for declared, listed in zip(
        tensors(NATIVE, metadata), (proto.graph.input, proto.graph.output), strict=True
    ):
        assert {each.name for each in listed} == declared.keys()
        for each in listed:
            sizes = [size.dim_value or None for size in each.type.tensor_type.shape.dim]
            assert sizes == declared[each.name][1], each.name


def test_properties_are_read_without_onnx(content: bytes, metadata: Metadata) -> None:
    assert properties_of(content, "m.onnx") == metadata.to_properties()


def test_its_properties_say_what_it_is(content: bytes, metadata: Metadata) -> None:
    found = properties_of(native_graph(content, metadata, "m.onnx"), "m.onnx")
    assert found == metadata.to_properties() | {"charlm.kind": "native"}


def changed(content: bytes, name: str, change: Callable[[onnx.TensorProto], None]) -> bytes:
    model = onnx.load_model_from_string(content)
    change(next(each for each in model.graph.initializer if each.name == name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("table", lambda each: setattr(each, "name", "tables")),
        ("recurrent", lambda each: setattr(each, "data_type", onnx.TensorProto.INT32)),
        ("stacked_1", lambda each: each.dims.append(1)),
        ("stacked_bias_1", lambda each: setattr(each, "raw_data", each.raw_data[:-4])),
        ("head", lambda each: each.dims.__setitem__(0, 15)),
        ("head_bias", lambda each: each.ClearField("raw_data")),
    ],
)
def test_weights_that_are_not_as_charlm_writes_them_are_named(
    content: bytes, metadata: Metadata, name: str, change: Callable[[onnx.TensorProto], None]
) -> None:
    with pytest.raises(ModelFileError, match=rf"^m\.onnx: its weights '{name}' are missing or not"):
        native_graph(changed(content, name, change), metadata, "m.onnx")


def test_dims_that_stand_in_one_field_are_read_too(content: bytes, metadata: Metadata) -> None:
    """As writers of protobuf 3 pack them."""
    model = onnx.load_model_from_string(content)
    (head,) = (each for each in model.graph.initializer if each.name == "head")
    own = head.SerializeToString()
    unpacked = b"\x08\x10\x08\x0c"
    assert unpacked in own
    packed = own.replace(unpacked, b"\x0a\x02\x10\x0c")
    assert content.count(own) == 1
    wanted = native_graph(content, metadata, "m.onnx")
    assert native_graph(content.replace(own, packed), metadata, "m.onnx") == wanted


@pytest.mark.parametrize("bad", [b"x", b"\xff" * 40, b"\x3a\x7f\x00"])
def test_what_is_no_onnx_file_is_one_line(metadata: Metadata, bad: bytes) -> None:
    for read in (
        lambda: properties_of(bad, "m.onnx"),
        lambda: native_graph(bad, metadata, "m.onnx"),
    ):
        with pytest.raises(ModelFileError, match=r"^m\.onnx: not a valid ONNX file: .*$"):
            read()


@given(st.data())
def test_damaged_files_are_an_error_of_ours_or_a_graph(
    content: bytes, metadata: Metadata, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelFileError):
        properties_of(bytes(damaged), "m.onnx")
        native_graph(bytes(damaged), metadata, "m.onnx")


def test_another_producers_graph_has_no_native_form(metadata: Metadata) -> None:
    graph = helper.make_graph([], "empty", [], [])
    with pytest.raises(ModelFileError, match="'table' are missing"):
        native_graph(helper.make_model(graph).SerializeToString(), metadata, "m.onnx")
