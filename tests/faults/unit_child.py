"""The unit of a trial: the daemon's own loop, outbox, link and log, with a hand that makes alerts.

No authority lies where the unit looks, so the gate stays LOCKED and no camera exists; what is tried here is
everything behind the camera. The alerts are real: a fixed picture, sealed and signed by `make_alert`.
"""

from __future__ import annotations

import resource
import signal
import threading
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edgeagent.agent import build
from edgeagent.agent.camera import Camera
from edgeagent.agent.custody import Custody
from edgeagent.agent.deployment import Unit
from edgeagent.agent.loading import Loader
from edgeagent.agent.loop import Agent
from edgeagent.agent.progress import Progress
from edgeagent.agent.recorder import Recorder
from edgeagent.alerts.alert import Circumstances, Sealed, make_alert
from edgeagent.alerts.topics import Topics
from edgeagent.audit.log import Journal
from edgeagent.config import load_config
from edgeagent.documents.keys import load_identity
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import AuditError, OutboxError
from edgeagent.safeguards.authority import Authority
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.watchlist import Entry
from edgeagent.system.notify import Notifier
from edgeagent.vision.types import CHIP_SIZE, Chip
from tests.faults import crash_vfs, hooks
from tests.faults.bookkeeping import keep_books
from tests.faults.clock import SteppedClock
from tests.faults.ledger import Ledger, ids, read
from tests.faults.netns import enter
from tests.faults.papers import AUTHORITY

AT_ONCE = 8
"""Alerts made between two turns of the loop at most, so that none of its other duties waits long."""
PACK = "ab" * 32


@dataclass(frozen=True)
class UnitOrder:
    """What one start of the unit is to do.

    Attributes:
        alerts: made in all, over all starts.
        pace: made a second, at most.
        die: step of the outbox, and the how manieth time it is reached, at which the kernel kills the unit.
        record: write every change of the outbox's files to this file, for a power cut.
        namespace: network namespace to live in; empty: the one that it was born in.
        file_limit: octets that no file may exceed; None: no limit.
        capacity: of the outbox; None: the product's.
        lossy: be a unit that loses alerts.
    """

    folder: Path
    alerts: int
    pace: float
    die: tuple[str, int] | None = None
    record: Path | None = None
    namespace: str = ""
    file_limit: int | None = None
    capacity: int | None = None
    lossy: bool = False


def run(order: UnitOrder) -> None:
    """One start of the unit, until SIGTERM or a fault."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _prepare(order)
    ledger = Ledger(order.folder / "unit.jsonl")
    config = load_config(order.folder / "unit.toml")
    unit = Unit(config, load_identity(order.folder / "unit.key"), build.load_trust(config), PACK)
    data, clock = config.data_folder, SteppedClock(order.folder / "clock-unit")
    data.mkdir(parents=True, exist_ok=True)
    seen = HighWater(data / "seen.json")
    with build._outbox(data / "outbox.sqlite") as outbox:
        keep_books(outbox, ledger, clock)
        recorder = Recorder(Journal(data, unit.identity), clock)
        agent = Maker(
            unit,
            clock=clock,
            loader=Loader(unit, seen, _nobody),
            custody=Custody(config, seen, outbox, recorder),
            camera=Camera(_nobody),
            topics=Topics(config.unit.name, bench=True),
            recorder=recorder,
            version="faults",
        )
        agent.order, agent.ledger, agent.made = order, ledger, len(ids(read(ledger.path), "kept"))
        agent.authority = Authority.model_validate_json((order.folder / AUTHORITY).read_bytes())
        link = build._link(config, Topics(config.unit.name, bench=True), agent)
        agent.attach(link)
        link.start()
        agent.run(stop, Progress(Notifier(""), lambda: link.running))


def _prepare(order: UnitOrder) -> None:
    enter(order.namespace)
    if order.file_limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_limit, resource.RLIM_INFINITY))
    if order.capacity is not None:
        build.OUTBOX_CAPACITY = order.capacity
    if order.record is not None:
        crash_vfs.record(order.record)
    if order.lossy:
        hooks.release_on_puback()
    if order.die is not None:
        hooks.die_at(*order.die)


def _nobody(*_: Any) -> Any:
    raise AssertionError("there is no camera and no list in this trial")


class Maker(Agent):
    """The daemon, which besides its own work makes alerts as if a camera had given cause."""

    order: UnitOrder
    ledger: Ledger
    authority: Authority
    made: int
    began_ns = 0
    now_made = 0
    done = False

    def _work(self) -> None:
        now = self._clock.now()
        if self.began_ns == 0 and self._link is not None and not self._link.connected:
            super()._work()  # without a connection there is no lease, and no camera
            return
        self.began_ns = self.began_ns or now.monotonic_ns
        due = int(self.order.pace * (now.monotonic_ns - self.began_ns) / SECOND) - self.now_made
        for _ in range(min(due, AT_ONCE)):
            if self.made < self.order.alerts and self._gate.broken is None:
                self._make(self._clock.now())
        super()._work()
        counts = self._despatch.outbox.counts()
        if not self.done and self.made >= self.order.alerts and counts.pending == 0:
            self.done = True
            self.ledger.write("done")

    def _make(self, now: Instant) -> None:
        """As `Agent._alert` does, with the steps that a hit has behind it."""
        sealed = self._sealed(now)
        alert = sealed.alert.alert
        self.ledger.write("begin", id=alert, ns=now.monotonic_ns, ttl=self.authority.alert_ttl_s)
        try:
            self._despatch.note(sealed, timedelta())
            self._despatch.keep(sealed, now)
        except (AuditError, OutboxError):  # and the loop says so, and locks (R25)
            kept = self._despatch.outbox.holds(alert)
            self.ledger.write("kept" if kept else "refused", id=alert)
            raise
        self._sight.ledger = self._sight.ledger.seen(1).alerted()
        self.made += 1
        self.now_made += 1

    def _sealed(self, now: Instant) -> Sealed:
        shade = np.full((CHIP_SIZE, CHIP_SIZE, 3), 90 + self.made % 90, np.uint8)
        about = Circumstances(self.authority, "ef" * 32, 1, now.wall, self.made)
        return make_alert(Hit(0, 0, 0.7, 0.8, 3), SUBJECT, Chip(shade), about, self._unit.identity, now)


SUBJECT = Entry(
    entry="blue-0001",
    person="blue-0001",
    category=Category.TEST_SUBJECT,
    image_basis=ImageBasis.CONSENTED,
    image_taken_on=date(2012, 12, 6),
    under_18=False,
)
