"""Protobuf's wire format, held against protobuf itself, and against bytes that are none of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.wire import fields, packed, part, whole

onnx = pytest.importorskip("onnx")


def joined(pieces: list[bytes | memoryview]) -> bytes:
    return b"".join(pieces)


def test_protobuf_reads_what_is_written() -> None:
    node = part(1, part(1, "x"), part(1, "y"), part(2, "z"), part(4, "Add"), part(7, "own"))
    array = part(5, whole(1, 2), whole(1, 300), whole(2, 1), part(8, "w"), part(9, b"\x00" * 8))
    message = joined(whole(1, 8) + part(2, "me") + part(7, node, array, part(2, "g")))
    model = onnx.ModelProto.FromString(message)
    assert (model.ir_version, model.producer_name, model.graph.name) == (8, "me", "g")
    (found,) = model.graph.node
    assert (list(found.input), list(found.output)) == (["x", "y"], ["z"])
    assert (found.op_type, found.domain) == ("Add", "own")
    (weights,) = model.graph.initializer
    assert (list(weights.dims), weights.data_type, weights.name) == ([2, 300], 1, "w")
    assert weights.raw_data == b"\x00" * 8


@given(st.integers(0, 2**63 - 1), st.binary(max_size=300), st.text(max_size=50))
def test_what_protobuf_writes_is_read(number: int, content: bytes, text: str) -> None:
    tensor = onnx.TensorProto(dims=[number, 5], data_type=7, name=text, raw_data=content)
    found = [(each, value) for each, value in fields(memoryview(tensor.SerializeToString()))]
    assert {place for place, _ in found} >= {1, 2, 8}
    listed = [value for place, value in found if place == 1]
    sizes = [v for value in listed for v in ([value] if isinstance(value, int) else packed(value))]
    assert sizes == [number, 5]
    assert dict(found)[2] == 7
    assert bytes(dict(found)[8]).decode() == text  # type: ignore[arg-type]
    assert bytes(dict(found).get(9, b"")) == content  # type: ignore[arg-type]


def test_numbers_of_fixed_size_are_passed_over() -> None:
    tensor = onnx.AttributeProto(name="a", f=1.5, i=3)
    assert dict(fields(memoryview(tensor.SerializeToString())))[3] == 3


def walk(content: memoryview, depth: int = 4) -> None:
    for _, value in fields(content):
        if depth and isinstance(value, memoryview):
            try:
                walk(value, depth - 1)
            except ValueError:
                packed(value)


@given(st.binary(max_size=400))
def test_bytes_that_are_no_message_are_a_value_error_and_nothing_else(content: bytes) -> None:
    try:
        walk(memoryview(content))
    except ValueError:
        return


@pytest.mark.parametrize(
    "content",
    [b"\x0a", b"\x0a\x05abc", b"\x08", b"\x08\xff", b"\x0b", b"\x0d\x00", b"\x08" + b"\xff" * 11],
)
def test_what_ends_too_early_or_is_of_no_known_type_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"it ends within|wire type|more than ten"):
        list(fields(memoryview(content)))
