"""The unit's audit log: one line an event, each carrying the hash of the line before, signed now and then.

Durable before `write` returns: everything but tallies and refusals, which become durable with whatever
follows, at the latest at the next checkpoint. Once a write has failed nothing more is written before the
next start: after a failed fsync nobody knows what is on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from edgeagent.audit.chain import MOST_UNSEALED, NOTHING, Head, Position, decode, encode, follow
from edgeagent.audit.checkpoint import Checkpoint
from edgeagent.audit.events import (
    CameraMoved,
    Entry,
    Event,
    LogLost,
    LogRemoved,
    Refused,
    Repaired,
    Sealed,
    Started,
    Stopped,
    Tally,
)
from edgeagent.audit.newest import load_newest, save_newest
from edgeagent.audit.segments import Regained, Segment, lines_of, recover, segment_path, segments
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import CameraState
from edgeagent.documents.table import CHECKPOINT, sign
from edgeagent.errors import AuditError, DocumentError
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.files import sync_folder

FOLDER = "audit"
NEWEST = "audit-newest.json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, and how often it is signed.

    Attributes:
        segment_octets: a file is full when it has so many.
        cap_octets: beyond this the oldest files go, if they are old enough.
        most_octets: beyond this the log is full, and so the camera stays closed.
        keep: no file is removed before its last line is so old.
        seal_lines, seal_s: a checkpoint after so many lines or seconds.
    """

    segment_octets: int = 4 << 20
    cap_octets: int = 256 << 20
    most_octets: int = 1 << 30
    keep: timedelta = timedelta(days=183)
    seal_lines: int = 64
    seal_s: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.seal_lines < MOST_UNSEALED:
            raise ValueError(f"seal_lines must be below {MOST_UNSEALED}")


USUAL = Limits()


class Journal:
    """The log of one unit. One thread; every method raises AuditError when the log cannot be written."""

    def __init__(self, data: Path, identity: Identity, limits: Limits = USUAL) -> None:
        """`data`: the unit's data folder; nothing is read or written before `start`."""
        self._folder = data / FOLDER
        self._newest = data / NEWEST
        self._identity = identity
        self._limits = limits
        self._segment: Segment | None = None
        self._number = 1
        self._position = Position(identity.name, NOTHING, "", NOTHING, 0)
        self._durable = NOTHING
        self._sealed_ns = 0
        self._failed: AuditError | None = None

    @property
    def head(self) -> Head:
        """The newest durable line, which the unit publishes in its signed state."""
        return self._durable

    def start(self, started: Started, now: Instant, *, clock_trusted: bool) -> None:
        """Go on where the last start left off, and sign what there is.

        Raises:
            AuditError: R25, the log was altered, or cannot be read or written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_if_full()
            found = recover(self._folder)
            lost = self._lost(found)
            self._segment = Segment(segment_path(self._folder, found.number))
        except (OSError, AuditError, DocumentError) as cause:
            raise self._fail(cause) from cause
        self._number = found.number
        self._position = found.position or self._position
        self._append(started, now, clock_trusted)
        if found.cut_octets:
            self._append(Repaired(cut_octets=found.cut_octets), now, clock_trusted)
        if lost is not None:
            self._append(LogLost(sequence=lost.sequence, sha256=lost.sha256), now, clock_trusted)
        self.seal(now, clock_trusted=clock_trusted)

    def write(self, event: Event, now: Instant, *, clock_trusted: bool) -> None:
        """Add one event; durable on return unless it is a tally or a refusal.

        Raises:
            AuditError: R25, it could not be written; what it is about must not go on.
        """
        self._append(event, now, clock_trusted)
        if not isinstance(event, Tally | Refused):
            self._sync()
        closed = isinstance(event, CameraMoved) and event.state is CameraState.CLOSED
        if closed or isinstance(event, Stopped) or self._position.unsealed >= self._limits.seal_lines:
            self.seal(now, clock_trusted=clock_trusted)

    def tick(self, now: Instant, *, clock_trusted: bool) -> None:
        """Sign what has not been signed for a while; to be called often.

        Raises:
            AuditError: R25.
        """
        waited_ns = now.monotonic_ns - self._sealed_ns
        if self._position.unsealed and waited_ns >= self._limits.seal_s * SECOND and self._failed is None:
            self.seal(now, clock_trusted=clock_trusted)

    def seal(self, now: Instant, *, clock_trusted: bool) -> None:
        """Sign everything so far.

        Raises:
            AuditError: R25.
        """
        self._add(self._checkpoint(now, clock_trusted), now, clock_trusted)
        self._sync()
        self._sealed_ns = now.monotonic_ns
        try:
            save_newest(self._newest, self._position.head)
        except OSError as cause:
            raise self._fail(cause) from cause

    # --- inside -------------------------------------------------------------------------------------------

    def _append(self, event: Event, now: Instant, clock_trusted: bool) -> None:
        if self._segment is not None and self._segment.size >= self._limits.segment_octets:
            self._rotate(now, clock_trusted)
        self._add(event, now, clock_trusted)

    def _add(self, event: Event, now: Instant, clock_trusted: bool) -> None:
        segment = self._open_segment()
        line = encode(
            Entry(
                unit=self._identity.name,
                sequence=self._position.head.sequence + 1,
                at=now.wall,
                clock_trusted=clock_trusted,
                monotonic_ns=now.monotonic_ns,
                before=self._position.head.sha256,
                body=event,
            )
        )
        try:
            _, position = follow(self._position, line)  # never write what no reader would take
            segment.append(line)
        except (OSError, AuditError) as cause:
            raise self._fail(cause) from cause
        self._position = position

    def _open_segment(self) -> Segment:
        if self._failed is not None:
            raise self._failed
        if self._segment is None:
            raise AuditError("was not started", where=str(self._folder), next_step="report this", rule="R25")
        return self._segment

    def _sync(self) -> None:
        try:
            self._open_segment().sync()
        except OSError as cause:
            raise self._fail(cause) from cause
        self._durable = self._position.head

    def _checkpoint(self, now: Instant, clock_trusted: bool) -> Sealed:
        position = self._position
        said = Checkpoint(
            unit=self._identity.name,
            boot=position.boot,
            sequence=position.head.sequence,
            sha256=position.head.sha256,
            previous=position.checkpoint.sha256,
            at=now.wall,
            clock_trusted=clock_trusted,
            monotonic_ns=now.monotonic_ns,
        )
        return Sealed(token=sign(CHECKPOINT, said, self._identity).decode())

    def _rotate(self, now: Instant, clock_trusted: bool) -> None:
        """Begin another file with a checkpoint, so that it can be verified without those before."""
        self._sync()
        try:
            self._open_segment().close()
            self._segment = Segment(segment_path(self._folder, self._number + 1))
        except OSError as cause:
            raise self._fail(cause) from cause
        self._number += 1
        self.seal(now, clock_trusted=clock_trusted)
        try:
            self._make_room(now, clock_trusted)
        except (OSError, AuditError) as cause:
            raise self._fail(cause) from cause

    def _make_room(self, now: Instant, clock_trusted: bool) -> None:
        """Remove the oldest files beyond the cap, if a trusted clock says that they are old enough."""
        files = [path for _, path in segments(self._folder)]
        total = sum(path.stat().st_size for path in files)
        while total > self._limits.cap_octets and len(files) > 1:
            after = decode(next(lines_of(files[1]), b""))  # a checkpoint, made when the oldest was full
            trusted = clock_trusted and after.clock_trusted
            if not trusted or now.wall - after.at < self._limits.keep:
                break
            total -= files[0].stat().st_size
            # Said and signed first: a file that is gone without a word was taken by somebody else.
            self._add(LogRemoved(sequence=after.sequence - 1, sha256=after.before), now, clock_trusted)
            self.seal(now, clock_trusted=clock_trusted)
            files.pop(0).unlink()
            sync_folder(self._folder)
        self._refuse_if_full()

    def _refuse_if_full(self) -> None:
        if sum(path.stat().st_size for _, path in segments(self._folder)) > self._limits.most_octets:
            raise AuditError(
                "is full", next_step="move its oldest files to the control room, to be verified with the rest"
            )

    def _lost(self, found: Regained) -> Head | None:
        """The newest checkpoint that this unit remembers, if the log no longer has it."""
        newest = load_newest(self._newest)
        if newest is None or newest in found.checkpoints:
            return None
        # A power cut just after a rotation: the line is in the file before, which is full and stays.
        return None if found.position is not None and newest.sequence < found.first else newest

    def _fail(self, cause: Exception) -> AuditError:
        """Nothing is written any more; the first failure is the one that is told."""
        if self._failed is None:
            if isinstance(cause, AuditError | DocumentError):
                what, where, step = cause.what, cause.where, cause.next_step
            else:
                what = f"cannot be written: {getattr(cause, 'strerror', None) or cause}"
                where, step = str(self._folder), "free or replace the disk, then start the unit again"
            self._failed = AuditError(what, where=where or str(self._folder), next_step=step, rule="R25")
        return self._failed
