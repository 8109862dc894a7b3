"""R17 in the gate: nothing leads out of a suspension but a review; `test_r16_gate` tries more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edgeagent.safeguards.gate import (
    Action,
    AuthorityAccepted,
    ClockConfirmed,
    ClockContradicted,
    Event,
    Gate,
    MatchingReviewed,
    MatchingSuspended,
    Revoked,
    State,
    Tick,
    Why,
    step,
)
from tests.desk import END, NOW, at, grant
from tests.rules.test_r16_gate import BROKEN, SUSPENDED, lease_until, live_gate


def test_a_suspension_closes_the_camera_and_says_why() -> None:
    gate, actions = step(live_gate(), SUSPENDED, NOW)
    assert (gate.state, gate.why) == (State.STANDBY, Why("R17", "too many false alerts"))
    assert actions == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS, Action.PUBLISH_STATE)
    assert gate.lease is None


@pytest.mark.parametrize(
    "event",
    [
        Tick(),
        lease_until(NOW, 6),
        AuthorityAccepted(grant()),
        AuthorityAccepted(grant(end=END + timedelta(hours=9))),
        ClockConfirmed(),
        ClockContradicted(),
        MatchingSuspended(Why("R17", "again")),
    ],
    ids=lambda event: type(event).__name__,
)
def test_nothing_but_a_review_lifts_it(event: Event) -> None:
    gate, _ = step(live_gate(), SUSPENDED, NOW)
    for _ in range(3):
        gate, _ = step(gate, event, NOW)
        gate, actions = step(gate, lease_until(NOW, 6), NOW)
        assert (gate.state, gate.why.rule) == (State.STANDBY, "R17")
        assert Action.OPEN_CAMERA not in actions
        assert gate.why.text == "too many false alerts", "the first reason is the one to look into"


def test_after_a_review_the_camera_opens_with_the_next_lease_only() -> None:
    gate, _ = step(live_gate(), SUSPENDED, NOW)
    gate, _ = step(gate, lease_until(NOW, 6), NOW)
    gate, actions = step(gate, MatchingReviewed(), NOW)
    assert (gate.state, gate.why.rule) == (State.STANDBY, "R16")
    assert Action.OPEN_CAMERA not in actions
    assert step(gate, lease_until(NOW, 6), NOW)[0].state is State.LIVE


def test_a_suspension_that_was_kept_over_a_restart_stands_before_the_authority_is_taken() -> None:
    gate, _ = step(Gate.locked(NOW), SUSPENDED, NOW)
    assert gate.state is State.LOCKED
    gate, _ = step(gate, AuthorityAccepted(grant()), NOW)
    assert (gate.state, gate.why.rule) == (State.STANDBY, "R17")
    assert step(gate, lease_until(NOW, 6), NOW)[0].state is State.STANDBY


@pytest.mark.parametrize(
    ("event", "seconds", "state", "rule"),
    [
        (Revoked(Why("R27", "revoked")), 0.0, State.CLOSED, "R27"),
        (Tick(), (END - NOW.wall).total_seconds(), State.CLOSED, "R14"),
        (BROKEN, 0.0, State.LOCKED, "R1"),
    ],
)
def test_what_is_stricter_still_counts_while_suspended(
    event: Event, seconds: float, state: State, rule: str
) -> None:
    gate, _ = step(live_gate(), SUSPENDED, NOW)
    gate, _ = step(gate, event, at(seconds))
    assert (gate.state, gate.why.rule) == (state, rule)
    assert step(gate, MatchingReviewed(), at(seconds))[0].state is state
