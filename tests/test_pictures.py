"""Pictures that somebody supplied: their size is known before they are decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.errors import EnrolmentError
from edgeagent.system.pictures import picture_size, read_picture

PLAIN = np.random.default_rng(1).integers(0, 256, (37, 53, 3), np.uint8)
WEBP = int(cv2.IMWRITE_WEBP_QUALITY)
PROGRESSIVE = [int(cv2.IMWRITE_JPEG_PROGRESSIVE), 1]
ENCODINGS = {
    "jpeg": (".jpg", []),
    "progressive jpeg": (".jpg", PROGRESSIVE),
    "png": (".png", []),
    "lossy webp": (".webp", [WEBP, 50]),
    "lossless webp": (".webp", [WEBP, 101]),
}


def encoded(name: str) -> bytes:
    ending, options = ENCODINGS[name]
    done, octets = cv2.imencode(ending, PLAIN, options)
    assert done
    return octets.tobytes()


def png_of(width: int, height: int) -> bytes:
    """A few dozen octets that claim any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_read_and_its_size_known(name: str, tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(encoded(name))
    assert picture_size(encoded(name)) == (53, 37)
    assert read_picture(file, EnrolmentError).shape == (37, 53, 3)


def test_a_small_file_that_claims_billions_of_pixels_is_refused_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr("edgeagent.system.pictures.cv2.imdecode", never)
    file = tmp_path / "bomb.png"
    file.write_bytes(png_of(60_000, 60_000))
    with pytest.raises(EnrolmentError, match="too large"):
        read_picture(file, EnrolmentError)


def test_a_jpeg_with_a_second_larger_header_counts_as_the_larger(tmp_path: Path) -> None:
    plain = encoded("jpeg")
    second = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3) + bytes(9)
    file = tmp_path / "two.jpg"
    file.write_bytes(plain[:2] + second + plain[2:])
    with pytest.raises(EnrolmentError, match="too large"):
        read_picture(file, EnrolmentError)


@pytest.mark.parametrize(
    "content", [b"x", b"GIF89a" + bytes(40), b"\xff\xd8", encoded("png")[:30], b"BM" + bytes(60)]
)
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(content)
    with pytest.raises(EnrolmentError, match="not a picture"):
        read_picture(file, EnrolmentError)


@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 400), st.binary(max_size=12))
def test_no_header_makes_it_fail_otherwise(name: str, at: int, octets: bytes) -> None:
    whole = encoded(name)
    size = picture_size(whole[:at] + octets + whole[at + len(octets) :])
    assert size is None or min(size) >= 0
