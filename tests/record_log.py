"""Logs for records: what happened on a unit, as lines for figures or signed by the product's own journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from edgeagent.audit.events import (
    AlertMade,
    CameraMoved,
    DeploymentLoaded,
    Entry,
    Event,
    GateMoved,
    Judged,
    LeaseHeld,
    RateReviewed,
    RateSuspended,
    Refused,
    Signer,
    Started,
    Stopped,
    Tally,
)
from edgeagent.audit.log import FOLDER, Journal
from edgeagent.controlroom.record.stretches import UnitLog
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import CameraState
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category, UseCase
from edgeagent.safeguards.gate import State
from edgeagent.safeguards.instant import SECOND, Instant
from tests.desk import DEPLOYMENT, END, START, UNIT

OFFICER = Signer(name="A. Officer", role=Role.AUTHORISING_OFFICER, kid="K" * 43)
ROOM = Signer(name="control room", role=Role.CONTROL_ROOM, kid="R" * 43)


def loaded(**changes: Any) -> DeploymentLoaded:
    """An authority taken into use."""
    counts = {
        Category.WANTED_ON_WARRANT: 180,
        Category.SUSPECTED_OF_OFFENCE: 96,
        Category.BREACH_OF_CONDITIONS: 31,
        Category.MISSING_AT_RISK: 3,
        Category.TEST_SUBJECT: 6,
    }
    said: dict[str, Any] = {
        "kind": Kind.LIVE,
        "deployment": DEPLOYMENT,
        "site": "Market Street, Haverbrook",
        "use_case": UseCase.HOTSPOT,
        "urgent": False,
        "start": START,
        "end": END,
        "authority_sha256": "1a" * 32,
        "watchlist_sha256": "2b" * 32,
        "model_pack_sha256": "3c" * 32,
        "certificate_sha256": "4d" * 32,
        "threshold": 0.64,
        "margin": 0.05,
        "agreeing_frames": 3,
        "retention_h": 24.0,
        "counts": counts,
        "under_18": 2,
        "signers": (OFFICER,),
    }
    said |= changes
    return DeploymentLoaded(**({"entries": sum(said["counts"].values())} | said))


def tally(passed: int, processed: int = 0, **changes: Any) -> Tally:
    said: dict[str, Any] = {
        "frames": processed,
        "passed": passed,
        "processed": processed,
        "deleted": processed,
        "in_live_alerts": 0,
        "compared": processed,
        "leases": 0,
    }
    return Tally(**(said | changes))


def alert(number: int, score: float = 0.7, category: Category = Category.WANTED_ON_WARRANT) -> AlertMade:
    return AlertMade(
        alert=f"{number:032x}", category=category, score=score, threshold=0.64, capture_to_alert_ms=31.0
    )


def judged(number: int, operator: str, officer: str, outcome: str = "no_action", **changes: Any) -> Judged:
    said: dict[str, Any] = {
        "alert": f"{number:032x}",
        "test_subject": False,
        "operator": operator,
        "officer": officer,
        "outcome": outcome,
        "decision_s": 10.0,
        "signer": ROOM,
    }
    return Judged(**(said | changes))


def started(boot: int = 1) -> Started:
    return Started(boot=f"{boot:016x}", version="0.1.0", model_pack_sha256="3c" * 32)


def lease(officers: int = 4, sequence: int = 1) -> LeaseHeld:
    return LeaseHeld(sequence=sequence, officers=officers, signer=ROOM)


def gate(before: State, after: State, rule: str = "R16") -> GateMoved:
    return GateMoved(before=before, after=after, rule=rule, why="as it is")


def camera(state: CameraState, lapse: float | None = None) -> CameraMoved:
    return CameraMoved(state=state, lapse_to_closed_ms=lapse)


OPEN, SHUT = CameraState.OPEN, CameraState.CLOSED


@dataclass
class Story:
    """What happened on one unit: events with their seconds since the authority's start, in order."""

    unit: str = UNIT
    told: list[tuple[float, Event]] = field(default_factory=list)
    clock_trusted: bool = True

    def tell(self, seconds: float, *events: Event) -> Story:
        self.told += [(seconds, event) for event in events]
        return self

    def begin(self, seconds: float = -60, boot: int = 1, **changes: Any) -> Story:
        return self.tell(seconds, started(boot), loaded(**changes))

    def up(self, seconds: float, officers: int = 4) -> Story:
        live = gate(State.STANDBY, State.LIVE)
        return self.tell(seconds, lease(officers), live, camera(OPEN))

    def down(self, seconds: float, lapse: float | None = 20.0, after: State = State.STANDBY) -> Story:
        return self.tell(seconds, gate(State.LIVE, after), camera(SHUT, lapse))

    def log(self, *, verified: bool = True) -> UnitLog:
        """Parsed lines, without a signature: for figures."""
        lines = tuple(
            Entry(
                unit=self.unit,
                sequence=number,
                at=moment(seconds),
                clock_trusted=self.clock_trusted,
                monotonic_ns=round((seconds + 10_000) * SECOND),
                before="0" * 64,
                body=event,
            )
            for number, (seconds, event) in enumerate(self.told, 1)
        )
        return UnitLog(self.unit, lines, verified, "verified" if verified else "it does NOT verify")

    def write(self, data: Path, identity: Identity) -> Path:
        """The same by the product's own journal, signed; the folder with the log."""
        journal = Journal(data, identity)
        for seconds, event in self.told:
            now = Instant(round((seconds + 10_000) * SECOND), moment(seconds), synchronised=True)
            if isinstance(event, Started):
                journal = Journal(data, identity)
                journal.start(event, now, clock_trusted=self.clock_trusted)
            else:
                journal.write(event, now, clock_trusted=self.clock_trusted)
        return data / FOLDER


def moment(seconds: float) -> datetime:
    """So long after the authority's start."""
    return START + timedelta(seconds=seconds)


_EVENING = (  # operator, officer, outcome, seconds to decide
    ("engage", "confirmed_match", "arrest", 9.0),
    ("engage", "confirmed_match", "arrest", 14.0),
    ("engage", "confirmed_match", "other_disposal", 11.0),
    ("engage", "confirmed_match", "no_action", 22.0),
    ("engage", "confirmed_match", "arrest", 8.0),
    ("engage", "confirmed_match", "safeguarded", 17.0),
    ("engage", "not_found", "no_action", 12.0),
    ("engage", "not_found", "no_action", 31.0),
    ("engage", "confirmed_no_match", "no_action", 19.0),
    ("reject", "not_engaged", "no_action", 6.0),
    ("reject", "not_engaged", "no_action", 5.0),
)


def evening(seed: int = 1, faces: int = 8000) -> Story:
    """Four hours in an invented market town: 8,000 people, 12 alerts, and test subjects who walk past.

    One of the alerts is never judged; the officers leave once for a quarter of an hour; the guard of the
    alert rate stops matching once, and is reviewed.
    """
    random, minutes = Random(seed), 235
    story = Story().tell(-900, started(), Refused(what="authority: ended", rule="R14"))
    story.tell(-300, Refused(what="watchlist: too old", rule="R6"), loaded()).up(300, officers=6)
    weights = [random.uniform(0.6, 1.4) * (1.6 if 60 < minute < 170 else 1) for minute in range(minutes)]
    open_minutes = [minute for minute in range(minutes) if not 120 <= minute < 135]
    share = faces / sum(weights[minute] for minute in open_minutes)
    when = sorted(random.sample([minute for minute in open_minutes if minute > 5], 17))
    test = set(random.sample(range(17), 5))
    passed, number, public, total = 0.0, 0, 0, 0.0
    for minute in range(minutes):
        at = 300 + minute * 60.0
        if minute == 120:
            story.down(at, 24.0)
        if minute == 135:
            story.up(at, officers=6)
        if minute in open_minutes:
            total += weights[minute] * share
            passed = min(faces, round(total))
            story.tell(at + 50, tally(int(passed), int(passed) * 9, leases=minute * 30))
        if minute in when:
            is_test = number in test
            score = min(0.9, 0.645 + abs(random.gauss(0, 0.07)))
            category = Category.TEST_SUBJECT if is_test else Category.WANTED_ON_WARRANT
            story.tell(at + 55, alert(number, round(score, 4), category))
            if is_test:
                verdict = judged(number, "engage", "confirmed_match", test_subject=True, decision_s=7.0)
                story.tell(at + 57, verdict)
            elif public < len(_EVENING):
                operator, officer, outcome, waited = _EVENING[public]
                story.tell(at + 58, judged(number, operator, officer, outcome, decision_s=waited))
            public += not is_test
            number += 1
        if minute == 150:
            suspended = RateSuspended(false_alerts=2, passed=int(passed), bound=0.0011, limit=0.001)
            story.tell(at + 59, suspended)
            story.tell(at + 59.5, RateReviewed(signers=(OFFICER,)))
    end = 300 + minutes * 60.0
    story.tell(end, tally(faces, faces * 9, leases=minutes * 30)).down(end, 31.0, after=State.CLOSED)
    return story.tell(end + 60, Stopped())
