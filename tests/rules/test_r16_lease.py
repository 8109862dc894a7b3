"""R16: a lease opens the camera only as the fresh, signed answer to this boot's own challenge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.agent.leases import OUTSTANDING, LeaseDesk
from edgeagent.alerts.envelope import unwrap
from edgeagent.controlroom.lease_holder import LeaseHolder
from edgeagent.documents.jws import strict_json, unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import Presence
from edgeagent.documents.table import LEASE, verify
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.gate import (
    AuthorityAccepted,
    ClockConfirmed,
    ClockContradicted,
    Event,
    Gate,
    LeaseAccepted,
    State,
    step,
)
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.lease import Challenge, Lease, accept_lease, clock_agrees
from tests.desk import DEPLOYMENT, NOW, OTHER_UNIT, START, UNIT, Desk, at, grant, lease

TEXT = "A" * 22
CHALLENGE = Challenge(TEXT, NOW.monotonic_ns)
TOPIC = f"lfr/v1/{UNIT}/state"


def accept(said: Lease, now: Instant = NOW, **changes: Any) -> Any:
    """`accept_lease` as the unit would call it, with something changed."""
    usual: dict[str, Any] = {
        "grant": grant(),
        "unit": UNIT,
        "outstanding": (CHALLENGE,),
        "last_sequence": 6,
        "now": now,
    }
    return accept_lease(said, **(usual | changes))


def holder(desk: Desk, **changes: Any) -> LeaseHolder:
    """The control room's side."""
    usual: dict[str, Any] = {
        "identity": desk[Role.CONTROL_ROOM],
        "trust": desk.trust,
        "deployment": DEPLOYMENT,
        "officers": 4,
        "duration_s": 6.0,
    }
    return LeaseHolder(**(usual | changes))


# --- one wrong field ----------------------------------------------------------------------------------------


def test_a_right_lease_lasts_from_the_challenge_not_from_its_arrival() -> None:
    held = accept(lease(), at(2))
    assert held.until_ns == CHALLENGE.made_ns + 6 * SECOND
    assert (held.sequence, held.officers) == (7, 4)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"unit": OTHER_UNIT}, "not for this unit"),
        ({"deployment": "another-deployment"}, "for deployment"),
        ({"deployment": DEPLOYMENT.upper()}, "for deployment"),
        ({"challenge": "B" * 22}, "no outstanding challenge"),
        ({"challenge": "A" * 21 + "B"}, "no outstanding challenge"),
        ({"sequence": 6}, "not above"),
        ({"sequence": 1}, "not above"),
        ({"duration_s": 10.001}, "above the 10 s allowed"),
        ({"duration_s": 1e300}, "allowed"),
    ],
)
def test_each_wrong_field_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(SafeguardError, match=what) as refusal:
        accept(lease(**changes))
    assert refusal.value.rule == "R16"


@pytest.mark.parametrize(
    "changes",
    [
        {"officers": 0},
        {"officers": -1},
        {"officers": 1001},
        {"duration_s": -0.1},
        {"duration_s": float("nan")},
        {"duration_s": float("inf")},
        {"sequence": 0},
        {"sequence": 2**53 + 1},
        {"challenge": ""},
        {"challenge": "A" * 23},
        {"challenge": "A" * 21 + "\n"},
        {"issued_at": datetime(2031, 5, 6, 12, 10)},  # noqa: DTZ001 - the point of the test
        {"unit": "Unit-1"},
    ],
)
def test_what_cannot_be_said_at_all(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        lease(**changes)


@pytest.mark.parametrize("seconds", [6.0, 6.001, 3600.0])
def test_a_late_answer_is_refused(seconds: float) -> None:
    with pytest.raises(SafeguardError, match="lapsed"):
        accept(lease(), at(seconds))
    assert accept(lease(), at(5.999)).until_ns > at(5.999).monotonic_ns


def test_a_release_needs_no_length_and_never_lasts() -> None:
    held = accept(lease(duration_s=0.0), at(1))
    assert held.until_ns <= at(1).monotonic_ns


def test_no_challenge_outstanding_no_lease() -> None:
    with pytest.raises(SafeguardError, match="no outstanding challenge"):
        accept(lease(), outstanding=())


@given(
    sign_s=st.floats(0, 40),
    travel_s=st.floats(0, 40),
    duration_s=st.floats(0, 10),
    wall_error_s=st.floats(-1e6, 1e6),
)
def test_a_lease_never_lasts_longer_than_its_length_after_it_was_signed(
    sign_s: float, travel_s: float, duration_s: float, wall_error_s: float
) -> None:
    """Whatever the network or either wall clock does."""
    signed, arrived = at(sign_s), at(sign_s + travel_s, wall_error_s=wall_error_s)
    said = lease(issued_at=signed.wall, duration_s=duration_s)
    try:
        held = accept(said, arrived)
    except SafeguardError:
        assert arrived.monotonic_ns >= CHALLENGE.made_ns + int(duration_s * SECOND)
        return
    assert held.until_ns <= signed.monotonic_ns + int(duration_s * SECOND)
    assert held.until_ns <= CHALLENGE.made_ns + int(grant().lease_max_s * SECOND)


# --- the clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued_s", "now_s", "agrees"),
    [
        (0, 0, True),
        (2, 2, True),
        (0, 2, True),
        (-2, 2, True),
        (-2.001, 2, False),
        (4, 2, True),
        (4.001, 2, False),
        (3600, 2, False),
        (-3600, 2, False),
        (1e9, 2, False),
        (-1e9, 2, False),
    ],
)
def test_the_signed_time_must_lie_between_challenge_and_now(
    issued_s: float, now_s: float, agrees: bool
) -> None:
    said = lease(issued_at=NOW.wall + timedelta(seconds=issued_s))
    assert clock_agrees(said, CHALLENGE, grant(), at(now_s)) is agrees


@pytest.mark.parametrize(
    "issued_at",
    [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23, minutes=59))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=23, minutes=59))),
    ],
)
def test_absurd_times_disagree_and_do_not_crash(issued_at: datetime) -> None:
    assert not clock_agrees(lease(issued_at=issued_at), CHALLENGE, grant(), NOW)


def test_a_time_in_another_zone_is_the_same_time() -> None:
    there = NOW.wall.astimezone(timezone(timedelta(hours=9)))
    assert clock_agrees(lease(issued_at=there), CHALLENGE, grant(), NOW)


# --- the unit's side ----------------------------------------------------------------------------------------


def take(unit: LeaseDesk, challenge: Challenge, now: Instant, **changes: Any) -> tuple[Event, ...]:
    said: dict[str, Any] = {"challenge": challenge.text, "sequence": 7, "issued_at": now.wall}
    return unit.take(lease(**(said | changes)), grant(), now)


def test_an_answer_confirms_the_clock_and_then_gives_the_lease() -> None:
    unit = LeaseDesk(UNIT)
    challenge = unit.challenge(NOW)
    confirmed, accepted = take(unit, challenge, at(1))
    assert isinstance(confirmed, ClockConfirmed)
    assert isinstance(accepted, LeaseAccepted)
    assert accepted.lease.until_ns == NOW.monotonic_ns + 6 * SECOND


def test_a_challenge_is_answered_once() -> None:
    unit = LeaseDesk(UNIT)
    challenge = unit.challenge(NOW)
    take(unit, challenge, NOW)
    for sequence in (7, 8, 2**50):
        with pytest.raises(SafeguardError, match="no outstanding challenge"):
            take(unit, challenge, NOW, sequence=sequence)


def test_a_lease_does_not_answer_a_later_challenge() -> None:
    unit = LeaseDesk(UNIT)
    first = unit.challenge(NOW)
    take(unit, first, NOW)
    second = unit.challenge(at(2))
    assert second.text != first.text
    with pytest.raises(SafeguardError, match="not above"):
        take(unit, second, at(2), sequence=7)
    assert len(take(unit, second, at(2), sequence=8)) == 2


def test_only_the_last_few_challenges_can_be_answered() -> None:
    unit = LeaseDesk(UNIT)
    challenges = [unit.challenge(NOW) for _ in range(OUTSTANDING + 1)]
    assert len({challenge.text for challenge in challenges}) == len(challenges)
    with pytest.raises(SafeguardError, match="no outstanding challenge"):
        take(unit, challenges[0], NOW)
    assert len(take(unit, challenges[1], NOW)) == 2


def test_another_boot_answers_nothing_of_this_one() -> None:
    before, after = LeaseDesk(UNIT), LeaseDesk(UNIT)
    old = before.challenge(NOW)
    after.challenge(NOW)
    with pytest.raises(SafeguardError, match="no outstanding challenge"):
        take(after, old, NOW)


def test_after_the_end_no_challenge_can_be_answered() -> None:
    unit = LeaseDesk(UNIT)
    challenge = unit.challenge(NOW)
    unit.forget()
    with pytest.raises(SafeguardError, match="no outstanding challenge"):
        take(unit, challenge, NOW)


def test_a_refused_lease_uses_nothing_up() -> None:
    unit = LeaseDesk(UNIT)
    challenge = unit.challenge(NOW)
    with pytest.raises(SafeguardError):
        take(unit, challenge, NOW, duration_s=11.0, sequence=9)
    assert len(take(unit, challenge, NOW)) == 2


@pytest.mark.parametrize("error_s", [-3600.0, -5.0, 5.0, 3600.0])
def test_clocks_that_disagree_give_no_lease_and_use_the_challenge_up(error_s: float) -> None:
    unit = LeaseDesk(UNIT)
    challenge = unit.challenge(NOW)
    issued_at = NOW.wall + timedelta(seconds=error_s)
    assert take(unit, challenge, NOW, issued_at=issued_at) == (ClockContradicted(),)
    with pytest.raises(SafeguardError):
        take(unit, challenge, NOW, sequence=8)


# --- both sides together ------------------------------------------------------------------------------------


def exchange(
    unit: LeaseDesk, room: LeaseHolder, desk: Desk, asked: Instant, arrived: Instant
) -> tuple[Event, ...]:
    """State with a challenge, signed lease back, verified and taken."""
    challenge = unit.challenge(asked)
    message = desk.state_message(challenge=challenge.text)
    answer = room.answer(TOPIC, message, asked)
    assert answer is not None
    assert answer.topic == f"lfr/v1/{UNIT}/lease"
    taken = verify(LEASE, unwrap(answer.message, "lease"), desk.trust, arrived).body
    return unit.take(taken, grant(), arrived)


def test_a_watch_opens_the_camera_and_its_end_closes_it(desk: Desk) -> None:
    unit, room = LeaseDesk(UNIT), holder(desk)
    gate, _ = step(Gate.locked(NOW), AuthorityAccepted(grant()), NOW)
    for seconds in range(0, 60, 2):
        for event in exchange(unit, room, desk, at(seconds), at(seconds + 0.1)):
            gate, _ = step(gate, event, at(seconds + 0.1))
        assert gate.state is State.LIVE
    room.duration_s = 0.0  # the officers leave
    for event in exchange(unit, room, desk, at(60), at(60.1)):
        gate, _ = step(gate, event, at(60.1))
    assert gate.state is State.STANDBY


def test_leases_that_are_held_back_by_the_network_open_nothing(desk: Desk) -> None:
    unit, room = LeaseDesk(UNIT), holder(desk)
    gate, _ = step(Gate.locked(NOW), AuthorityAccepted(grant()), NOW)
    for seconds in range(0, 40, 8):
        with pytest.raises(SafeguardError, match="lapsed"):
            exchange(unit, room, desk, at(seconds), at(seconds + 7))
    assert gate.state is State.STANDBY


def test_an_unsynchronised_unit_is_vouched_for_by_the_control_room(desk: Desk) -> None:
    unit, room = LeaseDesk(UNIT), holder(desk)
    alone = replace(NOW, synchronised=False)
    gate, _ = step(Gate.locked(alone), AuthorityAccepted(grant()), alone)
    assert gate.state is State.LOCKED
    for event in exchange(unit, room, desk, alone, alone):
        gate, _ = step(gate, event, alone)
    assert gate.state is State.LIVE


def test_an_unsynchronised_unit_whose_clock_is_wrong_stays_locked(desk: Desk) -> None:
    unit, room = LeaseDesk(UNIT), holder(desk)
    wrong = at(0, wall_error_s=-600, synchronised=False)
    gate, _ = step(Gate.locked(wrong), AuthorityAccepted(grant()), wrong)
    challenge = unit.challenge(wrong)
    answer = room.answer(TOPIC, desk.state_message(challenge=challenge.text), NOW)
    assert answer is not None
    taken = verify(LEASE, unwrap(answer.message, "lease"), desk.trust, wrong).body
    for event in unit.take(taken, grant(), wrong):
        gate, _ = step(gate, event, wrong)
    assert gate.state is State.LOCKED


def test_one_challenge_is_answered_once_and_each_lease_has_a_higher_number(desk: Desk) -> None:
    room = holder(desk)
    message = desk.state_message()
    first = room.answer(TOPIC, message, NOW)
    assert first is not None
    assert room.answer(TOPIC, message, NOW) is None
    assert room.answer(TOPIC, message, at(5)) is None
    second = room.answer(TOPIC, desk.state_message(challenge="B" * 22), at(-3600))
    assert second is not None
    numbers = [_sequence(answer.message) for answer in (first, second)]
    assert numbers[1] > numbers[0]
    later = holder(desk).answer(TOPIC, message, at(1))
    assert later is not None
    assert _sequence(later.message) > numbers[1]


def _sequence(message: bytes) -> int:
    payload = unwrap(message, "lease").split(b".")[1]
    number: int = strict_json(unbase64url(payload))["sequence"]
    return number


@pytest.mark.parametrize(
    "changes",
    [
        {"challenge": ""},
        {"deployment": "another-deployment"},
        {"deployment": None},
        {"state": Presence.CLOSED},
    ],
)
def test_a_unit_that_asks_for_nothing_gets_nothing(changes: dict[str, Any], desk: Desk) -> None:
    assert holder(desk).answer(TOPIC, desk.state_message(**changes), NOW) is None


@pytest.mark.parametrize(
    ("topic", "signer", "said"),
    [
        (f"lfr/v1/{OTHER_UNIT}/state", "unit", UNIT),
        (TOPIC, "other", UNIT),
        (TOPIC, "unit", OTHER_UNIT),
        (TOPIC, "other", OTHER_UNIT),
    ],
)
def test_a_unit_asks_for_itself_only(topic: str, signer: str, said: str, desk: Desk) -> None:
    who = desk.unit if signer == "unit" else desk.other_unit
    with pytest.raises(DocumentError, match="not of the unit"):
        holder(desk).answer(topic, desk.state_message(who, unit=said), NOW)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "x",
        "lfr/v1/",
        "lfr/v1//state",
        "lfr/v1/UPPER/state",
        "lfr/v2/unit-1/state",
        "lfr/v1/+/state",
        "\0",
    ],
)
def test_a_message_on_no_units_topic_does_not_end_the_watch(topic: str, desk: Desk) -> None:
    """Whoever may publish could send one: a document refused, not a fault of the desk's configuration."""
    with pytest.raises(DocumentError, match="no unit's topic"):
        holder(desk).answer(topic, desk.state_message(), NOW)


def test_only_the_control_room_holds_a_watch(desk: Desk) -> None:
    for role in Role:
        if role is not Role.CONTROL_ROOM:
            with pytest.raises(DocumentError, match="may not be signed"):
                holder(desk, identity=desk[role]).answer(TOPIC, desk.state_message(), NOW)


def test_a_lease_is_for_a_bench_only_on_the_bench(desk: Desk) -> None:
    bench_topic = f"lfr-bench/v1/{UNIT}/state"
    answer = holder(desk).answer(bench_topic, desk.state_message(kind=Kind.BENCH), NOW)
    assert answer is not None
    assert answer.topic == f"lfr-bench/v1/{UNIT}/lease"
    for topic, kind in ((bench_topic, Kind.LIVE), (TOPIC, Kind.BENCH)):
        with pytest.raises(DocumentError, match="bench"):
            holder(desk).answer(topic, desk.state_message(kind=kind), NOW)


def test_a_message_too_long_is_refused_unread(desk: Desk) -> None:
    with pytest.raises(DocumentError, match="too long"):
        holder(desk).answer(TOPIC, b"[" * 1_000_000, NOW)


def test_the_deployment_starts_where_the_authority_says() -> None:
    assert grant().start == START
