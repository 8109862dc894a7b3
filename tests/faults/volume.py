"""A small real disk for the unit's data (root only): ext4 in a file, or memory that can run full.

A power cut of the ext4 disk is a copy of the file, made the moment after the unit was killed: it holds what
the file system had sent to the disk by then. What only the kernel's memory had is lost, as is the journal's
last transaction. (The copy holds all that was sent, in order: lost or reordered writes inside a disk are not
part of this; `crash_disk` has them.)
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

DISK_OCTETS = 48 << 20
OPTIONS = "loop,commit=300,noauto_da_alloc,nodev,nosuid"
"""Nothing is written out for 300 s unless somebody asks for it."""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def missing(folder: Path) -> str:
    """What this machine lacks for a disk in a file; empty when nothing."""
    try:
        (folder / "mount").mkdir(parents=True)
        with Ext4(folder / "disk", folder / "mount"):
            return ""
    except (OSError, subprocess.CalledProcessError) as cause:
        return f"loop devices and ext4 ({cause})"


class Ext4:
    """A disk in a file, mounted on a folder."""

    def __init__(self, file: Path, folder: Path) -> None:
        self._file, self._folder = file, folder

    def __enter__(self) -> Self:
        with self._file.open("wb") as file:
            file.truncate(DISK_OCTETS)
        _run("mkfs.ext4", "-q", "-F", str(self._file))
        _run("mount", "-o", OPTIONS, str(self._file), str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", str(self._folder))

    def cut(self) -> None:
        """Power fails and comes back; no process may have a file open there any more."""
        after = self._file.with_suffix(".after")
        shutil.copyfile(self._file, after)
        _run("umount", str(self._folder))
        after.replace(self._file)
        _run("mount", "-o", OPTIONS, str(self._file), str(self._folder))


class Memory:
    """A folder with so much room and no more."""

    def __init__(self, folder: Path, octets: int) -> None:
        self._folder, self._octets = folder, octets

    def __enter__(self) -> Self:
        _run("mount", "-t", "tmpfs", "-o", f"size={self._octets},mode=700", "none", str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", str(self._folder))

    def fill(self) -> None:
        """Use all the room that is left."""
        with (self._folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def clear(self) -> None:
        """Give it back."""
        (self._folder / "ballast").unlink()
