"""The log's files: names, an append-only file, and finding the end again after a power cut (R25)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeagent.audit.chain import LINE_LIMIT, Head, Position, follow
from edgeagent.audit.events import Sealed
from edgeagent.errors import AuditError
from edgeagent.system.files import sync_folder

_NAME = re.compile(r"audit-([0-9]{6})\.jsonl")


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment of this number is."""
    return folder / f"audit-{number:06}.jsonl"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The log's files in order, with their numbers."""
    if not folder.exists():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)


def lines_of(path: Path) -> Iterator[bytes]:
    """The file's lines with their line feeds; a longer one than any can be comes in pieces."""
    with path.open("rb") as file:
        while line := file.readline(LINE_LIMIT + 1):
            yield line


class Segment:
    """One file that is only ever appended to."""

    def __init__(self, path: Path) -> None:
        """Open it, made if need be, durable as a name.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self._descriptor = -1  # for `close`, should the next line fail
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.size = os.fstat(self._descriptor).st_size
        sync_folder(path.parent)

    def append(self, line: bytes) -> None:
        """Add the line whole, or, as far as the disk lets it, not at all.

        Raises:
            OSError: it could not be added.
        """
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(line)

    def sync(self) -> None:
        """Make what was added durable.

        Raises:
            OSError: nobody knows what is durable now.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # A journal that nobody needs any more must not keep a descriptor: select() takes none above 1023.
        self.close()


@dataclass(frozen=True, slots=True)
class Regained:
    """What an earlier start left.

    Attributes:
        number: of the segment to go on with.
        position: where the chain ends; None when there is no log.
        checkpoints: those in it.
        first: number of its first line.
        cut_octets: how much of a half-written line was cut off.
    """

    number: int
    position: Position | None
    checkpoints: tuple[Head, ...]
    first: int
    cut_octets: int


def recover(folder: Path) -> Regained:
    """Find the end of the log; a line that was half written when the power went is cut off.

    Only octets after the last line feed are ever cut: whole lines that do not fit are evidence, and stay.

    Raises:
        AuditError: a whole line does not fit.
        OSError: the files cannot be read or cut.
    """
    found = segments(folder)
    cut = 0
    while found:
        number, path = found.pop()
        cut += _cut_torn(path)
        if path.stat().st_size or not found:
            return _walk(number, path, cut)
        path.unlink()  # begun at a rotation, before its first line was durable
        sync_folder(folder)
    return Regained(1, None, (), 1, 0)


def _cut_torn(path: Path) -> int:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
    return len(content) - whole


def _walk(number: int, path: Path, cut: int) -> Regained:
    position: Position | None = None
    checkpoints: list[Head] = []
    first = 1
    for index, line in enumerate(lines_of(path)):
        try:
            entry, position = follow(position, line)
        except AuditError as fault:
            raise AuditError(
                f"line {index + 1} {fault.what}",
                where=str(path),
                next_step="move the folder away for inspection; the next start begins a new log and says so",
                rule="R25",
            ) from fault
        first = entry.sequence if index == 0 else first
        if isinstance(entry.body, Sealed):
            checkpoints.append(position.head)
    return Regained(number, position, tuple(checkpoints), first, cut)
