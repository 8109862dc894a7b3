"""A second, slower statement of the gate's rules, over the whole history of events, to judge the first by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from edgeagent.safeguards.authority import Grant
from edgeagent.safeguards.gate import (
    Action,
    AuthorityAccepted,
    ClockConfirmed,
    ClockContradicted,
    Event,
    Gate,
    LeaseAccepted,
    MatchingReviewed,
    MatchingSuspended,
    Revoked,
    RuleBroken,
    State,
    step,
)
from edgeagent.safeguards.instant import SECOND, Instant


@dataclass
class History:
    """Everything that was fed to a gate, and what it answered."""

    gate: Gate
    fed: list[tuple[Event, Instant]] = field(default_factory=list)
    camera_open: bool = False
    closed: bool = False
    destroyed: int = 0

    def feed(self, event: Event, now: Instant) -> None:
        """One step, and every invariant after it."""
        before = self.gate
        self.gate, actions = step(before, event, now)
        self.fed.append((event, now))
        self._check_actions(before, actions)
        if self.gate.state is State.LIVE:
            self.check_live(now)
        else:
            assert self.gate.lease is None, "a lease was kept for later"

    def _check_actions(self, before: Gate, actions: tuple[Action, ...]) -> None:
        state = self.gate.state
        if before.state is State.LIVE and state is not State.LIVE:
            assert actions[:2] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS)
        if before.state is not State.CLOSED and state is State.CLOSED:
            assert actions[:3] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS, Action.DESTROY_KEYS)
        assert (Action.OPEN_CAMERA in actions) == (state is State.LIVE and before.state is not State.LIVE)
        assert (Action.PUBLISH_STATE in actions) == ((before.state, before.why) != (state, self.gate.why))
        assert len(set(actions)) == len(actions)
        for action in actions:
            self.camera_open = self._camera_after(action)
        self.destroyed += Action.DESTROY_KEYS in actions
        assert self.camera_open == (state is State.LIVE), "the camera is open exactly while LIVE"
        assert not (self.closed and state is not State.CLOSED), "nothing leads out of CLOSED"
        self.closed = state is State.CLOSED
        assert self.destroyed == self.closed, "keys are destroyed once, on closing"
        assert self.gate.why.rule.startswith("R")
        assert self.gate.why.text

    def _camera_after(self, action: Action) -> bool:
        return {Action.OPEN_CAMERA: True, Action.CLOSE_CAMERA: False}.get(action, self.camera_open)

    def check_live(self, now: Instant) -> None:
        """Why LIVE is right, found anew from the history alone."""
        granted = self._first(lambda event: isinstance(event, AuthorityAccepted))
        assert granted is not None, "LIVE without an authority"
        event = self.fed[granted][0]
        assert isinstance(event, AuthorityAccepted)
        self._check_window(event.grant, granted, now)
        self._check_lease(event.grant, now)
        assert now.synchronised or self._vouched(event.grant, granted), (
            "LIVE with a clock that nobody vouches for"
        )
        for kind in (Revoked, RuleBroken):
            assert self._last(kind) is None, f"LIVE after {kind.__name__}"
        assert not self.suspended, "LIVE while suspended, without a review (R17)"

    @property
    def suspended(self) -> bool:
        """R17: since the last suspension nobody reviewed it."""
        suspended, reviewed = self._last(MatchingSuspended), self._last(MatchingReviewed)
        return suspended is not None and (reviewed is None or reviewed < suspended)

    def facts(self) -> tuple[object, ...]:
        """What the oracle would say of this history from here on; equal ones need not be followed twice."""
        granted = self._first(lambda event: isinstance(event, AuthorityAccepted))
        if granted is None:
            return (self._last(Revoked) is None, self._last(RuleBroken) is None, self.suspended)
        event = self.fed[granted][0]
        assert isinstance(event, AuthorityAccepted)
        leased = self._last(LeaseAccepted)
        fresh = leased is not None and not self._stepped_since(event.grant, leased)
        contradicted = self._last(ClockContradicted)
        return (
            self._last(Revoked) is None,
            self._last(RuleBroken) is None,
            self.suspended,
            self._vouched(event.grant, granted),
            self.fed[leased][0] if fresh and leased is not None else None,
            leased is not None and contradicted is not None and contradicted > leased,
            self._earliest_end_ns(event.grant, granted),
        )

    def _earliest_end_ns(self, grant: Grant, granted: int) -> float | None:
        looks = [then for _, then in self.fed[granted:] if then.synchronised]
        return min((then.monotonic_ns + self._left_ns(grant, then) for then in looks), default=None)

    @staticmethod
    def _left_ns(grant: Grant, then: Instant) -> float:
        return (grant.end - then.wall) / timedelta(microseconds=1) * 1000

    def _check_window(self, grant: Grant, granted: int, now: Instant) -> None:
        assert now.wall >= grant.start, "LIVE before the start"
        for _, then in self.fed[granted:]:
            if then.synchronised:  # each trusted look at the wall clock gives a latest end
                end_ns = then.monotonic_ns + self._left_ns(grant, then)
                assert now.monotonic_ns < end_ns + 1000, "LIVE after the end"

    def _check_lease(self, grant: Grant, now: Instant) -> None:
        leased = self._last(LeaseAccepted)
        assert leased is not None, "LIVE without a lease"
        event = self.fed[leased][0]
        assert isinstance(event, LeaseAccepted)
        assert now.monotonic_ns < event.lease.until_ns <= now.monotonic_ns + grant.lease_max_s * SECOND
        assert not self._stepped_since(grant, leased), "a lease outlived a step of the wall clock"
        contradicted = self._last(ClockContradicted)
        assert contradicted is None or contradicted < leased, "a lease outlived a contradiction"

    def _vouched(self, grant: Grant, granted: int) -> bool:
        confirmed, contradicted = self._last(ClockConfirmed), self._last(ClockContradicted)
        if confirmed is None or confirmed < granted or self._stepped_since(grant, confirmed):
            return False
        return contradicted is None or contradicted < confirmed

    def _stepped_since(self, grant: Grant, index: int) -> bool:
        """Whether the wall clock moved other than the monotonic one between two looks after this event."""
        for (_, one), (_, two) in zip(self.fed[index:], self.fed[index + 1 :], strict=False):
            elapsed_s = (two.monotonic_ns - one.monotonic_ns) / SECOND
            if abs((two.wall - one.wall).total_seconds() - elapsed_s) > grant.clock_step_s or elapsed_s < 0:
                return True
        return False

    def _first(self, wanted: Callable[[Event], bool]) -> int | None:
        return next((i for i, (event, _) in enumerate(self.fed) if wanted(event)), None)

    def _last(self, kind: type) -> int | None:
        return next((i for i in reversed(range(len(self.fed))) if isinstance(self.fed[i][0], kind)), None)
