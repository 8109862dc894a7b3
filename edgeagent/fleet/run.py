"""A whole run: control room, processes of units, script, and at the end the account of every alert."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from edgeagent.errors import BrokerError, EdgeAgentError, SafeguardError
from edgeagent.fleet.child import Child, Told
from edgeagent.fleet.desk import DATABASE
from edgeagent.fleet.diary import lost
from edgeagent.fleet.ledger import Ledger
from edgeagent.fleet.names import unit_name
from edgeagent.fleet.office import Office
from edgeagent.fleet.script import victims
from edgeagent.fleet.settings import FleetBroker, Scenario, check_certificates
from edgeagent.fleet.tasks import Tasks
from edgeagent.fleet.usage import Usage, usage
from edgeagent.fleet.wire import (
    CableReport,
    CableTask,
    DeskReport,
    DeskTask,
    Failure,
    Order,
    UnitsReport,
    WorkerTask,
)

DUTY_S = 3.0
"""A live unit says its state every two seconds; whoever hears none for so long is alone with the bench."""
START_S = 60.0
CONNECT_S = 300.0
LOOK_S = 0.2
ERRORS, LAST_WORDS = "errors.log", 200

Tell = Callable[[str, float], None]
"""Told often: what is being done (empty: the same), and how much of the script is over, 0 to 1.

Between two steps; it may raise KeyboardInterrupt.
"""


@dataclass(frozen=True)
class Incident:
    """Something that happens to the fleet, `at_s` after the start."""

    at_s: float
    name: str
    act: Callable[[], None]


class Fleet:
    """The processes of one run. Use as a context manager: however it ends, they end too."""

    def __init__(self, scenario: Scenario, broker: FleetBroker, folder: Path, tell: Tell) -> None:
        """Make everybody's keys; nothing is started.

        Raises:
            KeyFileError: a TLS certificate is missing.
        """
        check_certificates(broker, scenario.units)
        self.scenario = scenario
        self.ledger = Ledger()
        self._broker = broker
        self._folder = folder.resolve()
        self._tell = tell
        office = Office.new(scenario.units, datetime.now(UTC))
        self._tasks = Tasks(scenario, broker, office, self._folder)
        self._reports: queue.Queue[Told] = queue.Queue()
        self._children: dict[str, Child] = {}
        self._workers = self._tasks.workers()
        self._share = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.kill()

    @property
    def worker_pids(self) -> list[int]:
        """Of the processes of units."""
        return [self._children[name].pid for name in self._workers if name in self._children]

    @property
    def desk_pid(self) -> int:
        """Of the control room's process."""
        return self._children["desk"].pid

    def start(self) -> None:
        """Connect everybody, and listen for so long that a live unit would have been heard. No hit before.

        Raises:
            BrokerError: it cannot be reached.
            SafeguardError: R33, a live unit uses this broker.
        """
        self._tell("starting the control room", 0.0)
        if self.scenario.outages:
            self._start("cable", "edgeagent.fleet.cable", CableTask(sockets=tuple(self._tasks.cables())))
            self._until(lambda: self.ledger.cable_whole is True, START_S, "the cable does not start")
        self._start("desk", "edgeagent.fleet.desk", self._tasks.desk())
        self._until(self._desk_connected, START_S, "the control room cannot connect")
        quiet_until = time.monotonic() + DUTY_S
        for name, task in self._workers.items():
            self._start(name, "edgeagent.fleet.worker", task)
        patience_s = CONNECT_S + self.scenario.units / self.scenario.connects_per_s
        self._until(self._all_connected, patience_s, "not every unit could connect")
        self._tell("listening for live units", 0.0)
        self._until(lambda: time.monotonic() >= quiet_until, DUTY_S + START_S, "the control room hangs")

    def play(self, incidents: Sequence[Incident]) -> None:
        """Make hits and incidents until the script is over, then wait until every outbox is empty.

        Raises:
            EdgeAgentError: a process failed, or not everything was delivered or expired in time.
        """
        self.ledger.zero, self.ledger.zero_epoch = _both_clocks()
        for name in self._workers:
            self._children[name].order(Order(order="begin", zero=self.ledger.zero))
        for incident in sorted([*incidents, *self._scripted()], key=lambda one: one.at_s):
            self._wait_until(incident.at_s)
            self._tell(incident.name, incident.at_s / self.scenario.seconds)
            incident.act()
        self._wait_until(self.scenario.seconds)
        self._share = 1.0
        self._tell("waiting for the last receipts", 1.0)
        self._until(self._settled, self.scenario.drain_s, "alerts are still in their outboxes")

    def stop(self) -> None:
        """End every process in order; `ledger` is then complete."""
        self._tell("stopping", 1.0)
        names = [*self._workers, "desk", *(["cable"] if "cable" in self._children else [])]
        for group in (list(self._workers), names[len(self._workers) :]):
            for name in group:
                self._children[name].order(Order(order="stop"))
            for name in group:
                self._children[name].finish()
        self._pull_what_is_left()

    def kept(self) -> int:
        """Alerts in the control room's own database, each once."""
        with contextlib.closing(sqlite3.connect(self._folder / DATABASE)) as db:
            return int(db.execute("SELECT count(*) FROM received").fetchone()[0])

    def lost(self) -> list[str]:
        """Ids of alerts that nobody can account for. Once every process has ended."""
        units = [self._folder / unit_name(number) for number in range(self.scenario.units)]
        return lost([data for data in units if data.exists()], self._folder / DATABASE)

    def usages(self) -> dict[str, Usage]:
        """Memory and processor time so far, by part."""
        return {
            "units": usage(self.worker_pids),
            "desk": usage([self.desk_pid]),
            "broker": usage(self._broker.pids),
        }

    def wait(self, seconds: float) -> None:
        """Let it go on for so long."""
        until = time.monotonic() + seconds
        self._until(lambda: time.monotonic() >= until, seconds + START_S, "the simulation hangs")

    # --- script -------------------------------------------------------------------------------------------

    def _scripted(self) -> Iterator[Incident]:
        names = list(self._workers)
        for at_s, index in victims(self.scenario):
            yield Incident(at_s, f"killing {names[index]}", self._killing(names[index]))
        for outage in self.scenario.outages:
            yield Incident(outage.at_s, "cutting the network", lambda: self._cable("cut"))
            yield Incident(outage.at_s + outage.lasts_s, "mending the network", lambda: self._cable("mend"))

    def _killing(self, name: str) -> Callable[[], None]:
        def act() -> None:
            self._children[name].kill()
            # All at once this time: whoever was killed does not queue.
            again = self._workers[name].model_copy(update={"connect_gap_s": 0.0})
            self._start(name, "edgeagent.fleet.worker", again)
            self._children[name].order(Order(order="begin", zero=self.ledger.zero))

        return act

    def _cable(self, order: str) -> None:
        self._children["cable"].order(Order.model_validate({"order": order}))

    def _start(self, name: str, module: str, task: WorkerTask | DeskTask | CableTask) -> None:
        self.ledger.units.pop(name, None)
        self._children[name] = Child(module, name, task, self._folder / ERRORS, self._reports)

    # --- waiting ------------------------------------------------------------------------------------------

    def _wait_until(self, at_s: float) -> None:
        while (left := self.ledger.zero + at_s - time.monotonic()) > 0:
            self._share = (at_s - left) / self.scenario.seconds
            self._pull(min(left, LOOK_S))

    def _until(self, condition: Callable[[], bool], seconds: float, failing: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise self._failed(failing)
            self._pull(LOOK_S)

    def _failed(self, what: str) -> EdgeAgentError:
        desk, totals = self.ledger.desk, self.ledger.totals
        why = f"; {desk.problem}" if desk is not None and desk.problem else ""
        return BrokerError(
            f"{what} ({self.ledger.connected} of {self.scenario.units} connected, "
            f"{totals.pending} pending{why})",
            where=f"{self._broker.host}:{self._broker.ports[0]}",
            next_step="read the broker's log; look at its limits on connections and messages",
        )

    def _pull(self, seconds: float) -> None:
        self._tell("", self._share)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self._take(*self._reports.get(timeout=left))
            except queue.Empty:
                break
        ended = [child for child in self._children.values() if not child.running]
        for child in ended:
            child.heard_out()
        while ended and not self._reports.empty():
            self._take(*self._reports.get())  # one of them may say why
        for child in ended:
            raise EdgeAgentError(
                f"ended by itself ({self._last_words()})",
                where=child.name,
                next_step="report this; --folder keeps errors.log",
            )

    def _last_words(self) -> str:
        lines = (self._folder / ERRORS).read_text(errors="replace").splitlines()
        return lines[-1][:LAST_WORDS] if lines else "without a word"

    def _pull_what_is_left(self) -> None:
        """The last lines, which their threads may still be reading."""
        deadline = time.monotonic() + START_S
        while not self._complete() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._take(*self._reports.get(timeout=LOOK_S))

    def _complete(self) -> bool:
        desk = self.ledger.desk
        return desk is not None and desk.last and all(report.last for report in self.ledger.units.values())

    def _take(self, child: Child, report: UnitsReport | DeskReport | CableReport | Failure) -> None:
        if isinstance(report, Failure):
            raise _error(report, child.name)
        if isinstance(report, DeskReport) and report.live_unit:
            raise SafeguardError(
                f"a live unit ({report.live_unit}) uses this broker",
                where=f"{self._broker.host}:{self._broker.ports[0]}",
                next_step="simulate on a broker of its own, never on one that is on duty",
                rule="R33",
            )
        if isinstance(report, UnitsReport) and self._children.get(child.name) is not child:
            # A line of a process that was killed: its alerts count, its state is past.
            self.ledger.released += report.released
            return
        self.ledger.take(child.name, report)

    def _desk_connected(self) -> bool:
        return self.ledger.desk is not None and self.ledger.desk.connected

    def _all_connected(self) -> bool:
        connected = self.ledger.connected
        self._tell(f"{connected} of {self.scenario.units} units connected", 0.0)
        return connected == self.scenario.units and len(self.ledger.units) == len(self._workers)

    def _settled(self) -> bool:
        """Every process has said, after the script's end, that its units are connected and owe nothing."""
        end = self.ledger.zero + self.scenario.seconds
        news = [report for report in self.ledger.units.values() if report.at > end]
        owed = sum(report.totals.pending for report in news)
        return sum(report.connected for report in news) == self.scenario.units and owed == 0


def _both_clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _error(report: Failure, name: str) -> EdgeAgentError:
    kind = SafeguardError if report.rule else EdgeAgentError
    return kind(report.what, where=f"{name}: {report.where}", next_step=report.next_step, rule=report.rule)
