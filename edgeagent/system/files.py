"""Reading with a limit and writing all or nothing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from edgeagent.errors import DocumentError, EdgeAgentError

PIECE = 1 << 20


def read_bounded(path: Path, limit: int, error: type[EdgeAgentError] = DocumentError) -> bytes:
    """The file's bytes, at most `limit` of them; the size is checked before anything is parsed.

    Raises:
        error: the file is missing, unreadable, empty or longer than the limit.
    """
    try:
        with path.open("rb") as file:
            content = _at_most(file, limit + 1)
    except OSError as cause:
        raise error(
            f"cannot be read: {cause.strerror}", where=str(path), next_step="put the file there, readable"
        ) from cause
    if not content:
        raise error("is empty", where=str(path), next_step="copy it again; the copy was cut short")
    if len(content) > limit:
        raise error(
            f"is longer than {limit} bytes", where=str(path), next_step="check that it is the right file"
        )
    return content


def _at_most(file: BinaryIO, octets: int) -> bytes:
    """Up to so many octets, in pieces: one read of that size would allocate it, however short the file is."""
    pieces: list[bytes] = []
    while octets > 0 and (piece := file.read(min(octets, PIECE))):
        pieces.append(piece)
        octets -= len(piece)
    return b"".join(pieces)


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write so that after a power cut there is the old file or the new one, never a part of either."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename or a removal in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def destroy(path: Path) -> bool:
    """Overwrite and remove a file; whether there was one.

    Flash storage may keep an old copy of the overwritten blocks, so secrets that must be gone are kept as
    ciphertext whose key was never on the disk, or is destroyed too.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    with path.open("r+b") as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    sync_folder(path.parent)
    return True
