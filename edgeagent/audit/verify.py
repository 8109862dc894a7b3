"""Verifying a log on any machine, without the unit: every line, every hash, every signature, in order.

Protects against: lines altered, dropped, added, doubled, exchanged; files dropped or exchanged; all hashes
computed anew by somebody without the unit's key; a log cut back to an earlier line, where a later one was
published. Does not protect against: somebody with the unit's key, nor, without a published line, against a
log cut back exactly to an earlier one; and lines after the last checkpoint are vouched for by nobody yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.audit.chain import LINE_LIMIT, Head, Position, follow
from edgeagent.audit.events import Entry, LogLost, LogRemoved, Repaired, Sealed, Started
from edgeagent.audit.segments import lines_of
from edgeagent.documents.messages import UnitState
from edgeagent.documents.table import CHECKPOINT, STATE, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import AuditError, DocumentError
from edgeagent.safeguards.instant import Instant

# Whoever could forge a line could also date it, so the time between which a key counts protects nothing
# here, and a log must stay verifiable for years. A key that was lost is revoked, and then it never counts.
_SEAL = replace(CHECKPOINT, timeless=True)
_STATE = replace(STATE, timeless=True)
_ANY_TIME = Instant(0, datetime(1970, 1, 1, tzinfo=UTC), synchronised=False)

TakeEntry = Callable[[Entry], None]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Published:
    """A line of which somebody outside the unit knows; `source` says who, for the verdict."""

    head: Head
    source: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong: the line is counted from 1, 0 if it is about no one line."""

    file: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a log.

    Attributes:
        entries: lines that are good; with a fault, those before it.
        first, last: their numbers; 0 when there are none.
        began, ended: their times, by the unit's clock.
        starts: of the daemon.
        checkpoints: how many.
        sealed: number of the line up to which the unit's signature vouches, 0 for none.
        signed: the signatures were checked; without a trust store anybody can have made the log.
        fault: None if nothing is wrong.
        notes: what a reader should know besides.
    """

    unit: str
    entries: int
    first: int
    last: int
    began: datetime | None
    ended: datetime | None
    starts: int
    checkpoints: int
    sealed: int
    signed: bool
    fault: Fault | None
    notes: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the log is complete, as far as can be known, unaltered and signed."""
        return self.fault is None and self.signed


def published_line(message: bytes, trust: TrustStore, source: str) -> tuple[str, Published]:
    """Unit and line that a unit's signed state names.

    Raises:
        DocumentError: the state is not genuine.
    """
    verified = verify(_STATE, message, trust, _ANY_TIME)
    state: UnitState = verified.body
    if verified.signers[0].name != state.unit:
        raise DocumentError(
            "is not of the unit that signed it", where=source, next_step="find out who sent it"
        )
    return state.unit, Published(Head(state.audit_sequence, state.audit_sha256), source)


def verify_log(
    files: Sequence[Path],
    trust: TrustStore | None,
    published: Sequence[Published] = (),
    *,
    unit: str | None = None,
    take: TakeEntry = lambda _: None,
    progress: Progress = lambda _: None,
) -> Verdict:
    """Verify the files of one log, oldest first.

    Args:
        trust: whose signatures count; None leaves them unchecked, and the verdict is then never good.
        published: lines that must be in the log.
        unit: whose log it must be, if that is known.
        take: is given every good entry, in order.
        progress: is given the octets of each line read.

    Raises:
        OSError: a file cannot be read.
    """
    walk = _Walk(trust, published, unit, take, progress)
    for file in files:
        fault = walk.through(file, last=file is files[-1])
        if fault is not None:
            return walk.verdict(fault)
    return walk.verdict(walk.missing(str(files[-1]) if files else ""))


@dataclass(slots=True)
class _Walk:
    trust: TrustStore | None
    published: Sequence[Published]
    unit: str | None
    take: TakeEntry
    progress: Progress
    position: Position | None = None
    first: Entry | None = None
    newest: Entry | None = None
    entries: int = 0
    starts: int = 0
    checkpoints: int = 0
    removed: Head | None = None
    removed_unsigned: Head | None = None
    lost: Fault | None = None
    notes: list[str] = field(default_factory=list)

    def through(self, file: Path, *, last: bool) -> Fault | None:
        """Go through one file; what is wrong with it."""
        number = 0
        for number, line in enumerate(lines_of(file), start=1):
            if last and not line.endswith(b"\n") and len(line) <= LINE_LIMIT:
                self.notes.append(f"the last line is half written ({len(line)} octets), as by a power cut")
                return None
            try:
                self._line(line, str(file), number)
            except AuditError as fault:
                return Fault(str(file), number, fault.what)
            self.progress(len(line))
        return None if number else Fault(str(file), 0, "is empty")

    def _line(self, line: bytes, file: str, number: int) -> None:
        entry, position = follow(self.position, line)
        if self.unit is not None and entry.unit != self.unit:
            raise AuditError(f"is of unit {entry.unit}, not of {self.unit}")
        self._known(position.head)
        match entry.body:
            case Sealed(token=token):
                self._signed(token, entry.unit)
                self.checkpoints += 1
                self.removed = self.removed_unsigned or self.removed  # only now it is the unit's word
            case Started():
                self._left_unsigned()
                # An honest unit signs a removal at once; what a later start found unsigned is nobody's word.
                self.removed_unsigned = None
                self.starts += 1
            case LogRemoved(sequence=sequence, sha256=sha256):
                self.removed_unsigned = Head(sequence, sha256)
            case LogLost(sequence=sequence):
                why = f"the unit says here that lines of its log, at least up to {sequence}, were lost"
                self.lost = self.lost or Fault(file, number, why)
            case Repaired(cut_octets=octets):
                self.notes.append(f"line {entry.sequence}: a half-written line ({octets} octets) was cut off")
        self.position, self.newest, self.first = position, entry, self.first or entry
        self.entries += 1
        self.take(entry)

    def _left_unsigned(self) -> None:
        """Lines that lay unsigned on the disk while the unit was off: the next start signed them unseen."""
        if self.position is not None and self.position.unsealed:
            last = self.position.head.sequence
            lines = f"lines {last + 1 - self.position.unsealed} to {last}"
            self.notes.append(f"{lines}: the daemon ended before it had signed them; the next start did")

    def _known(self, head: Head) -> None:
        for one in self.published:
            if one.head.sequence == head.sequence and one.head.sha256 != head.sha256:
                raise AuditError(f"is not the line {head.sequence} that was published ({one.source})")

    def _signed(self, token: str, unit: str) -> None:
        if self.trust is None:
            return
        try:
            signer = verify(_SEAL, token.encode(), self.trust, _ANY_TIME).signers[0]
        except DocumentError as refusal:
            raise AuditError(f"has a checkpoint that {refusal.what}") from refusal
        if signer.name != unit:
            raise AuditError(f"has a checkpoint that is signed by {signer.name}, not by {unit}")

    def missing(self, file: str) -> Fault | None:
        """What should be there beside what is there."""
        if self.first is None or self.newest is None:
            return Fault(file, 0, "there is not one whole line")
        for one in self.published:
            if one.head.sequence > self.newest.sequence:
                why = (
                    f"ends at line {self.newest.sequence}, but line {one.head.sequence} was published "
                    f"({one.source}): lines are missing at the end"
                )
                return Fault(file, 0, why)
            if 0 < one.head.sequence < self.first.sequence:
                self.notes.append(f"line {one.head.sequence} ({one.source}) is older than these files")
        return self._missing_before(self.first, file) or self.lost

    def _missing_before(self, first: Entry, file: str) -> Fault | None:
        gone = first.sequence - 1
        if not gone:
            return None
        if self.removed is None or self.removed.sequence < gone:
            return Fault(file, 0, f"lines 1 to {gone} are missing, and the log does not say who removed them")
        if self.removed == Head(gone, self.removed.sha256) and self.removed.sha256 != first.before:
            return Fault(file, 0, f"line {gone} is not the one that the log says was removed")
        self.notes.append(f"lines 1 to {gone} were removed by the unit, being old enough, as the log says")
        return None

    def verdict(self, fault: Fault | None) -> Verdict:
        """What there is to say."""
        position, first, newest = self.position, self.first, self.newest
        return Verdict(
            unit=position.unit if position else "",
            entries=self.entries,
            first=first.sequence if first else 0,
            last=newest.sequence if newest else 0,
            began=first.at if first else None,
            ended=newest.at if newest else None,
            starts=self.starts,
            checkpoints=self.checkpoints,
            sealed=position.checkpoint.sequence if position and self.checkpoints else 0,
            signed=self.trust is not None,
            fault=fault,
            notes=tuple(self.notes),
        )
