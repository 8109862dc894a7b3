"""What an ONNX file says of its input: OpenCV runs many a network on pictures of any size.

Only as much of Protocol Buffers is read as leads there; what is not understood is skipped, and a file that
cannot be followed is no ONNX file.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAPH, INITIALIZER, INPUT = 7, 5, 11
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
Shape = tuple[int | None, ...]


def picture_inputs(content: bytes) -> list[Shape]:
    """Shape of each input that the file has no value of its own for; None where a side may vary.

    Raises:
        ValueError: the file cannot be followed.
    """
    graphs = [part for field, part in _parts(memoryview(content)) if field == GRAPH]
    if len(graphs) != 1:
        raise ValueError("not one graph")
    given = {_text(_one(part, 8)) for field, part in _parts(graphs[0]) if field == INITIALIZER}
    inputs = [part for field, part in _parts(graphs[0]) if field == INPUT]
    return [_shape(part) for part in inputs if _text(_one(part, 1)) not in given]


def _shape(value: memoryview) -> Shape:
    """ValueInfo → type → tensor type → shape → sides."""
    shape = _one(_one(_one(value, 2), 1), 2)
    return tuple(_side(part) for field, part in _parts(shape) if field == 1)


def _side(dimension: memoryview) -> int | None:
    values = [value for field, kind, value in _fields(dimension) if (field, kind) == (1, VARINT)]
    return int(values[-1]) if values and isinstance(values[-1], int) else None


def _one(message: memoryview, wanted: int) -> memoryview:
    found = [part for field, part in _parts(message) if field == wanted]
    if not found:
        raise ValueError(f"no field {wanted}")
    return found[-1]


def _text(part: memoryview) -> bytes:
    return bytes(part)


def _parts(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    for field, _, value in _fields(message):
        if isinstance(value, memoryview):
            yield field, value


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field; of fixed-size fields the value is left out."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield field, kind, value
            continue
        if kind == LENGTH:
            length, at = _varint(message, at)
        elif kind in (EIGHT, FOUR):
            length = 8 if kind == EIGHT else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(message):
            raise ValueError("cut short")
        if kind == LENGTH:
            yield field, kind, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut short")
        octet = message[at]
        at += 1
        value |= (octet & 127) << shift
        if octet < 128:
            return value, at
    raise ValueError("a number without an end")
