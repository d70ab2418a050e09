"""The native graph: made from a step graph's bytes, and only from one that charlm wrote."""

import contextlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from charlm.data.system.errors import ModelFileError
from charlm.data.system.wire import part, whole
from charlm.export import weights
from charlm.export.contract import NATIVE, Metadata, tensors
from charlm.export.contract import native as contract_native
from charlm.export.contract.native import native_graph, properties_of
from charlm.export.graphs import step_graph
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]


@pytest.fixture(scope="module")
def content(make_model: Make, build: Callable[[CharLSTM], bytes]) -> bytes:
    return build(make_model(layers=2))


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
    declared = [list(map(described, listed)) for listed in (proto.graph.input, proto.graph.output)]
    for found, due in zip(declared, tensors(NATIVE, metadata), strict=True):
        assert dict(found) == due
        assert len(found) == len(due)
    shapes = [
        value.type.tensor_type.shape.dim for value in (*proto.graph.input, *proto.graph.output)
    ]
    free = {(place, each.dim_param) for dim in shapes for place, each in enumerate(dim)}
    assert {name for place, name in free if place == 0} == {"batch"}
    assert len({name for place, name in free if place == 1} - {""}) == 4, "each size is its own"


def described(value: onnx.ValueInfoProto) -> tuple[str, tuple[str, list[int | None]]]:
    """A tensor's name, type and shape, as the contract writes them."""
    tensor = value.type.tensor_type
    kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name.replace("float32", "float")
    return value.name, (f"tensor({kind})", [size.dim_value or None for size in tensor.shape.dim])


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
        with pytest.raises(ModelFileError, match=r"^m\.onnx: not an ONNX file, or damaged: name "):
            read()


@given(st.data())
def test_damaged_files_are_an_error_of_ours_or_a_graph_of_the_same_form(
    make_model: Make, build: Callable[[CharLSTM], bytes], metadata_of: Describe, data: st.DataObject
) -> None:
    """Of the smallest model: most of its file is not weights."""
    model = make_model(hidden=1)
    content, metadata = build(model), metadata_of(model)
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        cut = data.draw(st.sampled_from((0, 1, 2, len(damaged))))
        damaged[place : place + cut] = data.draw(st.binary(max_size=2))
    with contextlib.suppress(ModelFileError):
        properties_of(bytes(damaged), "m.onnx")
    with contextlib.suppress(ModelFileError):
        found = native_graph(bytes(damaged), metadata, "m.onnx")
        assert len(found) == len(native_graph(content, metadata, "m.onnx"))


def test_fields_of_other_types_are_passed_over_or_refused(metadata: Metadata) -> None:
    """Numbers where messages belong, and where bytes do."""
    content = b"".join(whole(7, 1) + whole(14, 1) + part(7, whole(5, 1)))
    assert properties_of(content, "m.onnx") == {}
    with pytest.raises(ModelFileError, match="'table' are missing"):
        native_graph(content, metadata, "m.onnx")
    with pytest.raises(ModelFileError, match="not an ONNX file, or damaged"):
        properties_of(b"".join(part(14, whole(1, 1))), "m.onnx")
    for number in (8, 9):
        with pytest.raises(ModelFileError, match="not an ONNX file, or damaged"):
            native_graph(b"".join(part(7, part(5, whole(number, 1)))), metadata, "m.onnx")


def test_another_producers_graph_has_no_native_form(metadata: Metadata) -> None:
    graph = helper.make_graph([], "empty", [], [])
    with pytest.raises(ModelFileError, match="'table' are missing"):
        native_graph(helper.make_model(graph).SerializeToString(), metadata, "m.onnx")
