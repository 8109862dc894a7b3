"""Holding leases: answering each unit's challenge for as long as officers are on the ground (R16).

The holder has no timer of its own for renewals: a unit asks about every two seconds by publishing a new
challenge in its signed state, and the holder answers. When it stops, every camera closes within the lease.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeagent.alerts.received import signed_message
from edgeagent.controlroom.from_unit import from_unit
from edgeagent.controlroom.revocations import Revocations
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import Presence, UnitState
from edgeagent.documents.table import LEASE, STATE
from edgeagent.documents.trust import TrustStore
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import Lease


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be published to a unit, and the state that it answers."""

    topic: str
    message: bytes
    state: UnitState


@dataclass(slots=True)
class LeaseHolder:
    """Answers challenges of the units of one deployment.

    Attributes:
        officers: engaging officers on the ground, as the holder of this watch declares.
        duration_s: length of each lease.
    """

    identity: Identity
    trust: TrustStore
    deployment: str
    officers: int
    duration_s: float
    revocations: Revocations | None = None
    """This desk's; a unit on which the deployment was revoked gets no lease, even before it hears of it."""
    others: dict[str, str] = field(default_factory=dict)
    """Units that ask for a lease of another deployment, and of which."""
    revoked: set[str] = field(default_factory=set)
    """Units that asked for a lease after the revocation."""
    _sequence: int = 0
    _answered: dict[str, str] = field(default_factory=dict)

    def answer(self, topic: str, message: bytes, now: Instant) -> Answer | None:
        """The lease that answers a unit's state; None when it asks for none.

        Raises:
            DocumentError: the state is not a genuine one of the unit whose topic it came on.
        """
        state, topics = from_unit(STATE, topic, message, self.trust, now)
        if state.deployment is not None and state.deployment != self.deployment:
            self.others[state.unit] = state.deployment
        wants = state.challenge and state.deployment == self.deployment and state.state is not Presence.CLOSED
        if not wants or self._answered.get(state.unit) == state.challenge:
            return None
        self._answered[state.unit] = state.challenge
        kept, bench = self.revocations, topics.bench
        if kept is not None and kept.revoked(state.unit, self.deployment, bench=bench):  # R27
            self.revoked.add(state.unit)
            return None
        lease = self._lease(state, now, self.duration_s)
        return Answer(topics.lease, lease, state)

    def _lease(self, state: UnitState, now: Instant, duration_s: float) -> bytes:
        # Sequences start at the watch's own wall clock, so a later watch is above an earlier one.
        self._sequence = max(self._sequence + 1, int(now.epoch_s * 1000))
        lease = Lease(
            unit=state.unit,
            deployment=self.deployment,
            challenge=state.challenge,
            sequence=self._sequence,
            issued_at=now.wall,
            duration_s=duration_s,
            officers=self.officers,
        )
        return signed_message(LEASE, lease, self.identity, f"{state.unit}-{self._sequence}", now)


def read_state(topic: str, message: bytes, trust: TrustStore, now: Instant) -> UnitState:
    """A unit's verified state.

    Raises:
        DocumentError: malformed, not signed by a unit, or on another unit's topic.
    """
    return from_unit(STATE, topic, message, trust, now)[0]
