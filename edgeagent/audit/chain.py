"""What one line of the log is, and what must hold from one line to the next (R25). No files, no keys here.

A line is the canonical JSON of an `Entry` and a line feed; its hash is SHA-256 over both, so that
`sed -n 5p FILE | sha256sum` shows what line 6 must carry in `before`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from edgeagent.audit.checkpoint import TYP, Checkpoint
from edgeagent.audit.events import Entry, Sealed, Started
from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.parse import parse
from edgeagent.errors import AuditError, DocumentError

NO_HASH = "0" * 64
LINE_LIMIT = 16_384
MOST_UNSEALED = 100
"""A unit signs more often, so a longer stretch without a signature was not written by one."""
INSPECT = "keep a copy of the files and find out who could write to them"


@dataclass(frozen=True, slots=True)
class Head:
    """One line by number and hash; with the hash, everything before it is meant too."""

    sequence: int
    sha256: str


NOTHING = Head(0, NO_HASH)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chain has got to.

    Attributes:
        boot: start of the daemon that is writing; empty until it is known.
        checkpoint: the last checkpoint's line, `NOTHING` before the first.
        unsealed: lines after that.
    """

    unit: str
    head: Head
    boot: str
    checkpoint: Head
    unsealed: int


def encode(entry: Entry) -> bytes:
    """The entry as its line."""
    return entry.model_dump_json().encode() + b"\n"


def digest(line: bytes) -> str:
    """SHA-256 of a line with its line feed, hexadecimal."""
    return hashlib.sha256(line).hexdigest()


def decode(line: bytes) -> Entry:
    """The entry of a line that is written exactly as this program writes it.

    Raises:
        AuditError: anything else, down to one space.
    """
    if len(line) > LINE_LIMIT:
        raise AuditError(f"is longer than {LINE_LIMIT} octets", next_step=INSPECT)
    if not line.endswith(b"\n"):
        raise AuditError("is cut short", next_step=INSPECT)
    try:
        entry = parse(Entry, line, "audit log")
    except DocumentError as cause:
        raise AuditError(cause.what, next_step=INSPECT) from cause
    if encode(entry) != line:
        raise AuditError("is not written as a unit writes it", next_step=INSPECT)
    return entry


def read_token(token: str) -> Checkpoint:
    """What a checkpoint's token says; whether its signature holds is not looked at.

    Raises:
        AuditError: malformed, or spelt in a second way that means the same.
    """
    parts = token.split(".")
    try:
        octets = [unbase64url(part) for part in parts]
        if [base64url(part) for part in octets] != parts:
            raise AuditError("has a checkpoint that is spelt in another way", next_step=INSPECT)
        return parse(Checkpoint, octets[1], TYP)
    except DocumentError as cause:
        raise AuditError(f"has a checkpoint that {cause.what}", next_step=INSPECT) from cause


def follow(position: Position | None, line: bytes) -> tuple[Entry, Position]:
    """The entry of the next line and where the chain is then; `None` before the first line.

    Raises:
        AuditError: the line cannot stand there.
    """
    entry = decode(line)
    if position is None:
        position = _beginning(entry)
    if entry.unit != position.unit:
        raise AuditError(f"is of unit {entry.unit}, those before are of {position.unit}", next_step=INSPECT)
    if entry.sequence != position.head.sequence + 1:
        raise AuditError(
            f"has number {entry.sequence}; {position.head.sequence + 1} must follow", next_step=INSPECT
        )
    if entry.before != position.head.sha256:
        what = "does not carry the hash of the line before: one of the two was altered"
        raise AuditError(what, next_step=INSPECT)
    head = Head(entry.sequence, digest(line))
    if isinstance(entry.body, Sealed):
        boot = _sealed(entry, entry.body, position)
        return entry, Position(entry.unit, head, boot, checkpoint=head, unsealed=0)
    if position.unsealed >= MOST_UNSEALED:
        raise AuditError(f"is more than {MOST_UNSEALED} lines after a checkpoint", next_step=INSPECT)
    boot = entry.body.boot if isinstance(entry.body, Started) else position.boot
    return entry, replace(position, head=head, boot=boot, unsealed=position.unsealed + 1)


def _beginning(entry: Entry) -> Position:
    """Where a chain must have been before its first line: nowhere, or at what a checkpoint vouches for."""
    if entry.sequence == 1 and isinstance(entry.body, Started):
        return Position(entry.unit, NOTHING, "", NOTHING, 0)
    if isinstance(entry.body, Sealed):
        said = read_token(entry.body.token)
        before = Head(entry.sequence - 1, entry.before)
        # Which line the checkpoint before this one stands in is not known here; only its hash matters.
        return Position(entry.unit, before, said.boot, Head(0, said.previous), 0)
    raise AuditError("is neither a log's first line nor a checkpoint: lines before it are missing")


def _sealed(entry: Entry, body: Sealed, position: Position) -> str:
    """The boot that a checkpoint is of, if it vouches for exactly the lines before it and stands there."""
    said = read_token(body.token)
    expected = {
        "unit": position.unit,
        "boot": position.boot,
        "sequence": position.head.sequence,
        "sha256": position.head.sha256,
        "previous": position.checkpoint.sha256,
        "at": entry.at,
        "clock_trusted": entry.clock_trusted,
        "monotonic_ns": entry.monotonic_ns,
    }
    for name, value in expected.items():
        if getattr(said, name) != value:
            raise AuditError(
                f"is a checkpoint for other lines than those before it ({name})", next_step=INSPECT
            )
    return said.boot
