"""The unit's signed state: what it says of itself, and the will that the broker says for it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from edgeagent.alerts.outbox import OutboxCounts
from edgeagent.alerts.received import signed_message
from edgeagent.audit.chain import Head
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import AlertCounts, CameraState, Faces, Presence, Rate, UnitState
from edgeagent.documents.table import STATE
from edgeagent.safeguards.authority import Authority
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.gate import Gate, Why
from edgeagent.safeguards.instant import Instant

PROBLEM_CHARACTERS = 600
REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Facts:
    """What the daemon knows at the moment of a report."""

    gate: Gate
    authority: Authority | None
    authority_sha256: str | None
    camera: CameraState
    buffers_wiped: bool
    lapse_to_closed_ms: float | None
    frames: int
    faces: FaceLedger
    alerts: OutboxCounts
    rate: Rate | None
    problem: str
    audit: Head
    revoked: tuple[str, ...] = ()


@dataclass(slots=True)
class Reporter:
    """Signs states of one start of the daemon."""

    identity: Identity
    boot: str = field(default_factory=lambda: secrets.token_hex(8))
    birth: int = 0
    _sequence: int = 0

    def state(self, facts: Facts, challenge: str, now: Instant) -> bytes:
        """The state message, with the challenge that a lease may answer (empty: none can)."""
        return self._signed(Presence(facts.gate.state.value), facts, challenge, now)

    def will(self, facts: Facts, now: Instant) -> bytes:
        """What the broker says when the unit goes silent; signed before, so it vouches for nothing.

        The camera's process ends with the daemon, or when the lease lapses; nobody outside can say which.
        """
        why = Why("R16", "the unit went silent; what its camera does is not known until its lease has lapsed")
        unknown = replace(
            facts,
            gate=replace(facts.gate, why=why),
            camera=CameraState.UNKNOWN,
            buffers_wiped=False,
            lapse_to_closed_ms=None,
        )
        return self._signed(Presence.LOST, unknown, "", now)

    def _signed(self, presence: Presence, facts: Facts, challenge: str, now: Instant) -> bytes:
        self._sequence += 1
        authority, faces, alerts = facts.authority, facts.faces, facts.alerts
        state = UnitState(
            unit=self.identity.name,
            boot=self.boot,
            birth=self.birth,
            sequence=self._sequence,
            at=now.wall,
            state=presence,
            rule=facts.gate.why.rule,
            reason=facts.gate.why.text[:REASON_CHARACTERS],
            problem=facts.problem[:PROBLEM_CHARACTERS],
            kind=authority.kind if authority else None,
            deployment=authority.deployment if authority else None,
            authority_sha256=facts.authority_sha256,
            challenge=challenge,
            camera=facts.camera,
            buffers_wiped=facts.buffers_wiped,
            lapse_to_closed_ms=facts.lapse_to_closed_ms,
            frames=facts.frames,
            faces=Faces(
                processed=faces.processed, deleted=faces.deleted, in_live_alerts=faces.in_live_alerts
            ),
            alerts=AlertCounts(
                made=alerts.made,
                pending=alerts.pending,
                received=alerts.received,
                expired=alerts.expired,
                displaced=alerts.displaced,
                discarded=alerts.discarded,
            ),
            audit_sequence=facts.audit.sequence,
            audit_sha256=facts.audit.sha256,
            rate=facts.rate,
            revoked=facts.revoked,
        )
        identifier = f"{self.boot}-{self._sequence}"
        return signed_message(STATE, state, self.identity, identifier, now)
