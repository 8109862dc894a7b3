"""Logs as a unit writes them, made in a moment: a few starts, a deployment, alerts, erasures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from edgeagent.agent.recorder import Recorder
from edgeagent.audit.events import (
    AlertMade,
    AlertReceived,
    AlertsGone,
    CameraMoved,
    DeploymentLoaded,
    Erased,
    Event,
    GateMoved,
    LeaseHeld,
    Refused,
    Signer,
    Started,
    Stopped,
    Tally,
)
from edgeagent.audit.log import FOLDER, USUAL, Journal, Limits
from edgeagent.audit.segments import segments
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import CameraState
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category, UseCase
from edgeagent.safeguards.gate import State
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.clock import Clock
from tests.desk import DEPLOYMENT, NOW, PACK_SHA256, START, Desk

DESK = Desk()
OFFICER = Signer(name="Inspector A", role=Role.AUTHORISING_OFFICER, kid="A" * 43)
ROOM = Signer(name="Control room", role=Role.CONTROL_ROOM, kid="B" * 43)


def started(boot: int = 1) -> Started:
    return Started(boot=f"{boot:016x}", version="1.0", model_pack_sha256=PACK_SHA256)


def loaded() -> DeploymentLoaded:
    return DeploymentLoaded(
        kind=Kind.LIVE,
        deployment=DEPLOYMENT,
        site="High Street",
        use_case=UseCase.HOTSPOT,
        urgent=False,
        start=START,
        end=START + timedelta(hours=6),
        authority_sha256="01" * 32,
        watchlist_sha256="02" * 32,
        model_pack_sha256=PACK_SHA256,
        certificate_sha256="03" * 32,
        threshold=0.64,
        margin=0.05,
        agreeing_frames=3,
        retention_h=24.0,
        entries=2,
        counts={Category.WANTED_ON_WARRANT: 1, Category.TEST_SUBJECT: 1},
        under_18=0,
        signers=(OFFICER,),
    )


def tally(number: int) -> Tally:
    return Tally(
        frames=number * 900,
        passed=number * 20,
        processed=number * 700,
        deleted=number * 700,
        in_live_alerts=0,
        compared=number * 650,
        leases=number * 30,
    )


def alert_made(number: int) -> AlertMade:
    return AlertMade(
        alert=f"{number:032x}",
        category=Category.WANTED_ON_WARRANT,
        score=0.71,
        threshold=0.64,
        capture_to_alert_ms=312.5,
    )


def period(minutes: int) -> Iterator[tuple[float, Event]]:
    """One period of use: what happens, and how many seconds after what was before."""
    yield 1, LeaseHeld(sequence=1, officers=4, signer=ROOM)
    yield 0, GateMoved(before=State.STANDBY, after=State.LIVE, rule="R16", why="lease held")
    yield 0.4, CameraMoved(state=CameraState.OPEN)
    for minute in range(1, minutes + 1):
        yield 30, alert_made(minute)
        yield 1, AlertReceived(alert=f"{minute:032x}", signer=ROOM)
        yield 29, tally(minute)
    yield 6, CameraMoved(state=CameraState.CLOSED, lapse_to_closed_ms=41.0)
    yield 0, GateMoved(before=State.LIVE, after=State.STANDBY, rule="R16", why="no lease")


def day(minutes: int = 4) -> Iterator[tuple[float, Event]]:
    """A deployment from its documents to their destruction."""
    yield 5, Refused(what="watchlist: cannot be read", rule="")
    yield 2, loaded()
    yield 0, GateMoved(before=State.LOCKED, after=State.STANDBY, rule="R16", why="no lease")
    yield from period(minutes)
    yield from period(minutes)
    yield 1, AlertsGone(how="expired", count=2)
    yield 1, GateMoved(before=State.STANDBY, after=State.CLOSED, rule="R14", why="the authority has ended")
    yield 0, Erased(what="deployment_key", deployment=DEPLOYMENT, why="R6")
    yield 0, Erased(what="watchlist_file", deployment=DEPLOYMENT, why="R6")


class Writer:
    """A journal with a clock that the test moves."""

    def __init__(self, data: Path, who: Identity | None = None, limits: Limits = USUAL) -> None:
        self.data, self.who, self.limits = data, who or DESK.unit, limits
        self.now: Instant = NOW
        self.boots = itertools.count(1)
        self.journal = Journal(data, self.who, limits)

    def wait(self, seconds: float) -> None:
        step = timedelta(seconds=seconds)
        self.now = Instant(
            self.now.monotonic_ns + int(seconds * SECOND), self.now.wall + step, synchronised=True
        )

    def start(self) -> None:
        """A start of the daemon, whatever became of the one before."""
        self.wait(10)
        self.journal = Journal(self.data, self.who, self.limits)
        self.journal.start(started(next(self.boots)), self.now, clock_trusted=True)

    def write(self, event: Event) -> None:
        self.journal.write(event, self.now, clock_trusted=True)

    def run(self, events: Iterator[tuple[float, Event]]) -> None:
        for seconds, event in events:
            self.wait(seconds)
            self.write(event)
            self.journal.tick(self.now, clock_trusted=True)


def make_log(
    data: Path, who: Identity | None = None, *, starts: int = 3, minutes: int = 4, limits: Limits = USUAL
) -> list[Path]:
    """A log of some starts; its files."""
    data.mkdir(parents=True, exist_ok=True)
    writer = Writer(data, who, limits)
    for number in range(starts):
        writer.start()
        writer.run(day(minutes))
        if number != 1:  # the second ends without a word
            writer.write(Stopped())
    return log_files(data)


def log_files(data: Path) -> list[Path]:
    return [path for _, path in segments(data / FOLDER)]


def started_recorder(data: Path, who: Identity, clock: Clock) -> Recorder:
    """What an agent writes its log with, for a test that makes the agent's turns itself."""
    recorder = Recorder(Journal(data, who), clock)
    recorder.start(started())
    return recorder
