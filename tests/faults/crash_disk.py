"""A disk after a power cut: what was synchronised is there, of the rest a part, torn, in any order.

The model is harsher than most disks: since the last sync of a file each sector of 512 octets that was written
is independently there or not. Directory entries are not part of it: a file that was opened is there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.crash_vfs import DELETE, HEADER, OPEN, SYNC, TRUNCATE, WRITE

SECTOR = 512
Operation = tuple[int, str, int, bytes]


def operations(record: bytes) -> Iterator[Operation]:
    """Kind, file, offset, data of every whole line of a record."""
    at = 0
    while at + HEADER.size <= len(record):
        kind, name_octets, offset, octets = HEADER.unpack_from(record, at)
        start = at + HEADER.size
        at = start + name_octets + octets
        if at > len(record):
            return
        name = record[start : start + name_octets].decode()
        yield kind, name, offset, record[start + name_octets : at]


@dataclass
class _File:
    """What is durable of one file, and what was asked of it since."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, int, bytes]] = field(default_factory=list)

    def synchronise(self) -> None:
        for kind, offset, data in self.since:
            _apply(self.durable, kind, offset, data)
        self.since.clear()

    def after_the_cut(self, rng: random.Random) -> bytes:
        """One of the many things that may be left."""
        share = rng.choice((0.0, 0.5, 1.0))
        left = bytearray(self.durable)
        for kind, offset, data in self.since:
            if kind == TRUNCATE:
                if rng.random() < share:
                    _apply(left, kind, offset, data)
                continue
            for start in range(0, len(data), SECTOR):
                if rng.random() < share:
                    _apply(left, WRITE, offset + start, data[start : start + SECTOR])
        return bytes(left)


def _apply(content: bytearray, kind: int, offset: int, data: bytes) -> None:
    size = offset if kind == TRUNCATE else offset + len(data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if kind == TRUNCATE:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


class Disk:
    """The files that a record is about, from what they were when it began."""

    def __init__(self, before: dict[str, bytes]) -> None:
        self._files = {name: _File(bytearray(content)) for name, content in before.items()}

    def play(self, operation: Operation) -> None:
        """One line of the record."""
        kind, name, offset, data = operation
        match kind:
            case _ if kind == OPEN:
                self._files.setdefault(name, _File())
            case _ if kind == SYNC:
                self._files[name].synchronise()
            case _ if kind == DELETE:
                self._files.pop(name, None)
            case _:
                self._files[name].since.append((kind, offset, data))

    def cut(self, rng: random.Random) -> dict[str, bytes]:
        """The files as the next start finds them; each call draws anew."""
        return {name: file.after_the_cut(rng) for name, file in self._files.items()}


def files_of(database: Path) -> dict[str, bytes]:
    """A database's files as they are."""
    return {str(path): path.read_bytes() for path in _names(database) if path.exists()}


def put_back(database: Path, files: dict[str, bytes]) -> None:
    """Make a database's files what a power cut left."""
    for path in _names(database):
        path.unlink(missing_ok=True)
        if (content := files.get(str(path))) is not None:
            path.write_bytes(content)


def _names(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + end) for end in ("-wal", "-journal"))]
