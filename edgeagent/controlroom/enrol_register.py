"""The control room's register of enrolments: an append-only file, and what follows from it.

One line an event, each with the hash of the line before, so that a line that is altered, taken out or moved
is noticed by whoever has a later one. Whoever may write the file can also make it anew: keep copies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.documents.parse import parse
from edgeagent.documents.trust import TrustedKey
from edgeagent.errors import AuditError, DocumentError
from edgeagent.safeguards.authority import Sha256, UnitName
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded, sync_folder

FILE = "enrolments.jsonl"
LIMIT = 64_000_000
NO_HASH = "0" * 64


class Event(StrEnum):
    """What happened; nothing is ever changed afterwards."""

    INVITED = "invited"
    CODE_DIFFERED = "code_differed"
    APPROVING = "approving"
    APPROVED = "approved"
    REFUSED = "refused"


class Because(StrEnum):
    """Why a request was refused; a closed list, so that the register has no room for remarks."""

    CODE_DIFFERS = "code_differs"
    NOT_EXPECTED = "not_expected"
    CARD_LOST = "card_lost"
    MISTAKE = "mistake"


class Line(StrictModel):
    """One event.

    Attributes:
        before: SHA-256 of the line before.
        by: name in the control room's key.
        token_id: of the invitation.
        request: transcript of the request.
        expires_at: of an invitation.
        key: the unit's line for the trust store.
        replacing: it takes the place of a unit of the same name.
    """

    sequence: Annotated[int, Field(ge=1)]
    before: Sha256
    at: AwareDatetime
    by: Annotated[str, Field(min_length=1, max_length=80)]
    event: Event
    unit: UnitName
    token_id: Sha256
    expires_at: AwareDatetime | None = None
    request: Sha256 | None = None
    key: TrustedKey | None = None
    replacing: bool = False
    because: Because | None = None


@dataclass(frozen=True, slots=True)
class Invited:
    """How an invitation stands; `decided` is the line that used it up, or has begun to."""

    line: Line
    decided: Line | None


@dataclass(slots=True)
class Register:
    """The open register, for one command at a time."""

    folder: Path
    lines: list[Line] = field(default_factory=list)
    _head: str = NO_HASH

    def invited(self, unit: str) -> Invited | None:
        """The unit's last invitation: those before it count no more."""
        found = [line for line in self.lines if line.event is Event.INVITED and line.unit == unit]
        return Invited(found[-1], self._decided(found[-1].token_id)) if found else None

    def _decided(self, token_id: str) -> Line | None:
        deciding = (Event.APPROVING, Event.APPROVED, Event.REFUSED)
        found = [line for line in self.lines if line.token_id == token_id and line.event in deciding]
        return found[-1] if found else None

    def enrolled(self, unit: str) -> TrustedKey | None:
        """The key with which the unit was approved last."""
        found = [line.key for line in self.lines if line.event is Event.APPROVED and line.unit == unit]
        return found[-1] if found else None

    def append(self, event: Event, at: datetime, by: str, unit: str, token_id: str, **said: object) -> Line:
        """Write one event so that it survives a power cut before anything follows from it."""
        line = Line.model_validate(
            {
                "sequence": len(self.lines) + 1,
                "before": self._head,
                "at": at,
                "by": by,
                "event": event,
                "unit": unit,
                "token_id": token_id,
                **said,
            }
        )
        content = line.model_dump_json().encode() + b"\n"
        descriptor = os.open(self.folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, content)
            if written != len(content):
                raise AuditError(
                    "could not be written whole", where=str(self.folder / FILE), next_step="free some space"
                )
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.folder)
        self.lines.append(line)
        self._head = hashlib.sha256(content).hexdigest()
        return line

    def load(self) -> None:
        """Read and check every line; half a line at the end, of a power cut, is cut off.

        Raises:
            AuditError: a line cannot stand where it stands.
        """
        path = self.folder / FILE
        if not path.exists() or not path.stat().st_size:
            return
        content = read_bounded(path, LIMIT, AuditError)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.truncate(path, len(whole))
        for raw in whole.splitlines(keepends=True):
            self._follow(raw)

    def _follow(self, raw: bytes) -> None:
        where = f"{self.folder / FILE} line {len(self.lines) + 1}"
        try:
            line = parse(Line, raw, where)
        except DocumentError as cause:
            raise AuditError(cause.what, where=where, next_step=_INSPECT) from cause
        if line.sequence != len(self.lines) + 1 or line.before != self._head:
            what = "does not follow the line before: one of the two was altered"
            raise AuditError(what, where=where, next_step=_INSPECT)
        self.lines.append(line)
        self._head = hashlib.sha256(raw).hexdigest()


_INSPECT = "keep a copy, find out who could write to it, and restore the register from your last copy"


@contextmanager
def open_register(folder: Path) -> Iterator[Register]:
    """The register in this folder, made if there is none; a second command waits for the first.

    Raises:
        AuditError: it was altered.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        register = Register(folder)
        register.load()
        yield register
    finally:
        os.close(descriptor)
