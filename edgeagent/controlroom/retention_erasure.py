"""Destroying an alert key, and the desk's log of it (R3, R25).

The order survives a kill at any point, and a full disk: room for the line is taken in the log; the file is
renamed, so that no program takes it for a key; it is overwritten; that is logged; it is removed. Whoever runs
next finishes what was begun, so at worst an erasure is logged twice, and never is one logged that did not
happen.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from edgeagent.audit.chain import LINE_LIMIT, NO_HASH, decode, digest, encode
from edgeagent.audit.events import Entry, Erased
from edgeagent.errors import AuditError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.files import destroy, sync_folder

_BEGUN = re.compile(r"\..+\.erasing\.([A-Za-z0-9][A-Za-z0-9._-]{2,63})")
_OPEN_END = b" "
"""Stands for the end of a line that does not count yet."""
_BEGIN = b'{"unit":'
"""Of every line; what begins otherwise is no half-written line of this log, and is not cut off."""
What = Literal["alert_key", "received_alerts"]


class ErasureLog:
    """The desk's log of erasures: lines as in a unit's log, each with the hash of the one before.

    It is not signed, since a desk's key signs no checkpoints: it shows alterations to whoever kept the hash
    of a line, and proves nothing against somebody who writes the whole file anew.
    """

    def __init__(self, path: Path, desk: str) -> None:
        """Open it, made if need be, and check it; nobody else may write meanwhile.

        Raises:
            AuditError: R25, it was altered.
            OSError: it cannot be used.
        """
        self._path = path
        self._desk = desk
        self._reserved = b""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._sequence, self._before, self._size = self._check()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._reserved:
                os.ftruncate(self._descriptor, self._size)
        finally:
            os.close(self._descriptor)

    def _check(self) -> tuple[int, str, int]:
        sequence, before, size = 0, NO_HASH, 0
        with self._path.open("rb") as file:
            while line := file.readline(LINE_LIMIT + 1):
                if not line.endswith(b"\n") and line[: len(_BEGIN)] == _BEGIN[: len(line)]:
                    os.ftruncate(self._descriptor, size)  # half written when the power went
                    break
                entry = self._line(line, sequence)
                if (entry.sequence, entry.before) != (sequence + 1, before):
                    raise self._altered(sequence + 1, "does not follow the line before")
                sequence, before, size = sequence + 1, digest(line), size + len(line)
        return sequence, before, size

    def _line(self, line: bytes, sequence: int) -> Entry:
        try:
            return decode(line)
        except AuditError as fault:
            raise self._altered(sequence + 1, fault.what) from fault

    def _altered(self, line: int, what: str) -> AuditError:
        return AuditError(
            f"line {line} {what}",
            where=str(self._path),
            next_step="move it away for inspection; nothing is erased without a log",
            rule="R25",
        )

    def reserve(self, what: What, deployment: str, now: Instant) -> None:
        """Take the room for one erasure, on the disk on return; it counts from `commit` on.

        Raises:
            AuditError: R25, there is no room; nothing may be erased.
        """
        line = encode(
            Entry(
                unit=self._desk,
                sequence=self._sequence + 1,
                at=now.wall,
                clock_trusted=now.synchronised,
                monotonic_ns=now.monotonic_ns,
                before=self._before,
                body=Erased(what=what, deployment=deployment, why="R3"),
            )
        )
        self._reserved = line
        try:
            os.ftruncate(self._descriptor, self._size)  # what was reserved before, and did not happen
            self._put(line[:-1] + _OPEN_END, self._size)
            sync_folder(self._path.parent)
        except OSError as cause:
            raise AuditError(
                f"has no room for a line: {cause.strerror}",
                where=str(self._path),
                next_step="make room on the disk and run it again; this was not erased",
                rule="R25",
            ) from cause

    def commit(self) -> None:
        """The reserved erasure has happened; durable on return. One octet in its place needs no more room.

        Raises:
            OSError: it could not be written.
        """
        line = self._reserved
        self._put(line[-1:], self._size + len(line) - 1)
        self._sequence, self._before, self._size = self._sequence + 1, digest(line), self._size + len(line)
        self._reserved = b""

    def _put(self, octets: bytes, at: int) -> None:
        """All of them, or an error; a write that the disk cuts short is gone on with."""
        while octets:
            written = os.pwrite(self._descriptor, octets, at)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            octets, at = octets[written:], at + written
        os.fsync(self._descriptor)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases and logs; `step` is called after each durable step, so that a test can stop there."""

    log: ErasureLog
    step: Callable[[str], None] = lambda _: None

    def key(self, path: Path, deployment: str, now: Instant) -> None:
        """Destroy one file with a private alert key; one that is gone meanwhile is another's work.

        Raises:
            AuditError: R25, there is no room to log it; the key is as it was.
            OSError: it cannot be overwritten or removed.
        """
        self.log.reserve("alert_key", deployment, now)
        begun = path.with_name(f".{path.name}.erasing.{deployment}")
        try:
            path.rename(begun)
        except FileNotFoundError:
            return
        sync_folder(path.parent)
        self.step("renamed")
        self._finish(begun)

    def _finish(self, begun: Path) -> None:
        with begun.open("r+b") as file:
            file.write(bytes(begun.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        self.step("overwritten")
        self.log.commit()
        self.step("logged")
        destroy(begun)

    def finish_begun(self, folders: Iterable[Path], now: Instant) -> list[str]:
        """Finish what an earlier run began; the deployments concerned."""
        found = list(begun_in(folders))
        for path, deployment in found:
            self.log.reserve("alert_key", deployment, now)
            self._finish(path)
        return [deployment for _, deployment in found]


def begun_in(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files whose erasure was begun and not finished, and their deployments."""
    for folder in folders:
        for path in sorted(folder.rglob(".*.erasing.*")):
            match = _BEGUN.fullmatch(path.name)
            if match and path.is_file() and not path.is_symlink():
                yield path, match[1]
