"""Revocations at the desk: kept, and repeated to each unit until its signed state shows them (R27).

A broker may lose what it retained, keeps one retained message a topic, and a node of a cluster may not have
it at all. So the broker's memory is only the quick way. A unit that comes back says in its state which
revocations it has carried out; every other one that is for it is sent again, for as long as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edgeagent.alerts.envelope import unwrap
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.desk_file import Again, DeskFile, revocation_message
from edgeagent.controlroom.from_unit import unit_topics
from edgeagent.documents.messages import Presence, Revocation, UnitState
from edgeagent.documents.table import REVOCATION, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.safeguards.instant import SECOND, Instant

ANSWER_AGAIN_NS = 5 * SECOND
LOOK_AGAIN_NS = SECOND
AT_ONCE = 8
"""A state shows that many of them; so more at once could not be acknowledged."""
_SHOWN = ("", True)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS revocations (
    unit TEXT NOT NULL, deployment TEXT NOT NULL, bench INTEGER NOT NULL, issued_at TEXT NOT NULL,
    token TEXT NOT NULL, shown_at TEXT, PRIMARY KEY (unit, deployment, bench)
) WITHOUT ROWID
"""
# A later one counts instead of an earlier, and must be shown anew: the earlier one's key may be revoked now.
_KEEP = """
INSERT INTO revocations (unit, deployment, bench, issued_at, token) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET issued_at = excluded.issued_at, token = excluded.token, shown_at = NULL
WHERE excluded.issued_at > issued_at
"""
_Place = tuple[str, bool]
_Rows = dict[str, tuple[str, bool]]
"""Deployment: token, and whether a state has shown it."""


@dataclass(slots=True)
class Revocations:
    """The file of revocations; several processes may have it open, and learn of each other's in a second."""

    path: Path
    trust: TrustStore
    _kept: dict[_Place, _Rows] = field(default_factory=dict)
    _looked_ns: int | None = None
    _again: Again = field(default_factory=lambda: Again(ANSWER_AGAIN_NS))

    def __enter__(self) -> Self:
        self._file.prepare(_SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()

    @property
    def _file(self) -> DeskFile:
        return DeskFile(self.path)

    def keep(self, token: bytes, *, bench: bool, now: Instant) -> Revocation:
        """Keep a signed revocation for every unit that it names; on the disk when this returns.

        Raises:
            DocumentError: it does not verify.
            OutboxError: the file failed.
        """
        said = verify(REVOCATION, token, self.trust, now).body
        kept = [self._of((unit, bench), now).get(said.deployment, _SHOWN)[0] for unit in said.units]
        if set(kept) == {token.decode()}:  # our own repetition, heard again
            return said
        of_all = (said.deployment, bench, said.issued_at.isoformat(), token.decode())
        self._file.run_each(_KEEP, [(unit, *of_all) for unit in said.units])
        self._looked_ns = None
        return said

    def hear(self, topic: str, message: bytes, now: Instant) -> Revocation:
        """Keep a revocation that somebody else published: whoever sent it may be gone by now.

        Raises:
            DocumentError: no revocation, or not from somebody who may revoke.
            OutboxError: the file failed.
        """
        return self.keep(unwrap(message, "revocation"), bench=unit_topics(topic).bench, now=now)

    def answers(self, state: UnitState, *, bench: bool, now: Instant) -> list[tuple[str, bytes]]:
        """Topics and messages that a unit lacks, by its verified state; what it shows is noted.

        A unit that has shown one and is back in that deployment has lost its memory: it is told again.
        """
        place = (state.unit, bench)
        self._note_shown(place, state, now)
        if state.state is Presence.LOST:
            return []
        topic = Topics(state.unit, bench=bench).revocation
        at_work = None if state.state is Presence.CLOSED else state.deployment
        rows = self._of(place, now).items()
        lacking = [(name, token) for name, (token, shown) in rows if not shown or name == at_work]
        # That of its own deployment first, then the newest: old ones that it refuses must not hold up others.
        lacking.reverse()
        lacking.sort(key=lambda row: row[0] != at_work)
        return [
            (topic, revocation_message(state.unit, deployment, token, now, "control-room"))
            for deployment, token in lacking[:AT_ONCE]
            if self._again.due((place, deployment), now)
        ]

    def missing(self, deployment: str, *, bench: bool, now: Instant) -> list[str]:
        """Units that have not shown that they carried it out."""
        self._refresh(now)
        lacks = [
            u for (u, b), rows in self._kept.items() if b == bench and not rows.get(deployment, _SHOWN)[1]
        ]
        return sorted(lacks)

    def revoked(self, unit: str, deployment: str, *, bench: bool) -> bool:
        """Whether the deployment was revoked on this unit: nobody may give it a lease any more."""
        asked = "SELECT 1 FROM revocations WHERE unit = ? AND deployment = ? AND bench = ?"
        return bool(self._file.run(asked, (unit, deployment, bench)))

    def _note_shown(self, place: _Place, state: UnitState, now: Instant) -> None:
        rows = self._of(place, now)
        for deployment in [name for name in state.revoked if not rows.get(name, _SHOWN)[1]]:
            shown = "UPDATE revocations SET shown_at = ? WHERE unit = ? AND deployment = ? AND bench = ?"
            self._file.run(shown, (now.wall.isoformat(), place[0], deployment, place[1]))
            rows[deployment] = (rows[deployment][0], True)
            self._again.forget((place, deployment))

    def _of(self, place: _Place, now: Instant) -> _Rows:
        """Of one unit, oldest first."""
        self._refresh(now)
        return self._kept.get(place, {})

    def _refresh(self, now: Instant) -> None:
        if self._looked_ns is not None and now.monotonic_ns - self._looked_ns < LOOK_AGAIN_NS:
            return
        asked = (
            "SELECT unit, bench, deployment, token, shown_at FROM revocations ORDER BY issued_at, deployment"
        )
        self._kept = {}
        for unit, bench, deployment, token, shown_at in self._file.run(asked):
            self._kept.setdefault((unit, bool(bench)), {})[deployment] = (token, shown_at is not None)
        self._looked_ns = now.monotonic_ns
