"""R27 end to end: a signed revocation over MQTT ends a deployment at once and for ever; nothing else does."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from edgeagent.documents.keys import Role
from edgeagent.documents.messages import CameraState, Presence
from edgeagent.documents.table import LEASE, REVOCATION
from tests.bench_unit import DEPLOYMENT, OTHER_UNIT, UNIT, Bench, Officers, Process, Watch, wrapped
from tests.broker_tools import publish_all, wait_for
from tests.desk import raw_document

pytest_plugins = ["tests.bench_fixtures"]

MAY_REVOKE = (Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER, Role.CONTROL_ROOM)


def _forgeries(bench: Bench) -> list[bytes]:
    """Signed by whoever may not, by strangers, or saying something else; each genuinely signed."""
    office, payload = bench.office, json.loads(bench_payload(bench))
    octets = json.dumps(payload).encode()
    signers = [office[role] for role in Role if role not in (*MAY_REVOKE, Role.ROOT)]
    signers += [office[Role.ROOT], office.other_unit]
    forged = [wrapped("revocation", raw_document(REVOCATION, octets, who)) for who in signers]
    stranger = type(office)(seed=1)[Role.AUTHORISING_OFFICER]
    forged.append(wrapped("revocation", raw_document(REVOCATION, octets, stranger)))
    officer = office[Role.AUTHORISING_OFFICER]
    wrong_typ = raw_document(REVOCATION, octets, officer, header={"typ": LEASE.typ})
    forged.append(wrapped("revocation", wrong_typ))
    genuine = bench.revocation()
    forged += [genuine.replace(b"revocation.v1", b"lease.v1"), genuine[:-40], b"", b"{}", b"\xff" * 50_000]
    return forged


def bench_payload(bench: Bench) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    said = {"deployment": DEPLOYMENT, "units": [UNIT], "issued_at": now, "reason": "forged, as a test"}
    return json.dumps(said).encode()


def test_only_a_genuine_revocation_ends_the_deployment_and_it_ends_everything(bench: Bench) -> None:
    bench.put()
    with Watch(bench, receipts=False) as watch, bench.unit() as unit, Officers(bench):
        watch.state(Presence.LIVE, camera=CameraState.OPEN)
        watch.until(lambda: watch.alerts)  # unsent receipts: the alert stays in the outbox
        _refuses_forgeries(bench, watch, unit)
        assert bench.watchlist_file.exists()
        began = time.monotonic()
        watch.link.publish(watch.topics.revocation, bench.revocation(), retain=True)
        assert wait_for(lambda: not unit.capture_children(), 1.0), "revoked, and the camera is still open"
        closed = watch.state(Presence.CLOSED)
        took_s = time.monotonic() - began
        assert (closed.rule, closed.camera, closed.buffers_wiped) == ("R27", CameraState.CLOSED, True)
        assert "officers called away" in closed.reason
        assert wait_for(lambda: "CLOSED: revoked [R27]" in unit.said())
        assert "officers called away" not in unit.said(), "somebody's words, which may name a person"
        assert not bench.watchlist_file.exists()
        watch.until(lambda: watch.last.alerts.pending == 0)
        counts, faces = watch.last.alerts, watch.last.faces
        assert counts.discarded >= 1
        assert counts.made == counts.discarded + counts.expired
        assert faces.processed == faces.deleted
        assert faces.in_live_alerts == 0
        _stays_closed(watch, unit)
    _refused_after_a_restart(bench)
    print(f"closed and told {took_s:.2f} s after the revocation")


def _refuses_forgeries(bench: Bench, watch: Watch, unit: Process) -> None:
    refused = unit.said().count("refused ")
    forged = _forgeries(bench)
    elsewhere = (bench.revocation(units=(OTHER_UNIT,)), bench.revocation(deployment="another-street"))
    publish_all(watch.link, [(watch.topics.revocation, message) for message in (*forged, *elsewhere)])
    assert wait_for(lambda: unit.said().count("refused ") >= refused + len(forged) - 1, 60), unit.said()
    watch.state(Presence.LIVE, 3, camera=CameraState.OPEN)
    assert wait_for(lambda: len(unit.capture_children()) == 1, 60)


def _stays_closed(watch: Watch, unit: Process) -> None:
    seen = len(watch.states)
    until = time.monotonic() + 2.5  # officers go on answering
    while time.monotonic() < until:
        watch.take(0.1)
    assert {state.state for state in watch.states[seen:]} <= {Presence.CLOSED}
    assert watch.last.challenge == ""
    assert unit.capture_children() == []


def _refused_after_a_restart(bench: Bench) -> None:
    """Even with the list put back and the retained revocation gone."""
    bench.watchlist_file.write_bytes(bench.office.watchlist())
    with Watch(bench) as watch:
        watch.link.publish(watch.topics.revocation, b"", retain=True)
        with bench.unit(), Officers(bench):
            refused = watch.problem("is over on this unit")
            assert refused.challenge == ""
            assert "a new deployment needs a new authority" in refused.problem


@pytest.mark.parametrize("role", MAY_REVOKE)
def test_each_who_may_revoke_can_and_a_unit_that_was_away_learns_of_it(role: Role, bench: Bench) -> None:
    """The revocation is retained: it reaches a unit that is switched on later, before any officer does."""
    bench.put()
    with Watch(bench) as watch:
        message = bench.revocation(bench.office[role], units=(OTHER_UNIT, UNIT))
        watch.link.publish(watch.topics.revocation, message, retain=True)
        time.sleep(0.1)
        with bench.unit() as unit:
            watch.state(Presence.CLOSED)
            assert not bench.watchlist_file.exists()
            assert unit.capture_children() == []
            assert all(state.camera is CameraState.CLOSED for state in watch.states)


def test_a_revocation_before_the_authority_blocks_it_too(bench: Bench) -> None:
    """Who revokes need not know whether the unit has its documents yet."""
    bench.put()
    kept = bench.authority_file.rename(bench.path / "kept.json")
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench):
        watch.problem("authority.json: cannot be read")
        watch.link.publish(watch.topics.revocation, bench.revocation(), retain=True)
        seen = bench.data / "seen.json"
        assert wait_for(lambda: seen.exists() and DEPLOYMENT in json.loads(seen.read_text())["closed"])
        shutil.copyfile(kept, bench.authority_file)
        watch.problem("is over on this unit", 8)
        assert unit.capture_children() == []


def test_the_control_room_revokes_with_a_command(bench: Bench) -> None:
    """While it is watching alerts: the command has a name of its own at the broker."""
    bench.put()
    revoke = ("authority", "revoke", "--config", "revoke.toml", "--bench", "--deployment", DEPLOYMENT)
    with Watch(bench) as watch, bench.unit():
        watch.ready()
        done = bench.run_command(*revoke, "--unit", UNIT, "--reason", "officers called away")
        assert done.returncode == 0, done.stderr
        assert f"{UNIT}: carried out; CLOSED, camera closed" in done.stdout
        closed = watch.state(Presence.CLOSED)
        assert (closed.rule, closed.reason) == ("R27", "revoked: officers called away")


def test_a_revocation_without_a_broker_is_said_to_have_failed(bench: Bench) -> None:
    config = bench.path / "nowhere.toml"
    config.write_text((bench.path / "revoke.toml").read_text().replace("port = ", "port = 1 #"))
    done = bench.run_command(
        "authority",
        "revoke",
        "--config",
        config.name,
        "--deployment",
        DEPLOYMENT,
        "--unit",
        UNIT,
        "--reason",
        "test",
    )
    assert done.returncode == 2
    assert "BrokerError" in done.stderr
