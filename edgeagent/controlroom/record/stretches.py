"""A unit's log taken apart: what belongs to which deployment, and in which start of the daemon.

Within one start a monotonic clock orders and measures; over a restart only the wall clock can. Counts start
anew with each start, and go on when one deployment follows another in the same start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from edgeagent.audit.events import (
    CameraMoved,
    DeploymentLoaded,
    Entry,
    GateMoved,
    Refused,
    Sealed,
    Started,
    Stopped,
    Tally,
)
from edgeagent.documents.messages import CameraState
from edgeagent.safeguards.gate import State


@dataclass(frozen=True, slots=True)
class UnitLog:
    """One unit's log as it was read.

    Attributes:
        verified: it is whole and genuine.
        verdict: the same in words.
    """

    unit: str
    entries: tuple[Entry, ...]
    verified: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The log stops without a word: the unit lost power, or the log its end.

    Attributes:
        back: when the daemon started again; None if the log ends here.
    """

    unit: str
    last_word: datetime
    back: datetime | None
    camera_was_open: bool


@dataclass(slots=True)
class Stretch:
    """One deployment within one start of the daemon on one unit.

    Attributes:
        version: of the program; empty if the log does not begin with a start.
        entries: from `DeploymentLoaded` on.
        before: the last tally of this start before it, to be subtracted.
        refused: documents refused since the deployment before, until this one was loaded.
        cut: how the stretch broke off, if it did.
    """

    unit: str
    version: str
    loaded: DeploymentLoaded
    before: Tally | None
    refused: tuple[Refused, ...]
    entries: list[Entry] = field(default_factory=list)
    cut: Cut | None = None

    def last(self, kind: type[CameraMoved] | type[GateMoved] | type[Tally]) -> Entry | None:
        """The last entry of a kind."""
        return next((entry for entry in reversed(self.entries) if isinstance(entry.body, kind)), None)

    @property
    def closed(self) -> bool:
        """The deployment is over on this unit, so that what comes after is none of its business."""
        entry = self.last(GateMoved)
        return entry is not None and isinstance(entry.body, GateMoved) and entry.body.after is State.CLOSED

    @property
    def camera_open(self) -> bool:
        """The last word on the camera."""
        entry = self.last(CameraMoved)
        return (
            entry is not None and isinstance(entry.body, CameraMoved) and entry.body.state is CameraState.OPEN
        )


def stretches(log: UnitLog) -> list[Stretch]:
    """Every deployment of a log, in order; a deployment that was loaded twice has several."""
    return list(_Splitter(log.unit).split(log.entries))


@dataclass(slots=True)
class _Splitter:
    unit: str
    version: str = ""
    tally: Tally | None = None
    refused: list[Refused] = field(default_factory=list)
    current: Stretch | None = None

    def split(self, entries: tuple[Entry, ...]) -> Iterator[Stretch]:
        last: Entry | None = None
        for entry in entries:
            body = entry.body
            if isinstance(body, Started):
                yield from self._end(last, entry.at)
                self.version, self.tally = body.version, None
            elif isinstance(body, DeploymentLoaded):
                yield from self._end(None, None)
                self.current = Stretch(self.unit, self.version, body, self.tally, tuple(self.refused))
                self.refused.clear()
            self._add(entry)
            # A checkpoint follows a stop, and vouches for it rather than contradicting it.
            last = last if last is not None and isinstance(entry.body, Sealed) else entry
        yield from self._end(last, None)

    def _add(self, entry: Entry) -> None:
        if isinstance(entry.body, Tally):
            self.tally = entry.body
        if self.current is not None:
            self.current.entries.append(entry)
        elif isinstance(entry.body, Refused):
            self.refused.append(entry.body)

    def _end(self, last: Entry | None, back: datetime | None) -> Iterator[Stretch]:
        """End the stretch; `last` is the entry before a start or the log's end, None if the start goes on."""
        stretch, self.current = self.current, None
        if stretch is None:
            return
        if last is not None and not isinstance(last.body, Stopped) and not stretch.closed:
            stretch.cut = Cut(self.unit, last.at, back, stretch.camera_open)
        yield stretch
