"""Links and files that are the old or the new after a power cut, never a part of either."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sync(folder: Path) -> None:
    """Make renames and removals in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_whole(folder: Path) -> None:
    """Write out the whole file system of the folder; a release of thousands of files, then one rename."""
    os.sync()
    sync(folder)


def flip(link: Path, target: str | None) -> None:
    """Point a link elsewhere by one rename; to nowhere removes it."""
    if target is None:
        link.unlink(missing_ok=True)
    else:
        beside = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
        beside.symlink_to(target)
        beside.replace(link)
    sync(link.parent)


def target_of(link: Path) -> str | None:
    """Where a link points, or None if there is no link."""
    return str(link.readlink()) if link.is_symlink() else None


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)
