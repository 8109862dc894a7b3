"""The gate: the one place that decides whether the camera may be open.

The state is not stored but *derived* from facts by `resolve`, and the actions are derived from the change of
state by `actions_between`; an event can only add or remove facts. So there is no transition to forget:

    LOCKED   no authority in force, a rule broken, or a clock that nobody vouches for
    STANDBY  authority in force, but no officers on the ground, or too many false alerts: camera device closed
    LIVE     authority in force *and* lease held: camera open
    CLOSED   deployment over or revoked: keys destroyed; nothing leads out of it

Protects against: capture without authority, before or after it, without officers, after a revocation, under
a clock that was set by hand, while too many alerts are false. Does not protect against: somebody who replaces
this program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from edgeagent.safeguards.authority import Grant
from edgeagent.safeguards.instant import SECOND, Instant, stepped
from edgeagent.safeguards.lease import HeldLease


class State(StrEnum):
    """Where the gate stands."""

    LOCKED = "LOCKED"
    STANDBY = "STANDBY"
    LIVE = "LIVE"
    CLOSED = "CLOSED"


class Action(StrEnum):
    """What the daemon must do because the state changed, in this order."""

    CLOSE_CAMERA = "close_camera"
    WIPE_BUFFERS = "wipe_buffers"
    DESTROY_KEYS = "destroy_keys"
    OPEN_CAMERA = "open_camera"
    PUBLISH_STATE = "publish_state"


@dataclass(frozen=True, slots=True)
class Why:
    """The rule and the plain reason for which the gate is where it is."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class AuthorityAccepted:
    """A signed authority was verified and allows this."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class LeaseAccepted:
    """A signed lease was verified against an outstanding challenge."""

    lease: HeldLease


@dataclass(frozen=True, slots=True)
class ClockConfirmed:
    """The control room's signed time agrees with the wall clock."""


@dataclass(frozen=True, slots=True)
class ClockContradicted:
    """The control room's signed time disagrees with the wall clock."""


@dataclass(frozen=True, slots=True)
class RuleBroken:
    """A safeguard was found broken; the gate stays locked until the daemon is started anew."""

    why: Why


@dataclass(frozen=True, slots=True)
class Revoked:
    """A signed revocation, or the deployment was ended here."""

    why: Why


@dataclass(frozen=True, slots=True)
class MatchingSuspended:
    """False alerts are too frequent; no restart, lease or authority undoes it (R17)."""

    why: Why


@dataclass(frozen=True, slots=True)
class MatchingReviewed:
    """A signed review of the suspension was accepted (R17)."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    AuthorityAccepted
    | LeaseAccepted
    | ClockConfirmed
    | ClockContradicted
    | RuleBroken
    | Revoked
    | MatchingSuspended
    | MatchingReviewed
    | Tick
)


@dataclass(frozen=True, slots=True)
class Gate:
    """The facts and the state that follows from them. Start with `Gate.locked(now)`.

    Attributes:
        suspended: why matching is, until a signed review (R17).
        ended: why the deployment is over, once it is.
        clock_confirmed: the control room's signed time vouched for the wall clock, and no step since.
        end_ns: the authority's end on the monotonic clock, fixed at the first trusted look at the wall clock,
            should the wall clock be set back later.
    """

    state: State
    why: Why
    seen: Instant
    grant: Grant | None = None
    end_ns: int | None = None
    lease: HeldLease | None = None
    broken: Why | None = None
    suspended: Why | None = None
    ended: Why | None = None
    clock_confirmed: bool = False

    @staticmethod
    def locked(now: Instant) -> Gate:
        """The gate of a daemon that has just started: no facts survive a restart."""
        return Gate(State.LOCKED, Why("R12", "no authority"), seen=now)


def step(gate: Gate, event: Event, now: Instant) -> tuple[Gate, tuple[Action, ...]]:
    """The gate after an event, and what must be done. Total: every event is legal in every state."""
    facts = _watch_end(_take(_watch_clock(gate, now), event), now)
    state, why = resolve(facts, now)
    if state is not State.LIVE:
        facts = replace(facts, lease=None)  # R16: a lease is never kept for later
    if state is State.CLOSED and facts.ended is None:
        facts = replace(facts, ended=why)
    after = replace(facts, state=state, why=why, seen=now)
    return after, actions_between(gate, after)


def _watch_clock(gate: Gate, now: Instant) -> Gate:
    """Forget whoever vouched for the clock, and the lease, if the wall clock was stepped (R16)."""
    if gate.grant is not None and stepped(gate.seen, now, gate.grant.clock_step_s):
        return replace(gate, clock_confirmed=False, lease=None)
    return gate


def _clock_trusted(facts: Gate, now: Instant) -> bool:
    return now.synchronised or facts.clock_confirmed


def _watch_end(facts: Gate, now: Instant) -> Gate:
    """Fix the authority's end on the monotonic clock; later looks may bring it nearer, never put it off."""
    if facts.grant is None or not _clock_trusted(facts, now):
        return facts
    left_ns = int((facts.grant.end - now.wall) / timedelta(microseconds=1)) * 1000
    end_ns = now.monotonic_ns + left_ns
    return replace(facts, end_ns=end_ns if facts.end_ns is None else min(end_ns, facts.end_ns))


def _take(gate: Gate, event: Event) -> Gate:
    match event:
        case AuthorityAccepted(grant) if gate.grant is None and gate.ended is None:
            return replace(gate, grant=grant)
        case LeaseAccepted(lease) if gate.state in (State.STANDBY, State.LIVE):
            return replace(gate, lease=lease)
        case ClockConfirmed() if gate.grant is not None:  # steps are watched from the grant on
            return replace(gate, clock_confirmed=True)
        case ClockContradicted():
            return replace(gate, clock_confirmed=False, lease=None)
        case RuleBroken(why):
            return replace(gate, broken=gate.broken or why)
        case Revoked(why):
            return replace(gate, ended=gate.ended or why)
        case MatchingSuspended(why):
            return replace(gate, suspended=gate.suspended or why)
        case MatchingReviewed():
            return replace(gate, suspended=None)
        case _:
            return gate


def resolve(facts: Gate, now: Instant) -> tuple[State, Why]:
    """The state that the facts allow at this instant; each line is one rule."""
    grant, lease = facts.grant, facts.lease
    if facts.ended is not None:
        return State.CLOSED, facts.ended
    if facts.end_ns is not None and now.monotonic_ns >= facts.end_ns:  # R6: also when a rule was broken
        return State.CLOSED, Why("R14", "the authority has ended")
    if facts.broken is not None:
        return State.LOCKED, facts.broken
    if grant is None:
        return State.LOCKED, Why("R12", "no authority")
    if not _clock_trusted(facts, now):
        return State.LOCKED, Why("R16", "nobody vouches for the clock")
    if now.wall < grant.start:
        return State.LOCKED, Why("R12", "the authority has not started")
    if facts.suspended is not None:
        return State.STANDBY, facts.suspended
    if lease is None or now.monotonic_ns >= lease.until_ns:
        return State.STANDBY, Why("R16", "no lease: no officers on the ground")
    if lease.until_ns > now.monotonic_ns + int(grant.lease_max_s * SECOND):
        return State.STANDBY, Why("R16", "the lease is longer than allowed")
    return State.LIVE, Why("R16", "lease held")


def actions_between(before: Gate, after: Gate) -> tuple[Action, ...]:
    """What a change of state obliges to; derived, so that no path can leave one out."""
    if before.state is after.state:
        return () if before.why == after.why else (Action.PUBLISH_STATE,)
    actions: list[Action] = []
    if after.state is not State.LIVE:
        actions += [Action.CLOSE_CAMERA, Action.WIPE_BUFFERS]  # R1, R16
    if after.state is State.CLOSED:
        actions.append(Action.DESTROY_KEYS)  # R6, R27
    if after.state is State.LIVE:
        actions.append(Action.OPEN_CAMERA)
    return (*actions, Action.PUBLISH_STATE)
