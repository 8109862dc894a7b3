"""R1 end to end: in every state that a real unit publishes, each face is deleted or in a living alert."""

from __future__ import annotations

import time

from edgeagent.documents.deployment_key import key_file
from edgeagent.documents.messages import CameraState, Presence, UnitState
from tests.bench_unit import DEPLOYMENT, Bench, Officers, Watch

pytest_plugins = ["tests.bench_fixtures"]


def _balances(state: UnitState) -> None:
    faces, alerts = state.faces, state.alerts
    assert faces.processed == faces.deleted + faces.in_live_alerts, state
    gone = alerts.received + alerts.expired + alerts.displaced + alerts.discarded
    assert alerts.made == alerts.pending + gone, state
    assert faces.in_live_alerts == alerts.pending, state
    assert state.buffers_wiped or state.camera is not CameraState.CLOSED, state


def test_the_ledger_balances_in_every_state_over_crowds_receipts_lapses_and_kills(bench: Bench) -> None:
    bench.put()
    with Watch(bench, receipts=False) as watch:
        with bench.unit() as unit, Officers(bench):
            watch.state(Presence.LIVE)
            watch.until(lambda: len({a.alert.alert for a in watch.alerts}) >= 2)
            watch.until(lambda: watch.last.faces.in_live_alerts >= 2)  # no receipts yet: they live
            assert watch.last.faces.processed > 20, "a crowd was meant to pass"
            watch.receipts = True
            watch.until(lambda: watch.last.faces.in_live_alerts == 0)
            watch.receipts = False
            made = watch.last.alerts.made
            watch.until(lambda: watch.last.alerts.made > made)
            unit.kill()  # with an alert in the outbox
        first = len(watch.states)
        with bench.unit():
            watch.until(lambda: any(s.state is not Presence.LOST for s in watch.states[first:]))
            carried = watch.last
            assert carried.faces.processed == carried.faces.in_live_alerts >= 1
            watch.receipts = True
            watch.until(lambda: watch.last.alerts.pending == 0)
            assert watch.last.faces.deleted == watch.last.faces.processed
        lost = watch.states[first - 1 :]
        for state in watch.states:
            _balances(state)
    assert len(watch.states) >= 8
    assert lost
    assert len({arrival.alert.alert for arrival in watch.alerts if arrival.first}) == len(
        [arrival for arrival in watch.alerts if arrival.first]
    ), "one alert was shown twice"


def test_when_the_camera_is_closed_nothing_is_left_in_the_data_folder_but_sealed_alerts(bench: Bench) -> None:
    """No picture, no template, no name of a file that could hold one."""
    bench.put()
    with Watch(bench) as watch, bench.unit():
        with Officers(bench):
            watch.state(Presence.LIVE)
            watch.until(lambda: watch.alerts)
            crop = watch.alerts[0].crop
        watch.state(Presence.STANDBY)
        watch.until(lambda: watch.last.alerts.pending == 0)
        time.sleep(0.2)
        files = sorted(path for path in (bench.path / "data").rglob("*") if path.is_file())
        key = key_file(bench.data, DEPLOYMENT)
        assert {path.name.split(".")[0] for path in files if path != key} <= {
            "outbox",
            "seen",
            "audit-000001",
            "audit-newest",
            "health",  # temperature and the like (health.prom)
            DEPLOYMENT,  # the record of its alert rate (R17)
        }
        for path in files:
            content = path.read_bytes()
            assert crop not in content
            assert crop[100:160] not in content
            assert b"\xff\xd8\xff" not in content, f"a JPEG in {path.name}"
            assert watch.alerts[0].alert.crop.encode() not in content, "a delivered alert was kept (R3)"
