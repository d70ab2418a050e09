"""Protobuf's wire format, held against protobuf itself, and against bytes that are none of it."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.wire import Pieces, fields, packed, part, whole

onnx = pytest.importorskip("onnx")

NUMBERS = st.integers(0, 2**63 - 1)


def joined(pieces: Pieces) -> bytes:
    return b"".join(pieces)


def read(content: bytes) -> list[tuple[int, int | memoryview]]:
    return list(fields(memoryview(content)))


MODEL = joined(
    whole(1, 8)
    + part(2, "me")
    + part(
        7,
        part(1, part(1, "x"), part(1, "y"), part(2, "z"), part(4, "Add"), part(7, "own")),
        part(5, whole(1, 2), whole(1, 300), whole(2, 1), part(8, "w"), part(9, b"\x00" * 8)),
        part(2, "g"),
    )
    + part(14, part(1, "key"), part(2, "värde"))
)


def test_protobuf_reads_messages_within_messages() -> None:
    model = onnx.ModelProto.FromString(MODEL)
    assert (model.ir_version, model.producer_name, model.graph.name) == (8, "me", "g")
    (node,), (weights,) = model.graph.node, model.graph.initializer
    assert (list(node.input), list(node.output)) == (["x", "y"], ["z"])
    assert (node.op_type, node.domain) == ("Add", "own")
    assert (list(weights.dims), weights.data_type, weights.name) == ([2, 300], 1, "w")
    assert weights.raw_data == b"\x00" * 8
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("key", "värde")]


@given(NUMBERS, st.text(max_size=50), st.binary(max_size=300))
def test_fields_are_written_and_read_as_by_protobuf(number: int, text: str, content: bytes) -> None:
    tensor = onnx.TensorProto(dims=[number, 5], data_type=7, name=text, raw_data=content)
    message = tensor.SerializeToString()
    written = whole(1, number) + whole(1, 5) + whole(2, 7) + part(8, text) + part(9, content)
    assert joined(written) == message
    assert read(message) == [(1, number), (1, 5), (2, 7), (8, text.encode()), (9, content)]


@given(st.lists(NUMBERS, max_size=20))
def test_numbers_that_stand_in_one_field_are_read(numbers: list[int]) -> None:
    message = onnx.TensorProto(int64_data=numbers).SerializeToString()
    assert [number for _, value in read(message) for number in packed(value)] == numbers


def test_numbers_of_a_fixed_size_are_passed_over() -> None:
    message = onnx.AttributeProto(f=1.5, i=3).SerializeToString()
    assert read(message) == [(2, struct.pack("<f", 1.5)), (3, 3)]
    double = struct.pack("<d", 2.5)
    assert read(b"\x09" + double + message) == [(1, double), *read(message)]


def test_a_message_cut_short_is_refused_or_has_fewer_fields() -> None:
    every, cut_between = read(MODEL), 0
    for size in range(len(MODEL)):
        with contextlib.suppress(ValueError):
            found = read(MODEL[:size])
            assert found == every[: len(found)]
            cut_between += 1
    assert cut_between == len(every)


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"\x0a", "ends within a number"),
        (b"\x0a\x05abc", "ends within a field"),
        (b"\x08", "ends within a number"),
        (b"\x08\xff", "ends within a number"),
        (b"\x0d\x00", "ends within a field"),
        (b"\x0b", "wire type 3"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
    ],
)
def test_what_ends_too_early_or_is_of_no_known_type_is_refused(content: bytes, saying: str) -> None:
    with pytest.raises(ValueError, match=saying):
        read(content)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(MODEL)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content)


def walk(content: memoryview, depth: int = 4) -> None:
    for _, value in fields(content):
        if depth and isinstance(value, memoryview):
            try:
                walk(value, depth - 1)
            except ValueError:
                packed(value)


@given(st.binary(max_size=400) | damaged())
def test_bytes_that_are_no_message_are_a_value_error_and_nothing_else(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        walk(memoryview(content))
