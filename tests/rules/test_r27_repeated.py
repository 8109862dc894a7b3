"""R27 whatever becomes of the broker: a revocation is repeated until the unit's signed state shows it."""

from __future__ import annotations

import itertools
import json
import random
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeagent.agent.revoked import MOST_SHOWN, CarriedOut
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.lease_holder import LeaseHolder, read_state
from edgeagent.controlroom.revocations import ANSWER_AGAIN_NS, AT_ONCE, Revocations
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import Presence, UnitState
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import REVOCATION, STATE, sign
from edgeagent.errors import DocumentError
from tests import desk as made
from tests.bench_unit import CLOCK, DEPLOYMENT, UNIT, Bench, Officers, Process, wrapped
from tests.broker_tools import wait_for
from tests.desk import Desk, at, raw_document

pytest_plugins = ["tests.bench_fixtures"]

LIVE, BENCH = Topics(made.UNIT, bench=False), Topics(UNIT, bench=True)
STREET = made.DEPLOYMENT
LONG_S = 100.0
"""On a machine with much else to do; nothing waits for longer than it must."""
TURN_S = ANSWER_AGAIN_NS / 1e9


@pytest.fixture
def kept(tmp_path: Path, desk: Desk) -> Iterator[Revocations]:
    """An empty file of revocations."""
    with Revocations(tmp_path / "received.sqlite", desk.trust) as revocations:
        yield revocations


def token(office: Desk, deployment: str = STREET, role: Role = Role.CONTROL_ROOM, **said: Any) -> bytes:
    return sign(REVOCATION, made.revocation(deployment=deployment, **said), office[role])


def sent(kept: Revocations, seconds: float, **state: Any) -> list[str]:
    """Deployments whose revocation is sent to the unit that says this."""
    now = at(seconds)
    answers = kept.answers(made.state(**state), bench=False, now=now)
    assert all(topic == LIVE.revocation for topic, _ in answers)
    return [received(REVOCATION, message, kept.trust, now).body.deployment for _, message in answers]


# --- the desk's memory --------------------------------------------------------------------------------------


def test_two_revocations_of_one_unit_are_both_sent_until_its_state_shows_them(
    kept: Revocations, desk: Desk
) -> None:
    for deployment in ("first-street", "second-street"):
        kept.keep(token(desk, deployment), bench=False, now=at(0))
    assert sorted(sent(kept, 1)) == ["first-street", "second-street"]
    assert sent(kept, 2) == []  # they are on their way
    assert sorted(sent(kept, 2 + TURN_S)) == ["first-street", "second-street"]
    assert sent(kept, 4 + 2 * TURN_S, revoked=("first-street",)) == ["second-street"]
    assert kept.missing("second-street", bench=False, now=at(60)) == [LIVE.unit]
    assert sent(kept, 100, revoked=("second-street",)) == []
    assert sent(kept, 200) == []  # a restart of the unit: it has shown them once, and never forgets
    assert kept.missing("second-street", bench=False, now=at(300)) == []


def test_a_unit_that_lost_its_memory_is_told_again(kept: Revocations, desk: Desk) -> None:
    kept.keep(token(desk), bench=False, now=at(0))
    assert sent(kept, 1, state=Presence.CLOSED, revoked=(STREET,)) == []
    assert sent(kept, 10, state=Presence.CLOSED) == []
    assert sent(kept, 20, deployment="another-street") == []
    assert sent(kept, 30, state=Presence.STANDBY) == [STREET]  # a new card, an old backup


def test_it_outlives_the_desks_program_and_reaches_one_that_runs_already(
    kept: Revocations, desk: Desk
) -> None:
    assert sent(kept, 0) == []
    with Revocations(kept.path, desk.trust) as command:
        command.keep(token(desk), bench=False, now=at(0.1))
    assert sent(kept, 0.2) == []  # it looks into the file once a second
    assert sent(kept, 1.5) == [STREET]
    with Revocations(kept.path, desk.trust) as restarted:
        assert sent(restarted, 2) == [STREET]


def test_more_than_a_state_can_show_are_sent_in_turns(kept: Revocations, desk: Desk) -> None:
    names = [f"street-{number:02}" for number in range(3 * AT_ONCE)]
    for name in names:
        kept.keep(token(desk, name), bench=False, now=at(0))
    unit, heard = CarriedOut(), []
    for turn in itertools.count(1):
        got = sent(kept, 10 * turn, revoked=unit.newest)
        if not got:
            break
        assert len(got) <= AT_ONCE == MOST_SHOWN
        for name in got:
            unit.note(name)
        heard += got
    assert sorted(heard) == names


@pytest.mark.parametrize("state", [{"state": Presence.LOST}, {"unit": "unit-99"}])
def test_nobody_else_is_sent_it(kept: Revocations, desk: Desk, state: dict[str, Any]) -> None:
    kept.keep(token(desk), bench=False, now=at(0))
    assert kept.answers(made.state(**state), bench=False, now=at(1)) == []
    assert kept.answers(made.state(), bench=True, now=at(1)) == []  # R33


def test_what_others_publish_is_repeated_too_if_they_may_revoke(kept: Revocations, desk: Desk) -> None:
    heard = wrapped("revocation", token(desk, role=Role.INDEPENDENT_APPROVER))
    kept.hear(LIVE.revocation, heard, at(0))
    assert sent(kept, 1) == [STREET]


@pytest.mark.parametrize("forge", ["stranger", "unit", "cut", "empty"])
def test_a_forged_one_is_not_kept(kept: Revocations, desk: Desk, forge: str) -> None:
    payload = made.revocation().model_dump_json().encode()
    message = {
        "stranger": wrapped("revocation", token(Desk(seed=1))),
        "unit": wrapped("revocation", raw_document(REVOCATION, payload, desk[Role.UNIT])),
        "cut": wrapped("revocation", token(desk)[:-20]),
        "empty": b"",
    }[forge]
    with pytest.raises(DocumentError):
        kept.hear(LIVE.revocation, message, at(0))
    assert sent(kept, 1) == []


def test_a_newer_one_takes_the_place_of_one_that_was_not_carried_out(kept: Revocations, desk: Desk) -> None:
    """The first signer's key may be revoked by now; its word would be refused for ever."""
    kept.keep(token(desk), bench=False, now=at(0))
    later = token(desk, role=Role.AUTHORISING_OFFICER, issued_at=at(60).wall)
    kept.keep(later, bench=False, now=at(60))
    kept.keep(token(desk), bench=False, now=at(61))  # the old one, replayed
    answers = kept.answers(made.state(), bench=False, now=at(70))
    verified = [received(REVOCATION, message, desk.trust, at(70)) for _, message in answers]
    assert [one.signers[0].role for one in verified] == [Role.AUTHORISING_OFFICER]


def test_old_ones_that_a_unit_refuses_do_not_hold_up_that_of_its_own_deployment(
    kept: Revocations, desk: Desk
) -> None:
    kept.keep(token(desk), bench=False, now=at(0))
    for number in range(2 * AT_ONCE):
        kept.keep(token(desk, f"street-{number:02}"), bench=False, now=at(0))
    assert sent(kept, 1)[0] == STREET


def test_to_revoke_again_is_to_be_shown_again(kept: Revocations, desk: Desk) -> None:
    """The earlier one's signer may have been revoked since, so that a new card would refuse it for ever."""
    kept.keep(token(desk), bench=False, now=at(0))
    assert sent(kept, 1, state=Presence.CLOSED, revoked=(STREET,)) == []
    later = token(desk, role=Role.AUTHORISING_OFFICER, issued_at=at(60).wall)
    kept.keep(later, bench=False, now=at(60))
    assert kept.missing(STREET, bench=False, now=at(61)) == [LIVE.unit]
    kept.keep(token(desk), bench=False, now=at(62))  # a replay of the first changes nothing
    [(_, message)] = kept.answers(made.state(state=Presence.STANDBY), bench=False, now=at(70))
    assert later.decode() in message.decode()


def test_nobody_gives_a_lease_under_a_revoked_deployment(kept: Revocations, desk: Desk) -> None:
    holder = LeaseHolder(desk[Role.CONTROL_ROOM], desk.trust, STREET, 4, 6.0, kept)
    asks = wrapped("state", sign(STATE, made.state(), desk[Role.UNIT]))
    again = wrapped("state", sign(STATE, made.state(challenge="B" * 22, sequence=2), desk[Role.UNIT]))
    assert holder.answer(LIVE.state, asks, at(0)) is not None
    kept.keep(token(desk), bench=False, now=at(1))
    assert holder.answer(LIVE.state, again, at(2)) is None
    assert holder.revoked == {LIVE.unit}
    kept.answers(made.state(revoked=(STREET,)), bench=False, now=at(3))
    third = wrapped("state", sign(STATE, made.state(challenge="C" * 22, sequence=3), desk[Role.UNIT]))
    assert holder.answer(LIVE.state, third, at(4)) is None, "shown by now, and still revoked"


# --- the real daemon, commands and broker -------------------------------------------------------------------


def room(bench: Bench) -> Process:
    """The real `edgeagent alerts watch`."""
    return Process(
        bench.command("alerts", "watch", "--config", "alerts.toml", "--bench"), bench.path, "room.log"
    )


def test_a_unit_away_for_two_revocations_and_a_broker_that_forgot_both(bench: Bench) -> None:
    bench.put()
    done = bench.run_command(
        *("authority", "revoke", "--config", "revoke.toml", "--bench", "--deployment", DEPLOYMENT),
        *("--unit", UNIT, "--reason", "officers called away", "--wait", "0"),
    )
    assert done.returncode == 2
    assert f"{UNIT} did not show the revocation of {DEPLOYMENT}" in done.stderr
    with Revocations(bench.path / "received.sqlite", bench.office.trust()) as kept:
        kept.hear(BENCH.revocation, bench.revocation(deployment="another-street"), CLOCK.now())
    bench.broker.running.kill()
    bench.broker.running.start()  # keeps nothing on disk: what it retained is gone
    with bench.unit() as unit, Officers(bench):
        assert wait_for(lambda: (bench.data / "outbox.sqlite").exists(), LONG_S)
        with room(bench) as watching:
            assert wait_for(lambda: "revoked: officers called away" in watching.said(), LONG_S), (
                watching.said()
            )
            closed = bench.data / "seen.json"
            wanted = {DEPLOYMENT, "another-street"}
            assert wait_for(lambda: wanted <= set(json.loads(closed.read_text())["closed"]), LONG_S)
            assert not bench.watchlist_file.exists()
            assert unit.capture_children() == []


def test_the_command_stays_until_the_unit_has_shown_it(bench: Bench) -> None:
    """Without anybody in the control room, and over a broker that loses its memory meanwhile."""
    bench.put()
    arguments = ("--deployment", DEPLOYMENT, "--unit", UNIT, "--reason", "officers called away")
    command = bench.command("authority", "revoke", "--config", "revoke.toml", "--bench", *arguments)
    with Process(command, bench.path, "revoke.log") as revoking:
        assert wait_for(lambda: "published" in revoking.said(), LONG_S), revoking.said()
        bench.broker.running.kill()
        bench.broker.running.start()
        with bench.unit():
            assert revoking.wait(LONG_S) == 0, revoking.said()
        assert f"{UNIT}: carried out; CLOSED, camera closed" in revoking.said()
    assert not bench.watchlist_file.exists()


def test_a_command_that_is_interrupted_says_who_has_not_shown_it(bench: Bench) -> None:
    arguments = ("--deployment", DEPLOYMENT, "--unit", UNIT, "--reason", "officers called away")
    command = bench.command("authority", "revoke", "--config", "revoke.toml", "--bench", *arguments)
    with Process(command, bench.path, "revoke.log") as revoking:
        assert wait_for(lambda: "published" in revoking.said(), LONG_S), revoking.said()
        revoking.signal(signal.SIGINT)
        assert revoking.wait(LONG_S) == 130
        assert f"not shown yet by {UNIT}" in revoking.said()


@pytest.mark.parametrize(
    ("before", "discarded"), [("over", 0), ("never here", 0), ("begun", 1)], ids=lambda value: str(value)
)
def test_a_revocation_takes_the_alerts_of_its_own_deployment_only(
    before: str, discarded: int, bench: Bench
) -> None:
    """A unit that has not loaded its deployment yet still holds alerts for the control room."""
    bench.data.mkdir(parents=True)
    seen = HighWater(bench.data / "seen.json")
    if before == "over":
        seen.close("another-street")
    if before == "begun":
        seen.started("another-street", CLOCK.now().wall + timedelta(hours=1))
    with Outbox(
        bench.data / "outbox.sqlite",
        capacity=10,
        in_flight_cap=10,
        retry=Backoff(1.0, 15.0),
        rng=random.Random(1),
    ) as outbox:
        now = time.time()
        outbox.add("ab" * 16, b"an alert", now + 600, now)
    room = bench.broker.connected_link(
        CONTROL_ROOM, Subscription("lfr-bench/v1/+/state", accept_retained=True)
    )

    def state() -> UnitState:
        message = room.inbox.get(timeout=LONG_S)
        return read_state(message.topic, message.payload, bench.office.trust(), CLOCK.now())

    with bench.unit():
        state()
        room.publish(BENCH.revocation, bench.revocation(deployment="another-street"))
        assert wait_for(lambda: "another-street" in state().revoked, LONG_S)
        assert (state().alerts.discarded, state().alerts.pending) == (discarded, 1 - discarded)
