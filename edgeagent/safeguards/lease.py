"""Officers on the ground: the short, signed lease without which the camera stays closed (R16).

A lease answers a *challenge*: a random number that the unit published a moment ago and whose time it knows
by its monotonic clock. The control room can only have signed the answer after that moment, so

    deadline = moment of the challenge + length of the lease

holds whatever the wall clock, the network or the broker do: a lease that was kept back, replayed, or made
for another boot of the unit cannot open the camera. What this does not protect against: a control room that
signs leases although no officers are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import DeploymentId, Grant, UnitName
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.profile import StrictModel


class Lease(StrictModel):
    """What a lease says.

    Attributes:
        challenge: the unit's random number that this answers.
        sequence: rises within one holder's watch.
        issued_at: the control room's time, which the unit compares with its own.
        duration_s: 0 releases the camera at once.
        officers: engaging officers on the ground; 0 officers is not a lease.
    """

    unit: UnitName
    deployment: DeploymentId
    challenge: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]
    sequence: Annotated[int, Field(ge=1, le=2**53)]
    issued_at: AwareDatetime
    duration_s: Annotated[float, Field(ge=0)]
    officers: Annotated[int, Field(ge=1, le=1000)]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that the unit made: its text and the monotonic time just before it was made."""

    text: str
    made_ns: int


@dataclass(frozen=True, slots=True)
class HeldLease:
    """An accepted lease: LIVE is possible until `until_ns` on the monotonic clock."""

    sequence: int
    until_ns: int
    officers: int


def accept_lease(
    lease: Lease,
    *,
    grant: Grant,
    unit: str,
    outstanding: tuple[Challenge, ...],
    last_sequence: int,
    now: Instant,
) -> HeldLease:
    """The lease as the gate may hold it.

    Args:
        lease: its signature and the signer's role were verified before.
        grant: of the authority in force.
        unit: this unit's name.
        outstanding: challenges made in this boot and not answered yet.
        last_sequence: highest sequence accepted in this boot, 0 at first.
        now: one reading of the clocks.

    Raises:
        SafeguardError: R16, saying which check failed.
    """
    challenge = next((c for c in outstanding if c.text == lease.challenge), None)
    if lease.unit != unit:
        raise _refuse(f"is for {lease.unit}, not for this unit")
    if lease.deployment != grant.deployment:
        raise _refuse(f"is for deployment {lease.deployment}, not {grant.deployment}")
    if challenge is None:
        raise _refuse("answers no outstanding challenge of this boot: late, replayed or made for another")
    if lease.sequence <= last_sequence and lease.duration_s > 0:  # a release is always welcome
        raise _refuse(f"has sequence {lease.sequence}, not above {last_sequence}")
    if lease.duration_s > grant.lease_max_s:
        raise _refuse(f"lasts {lease.duration_s:g} s, above the {grant.lease_max_s:g} s allowed")
    until_ns = challenge.made_ns + int(lease.duration_s * SECOND)
    if lease.duration_s > 0 and until_ns <= now.monotonic_ns:
        raise _refuse("had lapsed when it arrived")
    return HeldLease(lease.sequence, until_ns, lease.officers)


def clock_agrees(lease: Lease, challenge: Challenge, grant: Grant, now: Instant) -> bool:
    """Whether the unit's wall clock agrees with the control room's signed time.

    The lease was signed between the challenge and now, so the unit's clock must put it there too,
    give or take the profile's skew.
    """
    now_s = now.epoch_s
    made_s = now_s - (now.monotonic_ns - challenge.made_ns) / SECOND
    return made_s - grant.clock_skew_s <= lease.issued_at.timestamp() <= now_s + grant.clock_skew_s


def _refuse(what: str) -> SafeguardError:
    return SafeguardError(
        what, where="lease", next_step="check that the control room holds a lease for this unit", rule="R16"
    )
