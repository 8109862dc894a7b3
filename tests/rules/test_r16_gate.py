"""R16: the camera is open only while officers hold a lease; no sequence of events opens it otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
    Tick,
    Why,
    step,
)
from edgeagent.safeguards.instant import SECOND, Instant, stepped
from edgeagent.safeguards.lease import HeldLease
from tests.desk import END, NOW, START, at, grant
from tests.rules.gate_oracle import History

REVOKED = Revoked(Why("R27", "revoked"))
BROKEN = RuleBroken(Why("R1", "the ledger does not balance"))
SUSPENDED = MatchingSuspended(Why("R17", "too many false alerts"))


def lease_until(now: Instant, seconds: float) -> LeaseAccepted:
    """A lease that lasts so long from now, on the monotonic clock."""
    return LeaseAccepted(HeldLease(1, now.monotonic_ns + round(seconds * SECOND), 4))


def live_gate(now: Instant = NOW, seconds: float = 6.0) -> Gate:
    """A gate that is LIVE."""
    history = History(Gate.locked(now))
    history.feed(AuthorityAccepted(grant()), now)
    history.feed(lease_until(now, seconds), now)
    assert history.gate.state is State.LIVE
    return history.gate


# --- the way to LIVE, one fact at a time --------------------------------------------------------------------


def test_authority_and_lease_together_open_the_camera() -> None:
    gate, actions = step(Gate.locked(NOW), AuthorityAccepted(grant()), NOW)
    assert gate.state is State.STANDBY
    assert Action.OPEN_CAMERA not in actions
    gate, actions = step(gate, lease_until(NOW, 6), NOW)
    assert gate.state is State.LIVE
    assert actions == (Action.OPEN_CAMERA, Action.PUBLISH_STATE)


def test_a_lease_without_authority_opens_nothing_and_is_not_kept() -> None:
    gate, actions = step(Gate.locked(NOW), lease_until(NOW, 6), NOW)
    assert (gate.state, gate.lease, actions) == (State.LOCKED, None, ())
    gate, _ = step(gate, AuthorityAccepted(grant()), NOW)
    assert gate.state is State.STANDBY


def test_a_lease_that_comes_before_the_start_is_not_kept() -> None:
    early = Instant(0, START - timedelta(seconds=3), synchronised=True)
    gate, _ = step(Gate.locked(early), AuthorityAccepted(grant()), early)
    assert gate.state is State.LOCKED
    gate, _ = step(gate, lease_until(early, 9), early)
    on_time = Instant(3 * SECOND, START, synchronised=True)
    gate, _ = step(gate, Tick(), on_time)
    assert gate.state is State.STANDBY


def test_no_step_leads_from_locked_straight_to_live() -> None:
    early = Instant(0, START - timedelta(seconds=3), synchronised=True)
    gate, _ = step(Gate.locked(early), AuthorityAccepted(grant()), early)
    on_time = Instant(3 * SECOND, START, synchronised=True)
    assert step(gate, lease_until(on_time, 6), on_time)[0].state is State.STANDBY


def test_an_end_that_was_reached_stays_reached_when_a_clock_goes_back() -> None:
    gate, _ = step(live_gate(), Tick(), at((END - NOW.wall).total_seconds()))
    assert gate.state is State.CLOSED
    for event in (Tick(), AuthorityAccepted(grant()), lease_until(NOW, 6)):
        assert step(gate, event, at(1))[0].state is State.CLOSED


@pytest.mark.parametrize(
    ("seconds", "state"), [(5.999, State.LIVE), (6.0, State.STANDBY), (60.0, State.STANDBY)]
)
def test_a_lease_lapses_on_the_nanosecond(seconds: float, state: State) -> None:
    gate, actions = step(live_gate(seconds=6), Tick(), at(seconds))
    assert gate.state is state
    if state is State.STANDBY:
        assert actions == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS, Action.PUBLISH_STATE)
        assert gate.why.rule == "R16"


@pytest.mark.parametrize(
    ("seconds", "state"), [(10.0, State.LIVE), (10.1, State.STANDBY), (1e9, State.STANDBY)]
)
def test_a_lease_longer_than_the_authority_allows_opens_nothing(seconds: float, state: State) -> None:
    gate, _ = step(Gate.locked(NOW), AuthorityAccepted(grant()), NOW)
    gate, _ = step(gate, lease_until(NOW, seconds), NOW)
    assert gate.state is state


def test_a_lease_of_no_length_releases_the_camera() -> None:
    gate, actions = step(live_gate(), lease_until(at(1), 0), at(1))
    assert gate.state is State.STANDBY
    assert actions[:2] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS)


@pytest.mark.parametrize("error_s", [-86_400, -3, 3, 86_400, 1e9])
@pytest.mark.parametrize("synchronised", [True, False])
def test_a_stepped_wall_clock_closes_the_camera(error_s: float, synchronised: bool) -> None:
    gate, actions = step(live_gate(), Tick(), at(1, wall_error_s=error_s, synchronised=synchronised))
    assert gate.state is not State.LIVE
    assert actions[:2] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS)


def test_a_wall_clock_that_drifts_within_the_tolerance_does_not() -> None:
    assert step(live_gate(), Tick(), at(1, wall_error_s=1.9))[0].state is State.LIVE
    assert step(live_gate(), Tick(), at(1, wall_error_s=-1.9))[0].state is State.LIVE


def test_a_clock_that_nobody_vouches_for_locks_and_a_signed_time_unlocks() -> None:
    alone = replace(NOW, synchronised=False)
    gate, _ = step(Gate.locked(alone), AuthorityAccepted(grant()), alone)
    assert gate.state is State.LOCKED
    assert step(gate, lease_until(alone, 6), alone)[0].state is State.LOCKED
    gate, _ = step(gate, ClockConfirmed(), alone)
    assert gate.state is State.STANDBY
    gate, _ = step(gate, lease_until(alone, 6), alone)
    assert gate.state is State.LIVE
    gate, actions = step(gate, ClockContradicted(), alone)
    assert gate.state is State.LOCKED
    assert actions[:2] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS)


def test_a_contradicted_clock_ends_a_lease_even_when_the_system_vouches() -> None:
    gate, _ = step(live_gate(), ClockContradicted(), NOW)
    assert gate.state is State.STANDBY
    assert gate.lease is None


def test_losing_synchronisation_locks_unless_a_signed_time_vouched() -> None:
    assert step(live_gate(), Tick(), at(1, synchronised=False))[0].state is State.LOCKED
    vouched, _ = step(live_gate(), ClockConfirmed(), NOW)
    assert step(vouched, Tick(), at(1, synchronised=False))[0].state is State.LIVE


def test_a_confirmation_before_the_authority_vouches_for_nothing() -> None:
    """Steps are watched from the authority on, so what was said of the clock before it does not count."""
    alone = replace(NOW, synchronised=False)
    gate, _ = step(Gate.locked(alone), ClockConfirmed(), alone)
    later = at(1, wall_error_s=7200, synchronised=False)
    gate, _ = step(gate, Tick(), later)
    gate, _ = step(gate, AuthorityAccepted(grant()), later)
    assert gate.state is State.LOCKED


def test_the_end_holds_when_the_wall_clock_is_set_back() -> None:
    """R14: the end is fixed on the monotonic clock at the first trusted look."""
    seconds = (END - NOW.wall).total_seconds()
    gate, _ = step(live_gate(), Tick(), at(1, wall_error_s=-7200))
    assert step(gate, Tick(), at(seconds - 1, wall_error_s=-7200))[0].state is State.STANDBY
    gate, actions = step(gate, Tick(), at(seconds, wall_error_s=-7200))
    assert gate.state is State.CLOSED
    assert Action.DESTROY_KEYS in actions


def test_the_end_closes_also_when_the_clock_is_no_longer_vouched_for() -> None:
    seconds = (END - NOW.wall).total_seconds()
    assert step(live_gate(), Tick(), at(seconds, synchronised=False))[0].state is State.CLOSED


def test_the_end_closes_also_when_a_rule_was_broken() -> None:
    """R6: the list is destroyed after the deployment, whatever happened during it."""
    gate, _ = step(live_gate(), BROKEN, NOW)
    assert gate.state is State.LOCKED
    gate, actions = step(gate, Tick(), at((END - NOW.wall).total_seconds()))
    assert gate.state is State.CLOSED
    assert Action.DESTROY_KEYS in actions


def test_a_broken_rule_stays_broken_until_a_restart() -> None:
    gate, actions = step(live_gate(), BROKEN, NOW)
    assert actions[:2] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS)
    for event in (AuthorityAccepted(grant()), ClockConfirmed(), lease_until(NOW, 6), Tick()):
        gate, _ = step(gate, event, NOW)
        assert (gate.state, gate.why.rule) == (State.LOCKED, "R1")
    assert step(gate, RuleBroken(Why("R4", "later")), NOW)[0].why.rule == "R1"


def test_a_second_authority_does_not_replace_the_first() -> None:
    longer = grant(end=END + timedelta(days=1), lease_max_s=10_000.0)
    gate, _ = step(live_gate(), AuthorityAccepted(longer), NOW)
    assert gate.grant == grant()
    assert step(gate, Tick(), at((END - NOW.wall).total_seconds()))[0].state is State.CLOSED


def test_nothing_survives_a_restart() -> None:
    assert Gate.locked(NOW) == Gate(State.LOCKED, Why("R12", "no authority"), seen=NOW)


def test_a_gate_that_closed_takes_no_new_authority() -> None:
    gate, _ = step(Gate.locked(NOW), REVOKED, NOW)
    gate, _ = step(gate, AuthorityAccepted(grant()), NOW)
    assert gate.state is State.CLOSED
    assert gate.grant is None


@pytest.mark.parametrize(
    ("elapsed_s", "wall_s", "expected"),
    [
        (1, 1, False),
        (1, 3, False),
        (1, 3.1, True),
        (1, -1, False),
        (1, -1.1, True),
        (-1, -1, True),
        (0, 0, False),
    ],
)
def test_what_counts_as_a_step(elapsed_s: float, wall_s: float, expected: bool) -> None:
    assert stepped(NOW, at(elapsed_s, wall_error_s=wall_s - elapsed_s), 2.0) is expected


def test_an_instant_is_in_utc_or_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        Instant(0, datetime(2031, 1, 1), synchronised=True)  # noqa: DTZ001 - the point of the test
    assert Instant.of(0, 0.0, synchronised=False).wall == datetime(1970, 1, 1, tzinfo=UTC)


# --- any sequence of events ---------------------------------------------------------------------------------

SECONDS = st.one_of(
    st.sampled_from([0.0, 0.05, 1.0, 2.0, 5.999999999, 6.0, 10.0, 11.0, 600.0, 3600.0, 20_000.0]),
    st.floats(0, 30_000),
)
ERRORS = st.one_of(
    st.sampled_from([-1e8, -86_400.0, -3600.0, -2.1, -1.9, 1.9, 2.1, 3600.0, 86_400.0, 1e8]),
    st.floats(-1e9, 1e9),
)


class AnySequence(RuleBasedStateMachine):
    """Events and clocks in any order; the history's oracle judges every step."""

    @initialize(minutes=st.integers(-400, 400), synchronised=st.booleans())
    def begin(self, minutes: int, synchronised: bool) -> None:
        self.now = Instant(5 * SECOND, START + timedelta(minutes=minutes), synchronised)
        self.history = History(Gate.locked(self.now))

    def _feed(self, event: Event) -> None:
        self.history.feed(event, self.now)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        wall = self.now.wall + timedelta(seconds=seconds)
        self.now = Instant(self.now.monotonic_ns + int(seconds * SECOND), wall, self.now.synchronised)
        self._feed(Tick())

    @rule(seconds=ERRORS, tick=st.booleans())
    def wall_clock_is_stepped(self, seconds: float, tick: bool) -> None:
        self.now = replace(self.now, wall=self.now.wall + timedelta(seconds=seconds))
        assume(1000 < self.now.wall.year < 9000)
        if tick:
            self._feed(Tick())

    @rule()
    def wall_clock_is_put_right(self) -> None:
        self.now = replace(self.now, wall=START + timedelta(minutes=20))
        self._feed(Tick())

    @rule(tick=st.booleans())
    def synchronisation_changes(self, tick: bool) -> None:
        self.now = replace(self.now, synchronised=not self.now.synchronised)
        if tick:
            self._feed(Tick())

    @rule(hours=st.sampled_from([-1, 0, 1, 4, 30]), lease_max_s=st.sampled_from([0.001, 2.0, 10.0, 30.0]))
    def authority(self, hours: int, lease_max_s: float) -> None:
        self._feed(AuthorityAccepted(grant(end=START + timedelta(hours=hours), lease_max_s=lease_max_s)))

    @rule(seconds=st.sampled_from([-1.0, 0.0, 0.5, 2.0, 6.0, 10.0, 29.0, 31.0, 1e9]))
    def lease(self, seconds: float) -> None:
        self._feed(lease_until(self.now, seconds))

    @rule(event=st.sampled_from([ClockConfirmed(), ClockContradicted(), Tick()]))
    def clock_is_judged(self, event: Event) -> None:
        self._feed(event)

    @rule(seconds=st.sampled_from([2.0, 6.0]))
    def a_good_lease_is_taken(self, seconds: float) -> None:
        self._feed(ClockConfirmed())
        self._feed(lease_until(self.now, seconds))

    @rule(event=st.sampled_from([REVOKED, BROKEN]), really=st.integers(0, 9))
    def it_ends(self, event: Event, really: int) -> None:
        if really == 0:  # rarely, or every sequence would be over at once
            self._feed(event)

    @rule(event=st.sampled_from([SUSPENDED, MatchingReviewed(), MatchingReviewed()]))
    def the_rate_is_judged(self, event: Event) -> None:
        self._feed(event)

    @invariant()
    def camera_follows_state(self) -> None:
        if hasattr(self, "history"):
            assert self.history.camera_open == (self.history.gate.state is State.LIVE)


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=max(150, settings().max_examples), stateful_step_count=40)


@settings(max_examples=max(200, settings().max_examples))
@given(
    until_ns=st.integers(-(2**70), 2**70),
    monotonic_ns=st.integers(-(2**63), 2**63),
    wall=st.datetimes(timezones=st.just(UTC)),
    start=st.datetimes(timezones=st.just(UTC)),
    end=st.datetimes(timezones=st.just(UTC)),
    synchronised=st.booleans(),
    state=st.sampled_from(State),
)
def test_step_is_total(
    until_ns: int,
    monotonic_ns: int,
    wall: datetime,
    start: datetime,
    end: datetime,
    synchronised: bool,
    state: State,
) -> None:
    """No event in any state at any time raises, from year 1 to year 9999, whatever its numbers are."""
    now = Instant(monotonic_ns, wall, synchronised)
    given_ = grant(start=start, end=end)
    events: list[Event] = [
        AuthorityAccepted(given_),
        LeaseAccepted(HeldLease(1, until_ns, 1)),
        ClockConfirmed(),
        ClockContradicted(),
        BROKEN,
        REVOKED,
        SUSPENDED,
        MatchingReviewed(),
        Tick(),
    ]
    for facts in (None, given_):
        for event in events:
            gate = Gate(state, Why("R0", "any"), seen=NOW, grant=facts)
            after, _ = step(gate, event, now)
            assert isinstance(after.state, State)


# --- every sequence up to a length --------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """An abstract event with the time that passes before it."""

    event: str
    seconds: float = 0.0
    wall_error_s: float = 0.0
    flips_synchronisation: bool = False


MOVES = (
    Move("tick", 1),
    Move("tick", 7),
    Move("tick", 20_000),
    Move("tick", wall_error_s=3600),
    Move("tick", wall_error_s=-3600),
    Move("tick", flips_synchronisation=True),
    Move("authority"),
    Move("lease"),
    Move("long lease"),
    Move("release"),
    Move("confirm"),
    Move("contradict"),
    Move("break"),
    Move("revoke"),
    Move("suspend"),
    Move("review"),
)
LENGTH = 6 if settings().max_examples < 1000 else 8


def _event(move: Move, now: Instant) -> Event:
    events: dict[str, Event] = {
        "tick": Tick(),
        "authority": AuthorityAccepted(grant()),
        "lease": lease_until(now, 6),
        "long lease": lease_until(now, 3600),
        "release": lease_until(now, 0),
        "confirm": ClockConfirmed(),
        "contradict": ClockContradicted(),
        "break": BROKEN,
        "revoke": REVOKED,
        "suspend": SUSPENDED,
        "review": MatchingReviewed(),
    }
    return events[move.event]


def _moved(now: Instant, move: Move) -> Instant:
    wall = now.wall + timedelta(seconds=move.seconds + move.wall_error_s)
    synchronised = now.synchronised != move.flips_synchronisation
    return Instant(now.monotonic_ns + round(move.seconds * SECOND), wall, synchronised)


@pytest.mark.parametrize("synchronised", [True, False])
def test_every_sequence_up_to_a_length(synchronised: bool) -> None:
    """All of them, not a sample; two with the same facts and oracle are followed once."""
    begun = Instant(5 * SECOND, START - timedelta(seconds=3), synchronised)
    seen: set[tuple[Gate, Instant, tuple[object, ...]]] = set()
    frontier = [(History(Gate.locked(begun)), begun)]
    reached = {State.LOCKED}
    for _ in range(LENGTH):
        grown = []
        for history, now in frontier:
            for move in MOVES:
                later = _moved(now, move)
                follower = replace(history, fed=list(history.fed))
                follower.feed(_event(move, later), later)
                reached.add(follower.gate.state)
                known = (follower.gate, later, follower.facts())
                if known not in seen:
                    seen.add(known)
                    grown.append((follower, later))
        frontier = grown
    assert reached == set(State)
    assert len(seen) > 5_000
