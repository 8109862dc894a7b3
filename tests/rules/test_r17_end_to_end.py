"""R17 end to end by the real commands: false alerts stop a unit, and nothing but a review resumes it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Self

import pytest

from edgeagent.documents.keys import Identity, Role, save_identity
from edgeagent.documents.messages import CameraState, Presence
from edgeagent.documents.table import REVIEW, REVOCATION
from edgeagent.safeguards.alert_rate import RateReview
from tests.bench_unit import DEPLOYMENT, START_S, UNIT, Bench, Officers, Process, Watch, wrapped
from tests.broker_tools import wait_for
from tests.desk import raw_document

pytest_plugins = ["tests.bench_fixtures"]

KEYS = (Role.OPERATOR, Role.OFFICER, Role.AUTHORISING_OFFICER)


@pytest.fixture
def strict(bench: Bench) -> Bench:
    """A bench whose profile stops at the second false alert, with everybody's key in a file."""
    bench.office.profile |= {"false_alerts_most": 1, "overdue_alerts_most": 0}
    (bench.path / "trust.json").write_bytes(bench.office.trust_document())
    for role in KEYS:
        save_identity(bench.office[role], bench.path / f"{role}.key")
    bench.put()
    return bench


class Room:
    """The real `edgeagent alerts watch` and the commands beside it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        (bench.path / "watch.log").unlink(missing_ok=True)
        command = bench.command("alerts", "watch", "--config", "alerts.toml", "--bench", "--json")
        self.process = Process(command, bench.path, "watch.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.__exit__()

    def said(self, event: str) -> Iterator[dict[str, Any]]:
        for line in self.process.said().splitlines():
            if line.startswith("{") and line.endswith("}"):
                told = json.loads(line)
                if told["event"] == event:
                    yield told

    def state(self, **facts: Any) -> dict[str, Any]:
        """Wait for a state that says so, after all those that came before this call."""
        seen = len(list(self.said("state")))

        def found() -> list[dict[str, Any]]:
            later = list(self.said("state"))[seen:]
            return [one for one in later if all(one[key] == value for key, value in facts.items())]

        assert wait_for(found, START_S), (facts, self.process.said()[-2000:])
        return found()[0]

    def alerts(self, count: int) -> list[str]:
        wait_for(lambda: len(list(self.said("alert"))) >= count, START_S)
        made = list(dict.fromkeys(alert["alert"] for alert in self.said("alert")))
        assert len(made) >= count, self.process.said()[-2000:]
        return made

    def command(self, *arguments: str, ok: bool = True) -> str:
        done = self.bench.run_command(*arguments)
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout if ok else done.stderr

    def waiting(self) -> dict[str, str]:
        said = self.command("alerts", "open", "--config", "alerts.toml", "--json")
        return {one["alert"]: one["waits_for"] for one in json.loads(said)}

    def decide(self, alert: str, choice: str, ok: bool = True) -> str:
        key = ("--key", "operator.key", "--config", "alerts.toml")
        return self.command("alerts", "decide", alert, choice, *key, ok=ok)

    def conclude(self, alert: str, finding: str, outcome: str, key: str = "officer", ok: bool = True) -> str:
        said = ("--finding", finding, "--outcome", outcome, "--key", f"{key}.key", "--config", "alerts.toml")
        return self.command("alerts", "outcome", alert, *said, ok=ok)


def audit_events(bench: Bench) -> list[dict[str, Any]]:
    """Bodies of the unit's audit log."""
    lines = [
        line for file in sorted(bench.data.rglob("audit-*.jsonl")) for line in file.read_text().splitlines()
    ]
    return [body for line in lines if isinstance(body := json.loads(line).get("body"), dict)]


@pytest.mark.timeout(240)
def test_false_alerts_stop_a_bench_and_a_restart_lifts_nothing(strict: Bench) -> None:
    with Officers(strict):
        with Room(strict) as room, strict.unit() as unit:
            room.state(state="LIVE", camera="open")
            _judge_three(room)
            stopped = room.state(state="STANDBY", rule="R17", camera="closed")
            assert (stopped["rate"]["suspended"], stopped["rate"]["false_alerts"]) == (True, 2)
            assert "a signed review is needed" in stopped["reason"]
            assert stopped["buffers_wiped"]
            assert unit.capture_children() == []
            unit.signal(signal.SIGKILL)
            unit.wait(60)
        with Watch(strict) as watch, strict.unit() as unit:
            assert watch.state(Presence.STANDBY, rule="R17").rate is not None
            _refuses_forgeries(strict, watch, unit, stopped["rate"])
    told = [body["event"] for body in audit_events(strict)]
    assert (told.count("judged"), told.count("rate_suspended"), told.count("rate_reviewed")) == (3, 1, 0)


@pytest.mark.timeout(240)
def test_a_signed_review_resumes_it_once(strict: Bench) -> None:
    with Officers(strict), Room(strict) as room, strict.unit() as unit:
        room.state(state="LIVE", camera="open")
        _reject(room, room.alerts(2))
        stopped = room.state(state="STANDBY", rule="R17", camera="closed")
        _review(room, stopped["rate"])
        resumed = room.state(state="LIVE", camera="open")
        assert resumed["rate"]["false_alerts"] == 0
        assert not resumed["rate"]["suspended"]
        _a_new_suspension_takes_no_old_review(room)
        assert wait_for(lambda: unit.capture_children() == [], 3.0)
    told = [body["event"] for body in audit_events(strict)]
    assert (told.count("rate_suspended"), told.count("rate_reviewed")) == (2, 1)


def _reject(room: Room, alerts: list[str]) -> None:
    for alert in alerts[:2]:
        room.decide(alert, "--reject")


def _judge_three(room: Room) -> None:
    """One true, then two false, each with what the desk must refuse on the way."""
    right, rejected, wrong = room.alerts(3)[:3]
    assert room.waiting()[right] == "operator"
    assert "no operator's decision" in room.conclude(right, "confirmed_match", "no_action", ok=False)
    room.decide(right, "--engage")
    assert room.waiting()[right] == "officer"
    assert "is a operator key" in room.conclude(right, "confirmed_match", "no_action", "operator", ok=False)
    assert "true, confirmed" in room.conclude(right, "confirmed_match", "no_action")
    assert right not in room.waiting()
    assert "decided already" in room.decide(right, "--reject", ok=False)
    room.decide(rejected[:10], "--reject")
    assert wait_for(lambda: list(room.said("state"))[-1]["rate"]["false_alerts"] == 1, START_S)
    room.decide(wrong, "--engage")
    assert "false, confirmed" in room.conclude(wrong, "confirmed_no_match", "no_action")


def _refuses_forgeries(bench: Bench, watch: Watch, unit: Process, rate: dict[str, Any]) -> None:
    """The wrong person, another deployment or unit, another number or name, no review at all."""
    made: int = rate["alerts"]
    office = bench.office
    said: dict[str, Any] = {
        "unit": UNIT,
        "deployment": DEPLOYMENT,
        "alerts": made,
        "suspension": rate["suspension"],
        "reviewed_at": datetime.now(UTC),
        "reason": "forged, as a test of the guard",
    }

    def signed(who: Identity, **changes: Any) -> bytes:
        payload = RateReview(**(said | changes)).model_dump_json().encode()
        return wrapped("review", raw_document(REVIEW, payload, who))

    officer = office[Role.AUTHORISING_OFFICER]
    forged = [signed(office[role]) for role in Role if role is not Role.AUTHORISING_OFFICER]
    forged += [signed(type(office)(seed=1)[Role.AUTHORISING_OFFICER])]
    forged += [signed(officer, deployment="another-street"), signed(officer, unit="unit-02")]
    forged += [signed(officer, alerts=made + 1), signed(officer)[:-50], b"", bench.revocation()]
    forged += [signed(officer, suspension="5a" * 16)]
    if made > 1:
        forged.append(signed(officer, alerts=made - 1))
    wrong_typ = raw_document(REVOCATION, signed(officer), officer)
    forged.append(wrapped("review", wrong_typ))
    refused = unit.said().count("refused ")
    for message in forged:
        watch.link.publish(watch.topics.review, message)
        time.sleep(0.05)
    assert wait_for(lambda: unit.said().count("refused ") >= refused + len(forged), 60), unit.said()
    until = time.monotonic() + 3.0  # officers go on holding the lease
    while time.monotonic() < until:
        watch.take(0.1)
    assert {state.rule for state in watch.states if state.deployment} <= {"R16", "R12", "R17"}
    assert all(state.camera is not CameraState.OPEN for state in watch.states)
    assert watch.last.rule == "R17"
    assert unit.capture_children() == []


def _review(room: Room, rate: dict[str, Any]) -> None:
    reason = "two strangers under a low sun; the camera was turned and tried again"
    said = ("--unit", UNIT, "--deployment", DEPLOYMENT, "--alerts", str(rate["alerts"]), "--reason", reason)
    named = ("--suspension", str(rate["suspension"]))
    room.command("rate", "review", *said, *named, "--key", "authorising_officer.key", "--out", "review.json")
    assert "will be sent" in room.command("rate", "submit", "review.json", "--config", "alerts.toml")
    verified = room.command("documents", "verify", "review.json", "--config", "unit.toml")
    assert reason[:20] in verified


def _a_new_suspension_takes_no_old_review(room: Room) -> None:
    """The desk still has the first review and sends it; it names fewer alerts, and another suspension."""
    before = set(room.alerts(1))
    assert wait_for(lambda: len(set(room.alerts(1)) - before) >= 2, START_S)
    _reject(room, list(set(room.alerts(1)) - before))
    stopped = room.state(state="STANDBY", rule="R17")
    time.sleep(3.0)
    later = room.state(state="STANDBY", rule="R17")
    assert later["rate"]["suspended"]
    assert later["sequence"] > stopped["sequence"]


def test_alerts_that_nobody_judges_stop_a_bench(strict: Bench) -> None:
    strict.office.profile |= {"verdict_within_s": 1.0}
    (strict.path / "trust.json").write_bytes(strict.office.trust_document())
    with Watch(strict) as watch, strict.unit() as unit, Officers(strict):
        watch.state(Presence.LIVE, camera=CameraState.OPEN)
        stopped = watch.state(Presence.STANDBY, 25, rule="R17")
        assert "more than 0 without a verdict" in stopped.reason
        assert wait_for(lambda: unit.capture_children() == [], 1.0)
