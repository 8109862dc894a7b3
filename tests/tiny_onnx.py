"""A tiny ONNX network written octet by octet: tests need no ONNX tools, and can foretell every number of it.

Its template is the mean of each cell of a grid over the picture, cells of one channel after those of another.
"""

from __future__ import annotations

CELL = 16


def average_pool(
    side: int,
    *,
    name: str = "fc1",
    channels: int = 3,
    cell: int = CELL,
    weights: str = "",
    open_batch: bool = False,
) -> bytes:
    """A model: `data` (1, channels, side, side) float32 to `name` (1, channels * (side // cell) ** 2).

    `weights` names a constant that the file claims to have; with `open_batch` it leaves the first side open.
    """
    pool = _node("AveragePool", "data", "cells", kernel_shape=(cell, cell), strides=(cell, cell))
    flat = _node("Flatten", "cells", name)
    given = _value("data", (-1 if open_batch else 1, channels, side, side))
    gives = _value(name, (1, channels * (side // cell) ** 2))
    constants = _part(5, _text(8, weights)) if weights else b""
    graph = _part(1, pool) + _part(1, flat) + _text(2, "tiny") + constants
    graph += _part(11, given) + _part(12, gives)
    return _number(1, 8) + _part(8, _text(1, "") + _number(2, 13)) + _part(7, graph)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())


def _node(kind: str, source: str, out: str, **lists: tuple[int, ...]) -> bytes:
    attributes = [
        _text(1, name) + _part(8, b"".join(map(_varint, values))) + _number(20, 7)
        for name, values in lists.items()
    ]
    return _text(1, source) + _text(2, out) + _text(4, kind) + b"".join(_part(5, one) for one in attributes)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_part(1, _text(2, "N") if side < 0 else _number(1, side)) for side in shape)
    return _text(1, name) + _part(2, _part(1, _number(1, 1) + _part(2, sides)))
