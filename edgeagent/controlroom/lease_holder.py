"""Holding leases: answering each unit's challenge for as long as officers are on the ground (R16).

The holder has no timer of its own for renewals: a unit asks about every two seconds by publishing a new
challenge in its signed state, and the holder answers. When it stops, every camera closes within the lease.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeagent.alerts.envelope import OVERHEAD, unwrap, wrap
from edgeagent.alerts.topics import Topics, split_topic
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import Presence, UnitState
from edgeagent.documents.table import LEASE, STATE, sign, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import ConfigError, DocumentError
from edgeagent.safeguards.authority import Kind
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
    others: dict[str, str] = field(default_factory=dict)
    """Units that ask for a lease of another deployment, and of which."""
    _sequence: int = 0
    _answered: dict[str, str] = field(default_factory=dict)

    def answer(self, topic: str, message: bytes, now: Instant) -> Answer | None:
        """The lease that answers a unit's state; None when it asks for none.

        Raises:
            DocumentError: the state is not a genuine one of the unit whose topic it came on.
        """
        state = read_state(topic, message, self.trust, now)
        if state.deployment is not None and state.deployment != self.deployment:
            self.others[state.unit] = state.deployment
        wants = state.challenge and state.deployment == self.deployment and state.state is not Presence.CLOSED
        if not wants or self._answered.get(state.unit) == state.challenge:
            return None
        self._answered[state.unit] = state.challenge
        lease = self._lease(state, now, self.duration_s)
        return Answer(unit_topics(topic).lease, lease, state)

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
        token = sign(LEASE, lease, self.identity)
        identifier = f"{state.unit}-{self._sequence}"
        return wrap("lease", token, identifier=identifier, source=self.identity.name, time=now.wall)


def unit_topics(topic: str) -> Topics:
    """The topics of the unit on whose topic a message came.

    Raises:
        DocumentError: not a unit's topic; whoever may publish could send one, so it must not end a watch.
    """
    try:
        return split_topic(topic)[0]
    except ConfigError as cause:
        raise DocumentError("came on no unit's topic", where="topic", next_step=cause.next_step) from cause


def read_state(topic: str, message: bytes, trust: TrustStore, now: Instant) -> UnitState:
    """A unit's verified state.

    Raises:
        DocumentError: malformed, not signed by a unit, or on another unit's topic.
    """
    if len(message) > STATE.limit + OVERHEAD:
        raise DocumentError("is too long", where="state", next_step="find out who sent it")
    verified = verify(STATE, unwrap(message, "state"), trust, now)
    state = verified.body
    topics = unit_topics(topic)
    if not state.unit == topics.unit == verified.signers[0].name:
        raise DocumentError(
            "is not of the unit on whose topic it came", where="state", next_step="find out why"
        )
    if state.kind is not None and topics.bench != (state.kind is Kind.BENCH):  # R33
        raise DocumentError(
            "a bench's state on a live topic, or the reverse", where="state", next_step="drop it"
        )
    return state
