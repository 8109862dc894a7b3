"""The unit's half of the lease protocol: making challenges, taking answers (R16)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from edgeagent.documents.jws import base64url
from edgeagent.safeguards.authority import Grant
from edgeagent.safeguards.gate import ClockConfirmed, ClockContradicted, Event, LeaseAccepted
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import Challenge, Lease, accept_lease, clock_agrees

OUTSTANDING = 4
CHALLENGE_OCTETS = 16


@dataclass(slots=True)
class LeaseDesk:
    """Challenges of this boot that may still be answered, newest last."""

    unit: str
    outstanding: tuple[Challenge, ...] = ()
    last_sequence: int = 0
    taken: int = 0
    """Leases accepted in this boot."""

    def challenge(self, now: Instant) -> Challenge:
        """A fresh challenge; the oldest is forgotten."""
        made = Challenge(base64url(secrets.token_bytes(CHALLENGE_OCTETS)), now.monotonic_ns)
        self.outstanding = (*self.outstanding, made)[-OUTSTANDING:]
        return made

    def take(self, lease: Lease, grant: Grant, now: Instant) -> tuple[Event, ...]:
        """The gate's events that a verified lease amounts to; its challenge is used up.

        Raises:
            SafeguardError: R16, the lease is refused.
        """
        held = accept_lease(
            lease,
            grant=grant,
            unit=self.unit,
            outstanding=self.outstanding,
            last_sequence=self.last_sequence,
            now=now,
        )
        challenge = next(c for c in self.outstanding if c.text == lease.challenge)
        self.outstanding = tuple(c for c in self.outstanding if c is not challenge)
        self.last_sequence = max(self.last_sequence, held.sequence)
        if not clock_agrees(lease, challenge, grant, now):
            return (ClockContradicted(),)
        self.taken += 1
        return (ClockConfirmed(), LeaseAccepted(held))

    def forget(self) -> None:
        """No challenge may be answered any more."""
        self.outstanding = ()
