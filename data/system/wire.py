"""Protobuf's wire format, as far as ONNX files use it: messages as fields, and fields as bytes."""

from collections.abc import Iterator

Pieces = list[bytes | memoryview]  # which follow one another

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
MOST_VARINT_BYTES = 10


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in their order: number, and a whole number or a part of the bytes.

    Raises:
        ValueError: the bytes are no message, or end within a field.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:  # other readers keep the lower bits, and would see another
            raise ValueError(f"a field of number {number}")
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == LENGTH:
            size, place = _varint(message, place)
        elif kind in FIXED_SIZES:
            size = FIXED_SIZES[kind]
        else:
            raise ValueError(f"a field of wire type {kind}")
        if size > len(message) - place:
            raise ValueError("it ends within a field")
        yield number, message[place : place + size]
        place += size


def packed(content: memoryview) -> list[int]:
    """Whole numbers that stand in one field.

    Raises:
        ValueError: it ends within one.
    """
    found, place = [], 0
    while place < len(content):
        value, place = _varint(content, place)
        found.append(value)
    return found


def whole(number: int, value: int) -> Pieces:
    """A field that holds a whole number from 0."""
    return [_as_varint(number << 3 | VARINT) + _as_varint(value)]


def part(number: int, *contents: Pieces | bytes | memoryview | str) -> Pieces:
    """A field that holds bytes, a text, or a message of several fields.

    Pieces are joined once, at the end: weights are many, and copying them takes time.
    """
    pieces: Pieces = []
    for content in contents:
        if isinstance(content, list):
            pieces += content
        else:
            pieces.append(content.encode() if isinstance(content, str) else content)
    return [_as_varint(number << 3 | LENGTH) + _as_varint(sum(map(len, pieces))), *pieces]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * MOST_VARINT_BYTES, 7):
        if place >= len(message):
            raise ValueError("it ends within a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _as_varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
