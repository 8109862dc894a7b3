"""One row of the table at work: broker, unit and control room as processes, and what may happen to them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeagent.demo.broker import HOST
from tests.faults import clock, desk_child, unit_child
from tests.faults.account import Account, Books, account
from tests.faults.desk_child import DeskOrder
from tests.faults.ledger import Ledger, count, ids, read
from tests.faults.netns import Wire
from tests.faults.papers import Papers, Where
from tests.faults.processes import Child
from tests.faults.proxy import Proxy
from tests.faults.remains import received_in, totals_of
from tests.faults.scale import PATIENCE_IN_ALL_S, PATIENCE_S, POLL_S, Scale, Stopped, Stuck
from tests.faults.station import Station
from tests.faults.unit_child import UnitOrder


@dataclass
class Trial:
    """The context of one row. All its files lie in `folder`."""

    folder: Path
    seed: int
    scale: Scale
    stop: threading.Event
    ttl_s: float
    network: str = ""
    early: bool = False
    again: bool = False
    happened: int = 0
    wire: Proxy | Wire | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._open = contextlib.ExitStack()
        self._unit: Child | None = None
        self._desk: Child | None = None
        self._order = UnitOrder(self.folder, self.scale.alerts, self.scale.pace)
        self._desk_order = DeskOrder(self.folder, self.seed)
        self._put_away: set[str] = set()
        self._done_before = 0

    # --- the stage --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in (self._unit, self._desk):
            if child is not None:
                child.kill()
        self._open.close()

    def _build(self) -> None:
        self.folder.mkdir(parents=True)
        host, unit = HOST, None
        if self.network == "namespace":
            self.wire = self._open.enter_context(Wire(self.rng))
            host = self.wire.outside
            self._order = replace(self._order, namespace=self.wire.name)
        self.broker = Station(self.folder / "broker", host)
        self._open.callback(self.broker.running.stop)
        if self.network == "proxy":
            self.wire = self._open.enter_context(Proxy(self.broker.running.port, self.rng))
            unit = Where(HOST, self.wire.port)
        desk = Where(host, self.broker.running.port)
        Papers(self.folder).write(self.broker.running, unit or desk, desk, self.ttl_s)
        for name in ("unit", "desk"):
            clock.step(self.folder / f"clock-{name}", 0.0)

    def enter(self, context: Any) -> Any:
        """Something that lasts as long as the trial; removed after its processes."""
        return self._open.enter_context(context)

    @property
    def outbox(self) -> Path:
        """The unit's outbox."""
        return self.folder / "data" / "bench" / "outbox.sqlite"

    @property
    def database(self) -> Path:
        """The control room's database."""
        return self.folder / "received.sqlite"

    # --- waiting ----------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition as long as anything happens; raises `Stuck` naming it, or `Stopped`."""
        began = moved = time.monotonic()
        written = self._written()
        while not condition():
            now = time.monotonic()
            if self.stop.is_set():
                raise Stopped
            if now > moved + PATIENCE_S or now > began + PATIENCE_IN_ALL_S:
                raise Stuck(f"waited {now - began:.0f} s in vain for {what}")
            time.sleep(POLL_S)
            if (written_now := self._written()) != written:
                moved, written = now, written_now

    def _written(self) -> int:
        ledgers = (self.folder / "unit.jsonl", self.folder / "desk.jsonl")
        return sum(ledger.stat().st_size for ledger in ledgers if ledger.exists())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        if self.stop.wait(seconds):
            raise Stopped

    def outage(self) -> None:
        """Let something be away."""
        self.happened += 1
        self.wait(self.scale.outage_s)

    def until_made(self, share: float) -> None:
        """Wait until that share of the alerts was made, by a unit that lives."""
        wanted = int(self.scale.alerts * share)
        self.until(lambda: self.told("kept") >= wanted or self._unit_ended(), f"{wanted} alerts made")
        self._note_crashes()

    def told(self, what: str, who: str = "unit") -> int:
        """How many lines of a ledger say this."""
        return count(self.folder / f"{who}.jsonl", what)

    # --- the unit ---------------------------------------------------------------------------------------

    def unit(self, **changes: Any) -> None:
        """Start the unit, as before but for the changes."""
        self._done_before = self.told("done")
        self._unit = Child(unit_child.run, replace(self._order, **changes), self.folder / "unit.log")

    def kill_unit(self) -> None:
        """SIGKILL."""
        self.happened += 1
        self._note_crashes()
        assert self._unit is not None
        self._unit.kill()

    def stop_unit(self) -> None:
        """As the service manager does."""
        if self._unit is not None:
            self._note_crashes()
            if not self._unit.end():
                self._crashed("unit", "did not end when asked to")
            self._unit = None

    def unit_died(self) -> bool:
        """Wait until it dies as it was ordered to; False when it got through all its alerts first."""
        assert self._unit is not None
        self.until(lambda: self._unit_ended() or self.done, "the unit to die at its step")
        if not self._unit_ended():
            self.stop_unit()
            return False
        if self._unit.code != -9:
            self._note_crashes()
        self._unit.kill()
        self._unit = None
        self.happened += 1
        return True

    @property
    def done(self) -> bool:
        """Whether the unit that runs has made all its alerts, and none is pending."""
        return self.told("done") > self._done_before

    def _unit_ended(self) -> bool:
        return self._unit is None or not self._unit.alive

    def storage_failed(self) -> bool:
        """Whether the unit has said so."""
        log = self.folder / "unit.log"
        return log.exists() and b"storage failed" in log.read_bytes()

    # --- the control room -------------------------------------------------------------------------------

    def desk(self, **changes: Any) -> None:
        """Start the control room, as before but for the changes; it is connected when this returns."""
        before = self.told("connected", "desk")
        desk = Child(desk_child.run, replace(self._desk_order, **changes), self.folder / "desk.log")
        self._desk = desk
        self.until(
            lambda: self.told("connected", "desk") > before or not desk.alive, "the control room to connect"
        )

    def kill_desk(self) -> None:
        """SIGKILL."""
        self.happened += 1
        self._note_crashes()
        if self._desk is not None:
            self._desk.kill()
            self._desk = None

    def desk_ended(self) -> None:
        """Wait until it ends by itself, as it was ordered to."""
        desk = self._desk
        assert desk is not None
        self.until(lambda: not desk.alive or self.done, "the control room to end")
        if not desk.alive:
            self.happened += 1
            self._desk = None

    def freeze_desk(self) -> None:
        """SIGSTOP for a while."""
        desk = self._desk
        assert desk is not None
        desk.freeze()
        self.outage()
        desk.thaw()

    def put_database_away(self) -> dict[Path, bytes]:
        """A backup of the control room's database, which is not in use."""
        return {path: path.read_bytes() for path in self.folder.glob(f"{self.database.name}*")}

    def restore_database(self, backup: dict[Path, bytes]) -> None:
        """Put an old one in its place; what it has forgotten was received all the same."""
        self._put_away |= received_in(self.database)
        for path in self.folder.glob(f"{self.database.name}*"):
            path.unlink()
        for path, content in backup.items():
            path.write_bytes(content)

    # --- the end ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the unit has nothing left to send."""
        self.until(lambda: self.done or self._unit_ended(), "every alert to be received or to expire")
        self._note_crashes()

    def account(self) -> Account:
        """End both processes and draw up the account."""
        self.stop_unit()
        if self._desk is not None:
            self._note_crashes()
            self._desk.kill()
            self._desk = None
        books = Books(
            unit=read(self.folder / "unit.jsonl"),
            desk=read(self.folder / "desk.jsonl"),
            totals=totals_of(self.outbox),
            kept_by_desk=frozenset(self._put_away | received_in(self.database)),
            early=self.early,
            again=self.again,
        )
        return account(books)

    def _note_crashes(self) -> None:
        for who, child in (("unit", self._unit), ("desk", self._desk)):
            if child is not None and not child.alive:
                self._crashed(who, f"ended with {child.code}")

    def _crashed(self, who: str, why: str) -> None:
        path = self.folder / f"{who}.jsonl"
        if why not in ids(read(path), "crashed"):
            Ledger(path).write("crashed", id=why)
