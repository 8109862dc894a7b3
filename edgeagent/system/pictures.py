"""Reading a picture from a file that somebody supplied: its size is read before one pixel is decoded.

A few kilobytes can claim billions of pixels, and a decoder allocates what they claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgeagent.errors import EdgeAgentError
from edgeagent.system.files import read_bounded
from edgeagent.vision.types import UInt8Image

FILE_LIMIT = 32 * 1024 * 1024
MOST_PIXELS = 64_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_picture(path: Path, error: type[EdgeAgentError]) -> UInt8Image:
    """The picture as (height, width, 3) uint8 BGR; JPEG, PNG or WebP.

    Raises:
        error: no such file, too long, or as `decode_picture`.
    """
    return decode_picture(read_bounded(path, FILE_LIMIT, error), path, error)


def decode_picture(content: bytes, path: Path, error: type[EdgeAgentError]) -> UInt8Image:
    """The picture in these octets of a file, (height, width, 3) uint8 BGR.

    Raises:
        error: no such picture, too many pixels, or cut short.
    """
    unreadable = error(
        "is not a picture that can be read", where=str(path), next_step="save it again as JPEG or PNG"
    )
    size = picture_size(content)
    if size is None:
        raise unreadable
    if size[0] * size[1] > MOST_PIXELS:
        raise error("is too large", where=str(path), next_step="make it smaller than 64 megapixels")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        raise unreadable from None
    if pixels is None or pixels.size == 0:
        raise unreadable
    return pixels.astype(np.uint8, copy=False)


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height that the file's header claims; None if it is not a JPEG, PNG or WebP."""
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) >= 24:
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if content.startswith(b"\xff\xd8"):
        return max(_jpeg_sizes(content), key=lambda size: size[0] * size[1], default=None)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_size(content)
    return None


def _jpeg_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """Sizes in all frame headers before the first scan: a file may hold several, and claim what it likes."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill octet
            at += 1
            continue
        if marker in _FRAME_HEADERS:
            yield (
                int.from_bytes(content[at + 7 : at + 9], "big"),
                int.from_bytes(content[at + 5 : at + 7], "big"),
            )
        if marker == 0xDA:
            return
        at += 2 if marker in _NO_LENGTH else 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def _webp_size(content: bytes) -> tuple[int, int] | None:
    chunk, head = content[12:16], content[20:30]
    if len(head) < 10:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    if chunk == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
