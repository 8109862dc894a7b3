"""Kernel and initrd in the form that every U-Boot of Debian reads: its own old one, with CRC-32s.

Not as a FIT with SHA-256: Debian's U-Boot for the Raspberry Pi is built without, and a form that is the same
on all boards is one that the emulated board has tried. A checksum tells what decayed or was written half, not
what somebody wrote on purpose: no board here verifies U-Boot itself.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from image_board import Board
from image_tools import ImageError, run

HEAD = struct.Struct(">7I4B32s")
"""Magic, CRC of the head with this field zero, time, size, load, entry, CRC of the content; os, arch, type,
compression; name. Source: U-Boot, include/image.h."""
MAGIC = 0x27051956
LINUX, ARM64 = 5, 22
TYPES = {"kernel": 2, "ramdisk": 3}


def wrap(board: Board, kind: str, content: Path, out: Path, epoch: int) -> bytes:
    """The file with U-Boot's head; a kernel is gzip and goes to the board's address."""
    words: list[str | Path] = ["-A", "arm64", "-O", "linux", "-T", kind, "-n", kind, "-d", content]
    if kind == "kernel":
        words += ["-C", "gzip", "-a", hex(board.kernel_address), "-e", hex(board.kernel_address)]
    else:
        words += ["-C", "none"]
    run("mkimage", *words, out, SOURCE_DATE_EPOCH=str(epoch), PWD=os.fspath(out.parent))
    return out.read_bytes()


def unwrap(blob: bytes, kind: str, where: str) -> bytes:
    """The content, as the loader takes it.

    Raises:
        ImageError: it is none, or is not what its checksums say.
    """
    if len(blob) < HEAD.size:
        raise ImageError("is not there", where=where)
    magic, crc, *_, size, _, _, data_crc, system, arch, what, _, _ = HEAD.unpack(blob[: HEAD.size])
    content = blob[HEAD.size : HEAD.size + size]
    head = blob[:4] + bytes(4) + blob[8 : HEAD.size]
    if magic != MAGIC or zlib.crc32(head) != crc or zlib.crc32(content) != data_crc or len(content) != size:
        raise ImageError("is not what its checksums say", where=where)
    if (system, arch, what) != (LINUX, ARM64, TYPES[kind]):
        raise ImageError(f"is no {kind} for this board", where=where)
    return content
