"""Copies of a stopped process's memory, and of every file that it could have written to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.deletion.search import UInt8

NOT_MEMORY = ("[vvar", "[vsyscall]", "[vdso]")
PIECE = 32 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Region:
    """One stretch of memory, copied."""

    name: str
    start: int
    writable: bool
    octets: UInt8


def may_read_memory() -> bool:
    """Whether this user may read the memory of a process that refuses it to its own user."""
    return os.geteuid() == 0


def memory(pid: int) -> list[Region]:
    """Every page that the process has and can read."""
    regions = []
    pages = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    handle = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in lines:
            place, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
            if rights[0] != "r" or name.startswith(NOT_MEMORY):
                continue
            start, end = (int(bound, 16) for bound in place.split("-"))
            for first, last in _present(pages, start, end):
                octets = _copied(handle, first, last)
                if octets is not None:
                    regions.append(Region(name or "anonymous", first, rights[1] == "w", octets))
    finally:
        os.close(handle)
        os.close(pages)
    return regions


def _present(pages: int, start: int, end: int) -> list[tuple[int, int]]:
    """Stretches of a mapping that have pages, in memory or in swap; the rest was never written."""
    entries = np.frombuffer(os.pread(pages, (end - start) // PAGE * 8, start // PAGE * 8), np.uint64)
    there = (entries >> np.uint64(62)) != 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [(start + int(a) * PAGE, start + int(b) * PAGE) for a, b in edges.reshape(-1, 2)]


def _copied(handle: int, start: int, end: int) -> UInt8 | None:
    octets = np.empty(end - start, np.uint8)
    at = 0
    while at < len(octets):
        try:
            got = os.preadv(handle, [octets.data[at : at + PIECE]], start + at)
        except OSError:  # a device's pages, or beyond the end of a mapped file
            return octets[:at] if at else None
        if got == 0:
            return octets[:at] if at else None
        at += got
    return octets


def open_files(pid: int) -> Iterator[tuple[str, Path]]:
    """Regular files that the process holds open, those without a name included."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file():
                yield str(entry.readlink()), entry


def writable_files(pid: int) -> set[str]:
    """Names of the regular files that the process could write to now."""
    writable = set()
    for name, entry in open_files(pid):
        lines = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().splitlines()
        flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
        if flags & os.O_ACCMODE != os.O_RDONLY:
            writable.add(name)
    return writable


def octets_written(pid: int) -> int:
    """Everything that the process ever passed to the system to be written: files, pipes and sockets."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def files_below(*folders: Path) -> Iterator[Path]:
    """Every regular file there."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
