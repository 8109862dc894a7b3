"""A process of simulated units, `python -m edgeagent.fleet.worker`; started by the simulation only."""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import queue
import time
from datetime import timedelta
from pathlib import Path

from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.trust import TrustStore, open_trust_store
from edgeagent.errors import EdgeAgentError
from edgeagent.fleet.hits import BenchPaper, bench_alert
from edgeagent.fleet.office import unpacked
from edgeagent.fleet.unit import FleetUnit, settings_of
from edgeagent.fleet.wire import (
    Order,
    Seat,
    Totals,
    UnitsReport,
    WorkerTask,
    failure,
    first_line,
    orders,
    say,
)
from edgeagent.system.clock import SystemClock

REPORT_EVERY_S = 0.25
YIELDS = 15
"""Niceness: the broker and the control room go first, as units in the field take no processor from them."""
TURN_S = 0.02
"""Adds 10 ms on average to the moment at which a unit sees its receipt; the daemon has 50 ms, or a frame."""


class Worker:
    """Units that share one process and one thread, each with its own files and its own link."""

    def __init__(self, task: WorkerTask) -> None:
        """Open every unit's files.

        Raises:
            EdgeAgentError: what cannot be used; R33 for anything but simulated units under a bench authority.
        """
        self._task = task
        self._clock = SystemClock()
        trust = open_trust_store(unbase64url(task.trust), task.root)
        self._papers: dict[str, BenchPaper] = {}
        self._units = [self._unit(seat, trust) for seat in task.seats]
        self._hits = [(at_s, index) for index, seat in enumerate(task.seats) for at_s in seat.hits]
        heapq.heapify(self._hits)
        self._zero: float | None = None
        self._zero_wall = self._clock.now().wall
        self._captured: dict[str, float] = {}
        self._released: list[tuple[float, float]] = []
        self._late_ms = 0.0
        self._number = 0
        self._report_at = 0.0

    def run(self, coming: queue.Queue[Order]) -> None:
        """Until the order to stop; what is pending stays in the outboxes."""
        self._connect()
        while True:
            try:
                order = coming.get(timeout=TURN_S)
            except queue.Empty:
                pass
            else:
                if order.order == "stop":
                    break
                self._begin(order.zero)
            self._turn()
        for unit in self._units:
            unit.leave()
        for unit in self._units:
            unit.close()
        self._report(last=True)

    def _unit(self, seat: Seat, trust: TrustStore) -> FleetUnit:
        identity = unpacked(seat.holder, Role.UNIT)
        if seat.authority not in self._papers:
            now = self._clock.now()
            self._papers[seat.authority] = BenchPaper.of(unbase64url(seat.authority), trust, now)
        return FleetUnit(
            identity,
            Path(self._task.folder) / identity.name,
            trust,
            settings_of(identity.name, seat.endpoint),
            clock=self._clock,
            paper=self._papers[seat.authority],
            state_every_s=self._task.state_every_s,
            seed=self._task.seed * 1_000_003 + seat.number,
        )

    def _connect(self) -> None:
        """One after the other, so that the start itself is no storm."""
        for unit in self._units:
            unit.start()
            until = time.monotonic() + self._task.connect_gap_s
            while (left := until - time.monotonic()) > 0:
                self._turn()
                time.sleep(min(left, TURN_S))

    def _begin(self, zero: float) -> None:
        self._zero = zero
        self._zero_wall = self._clock.now().wall - timedelta(seconds=time.monotonic() - zero)
        # What a dead process would have seen is not made up for: nobody looked.
        now = time.monotonic() - zero
        while now > 0 and self._hits and self._hits[0][0] < now:
            heapq.heappop(self._hits)

    def _turn(self) -> None:
        if self._zero is not None:
            while self._hits and self._hits[0][0] <= time.monotonic() - self._zero:
                self._hit(*heapq.heappop(self._hits))
                self._look()
        self._look()

    def _look(self) -> None:
        monotonic = time.monotonic()
        for unit in self._units:
            for alert in unit.turn(monotonic):
                self._note_release(alert)
        if monotonic >= self._report_at:
            self._report(last=False)

    def _hit(self, at_s: float, index: int) -> None:
        """The capture was at the scripted moment; what this process is late counts as delay."""
        unit = self._units[index]
        paper = unit.paper
        if paper is None:
            return
        now, captured_at = self._clock.now(), self._zero_wall + timedelta(seconds=at_s)
        age = max(now.wall - captured_at, timedelta())
        self._late_ms = max(self._late_ms, age.total_seconds() * 1000)
        self._number += 1
        sealed = bench_alert(unit.identity, paper, self._number, captured_at, now)
        self._captured[sealed.alert.alert] = at_s
        unit.hit(sealed, age)

    def _note_release(self, alert: str) -> None:
        at_s = self._captured.pop(alert, None)  # of an earlier life of this process, unknown
        if at_s is not None and self._zero is not None:
            self._released.append((at_s, (time.monotonic() - self._zero - at_s) * 1000))

    def _report(self, *, last: bool) -> None:
        self._report_at = time.monotonic() + REPORT_EVERY_S
        counts = [unit.counts for unit in self._units]
        links = [unit.link.counts for unit in self._units]
        names = Totals.model_fields
        say(
            UnitsReport(
                at=time.monotonic(),
                connected=sum(unit.connected for unit in self._units),
                totals=Totals(**{name: sum(getattr(one, name) for one in counts) for name in names}),
                released=tuple(self._released),
                late=self._late_ms,
                connections=sum(link.connections for link in links),
                published=sum(link.published for link in links),
                overflow=sum(link.overflow for link in links),
                last=last,
            )
        )
        self._released.clear()


def yield_to_others() -> None:
    """This process and its session come after the broker and the control room."""
    os.nice(YIELDS)
    with contextlib.suppress(OSError):  # where the kernel shares by session, niceness counts within it only
        Path("/proc/self/autogroup").write_text(str(YIELDS))


def main() -> None:
    """Read the task, do it, say how it went."""
    logging.getLogger("edgeagent").setLevel(logging.ERROR)
    yield_to_others()
    try:
        task = first_line(WorkerTask)
        Worker(task).run(orders())
    except EdgeAgentError as error:
        say(failure(error))


if __name__ == "__main__":
    main()
