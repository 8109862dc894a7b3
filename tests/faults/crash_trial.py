"""Alerts kept and released in a recorded outbox; then the power is cut at every write."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgeagent.alerts import outbox as outbox_module
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.outbox import Outbox
from edgeagent.errors import OutboxError
from tests.faults import crash_vfs
from tests.faults.crash_disk import Disk, operations, put_back
from tests.faults.ledger import Ledger, Line, read

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class CrashOrder:
    """`careless`: an outbox that does not wait for the disk, to prove that this finds one."""

    folder: Path
    alerts: int
    careless: bool = False


def outbox_at(path: Path) -> Outbox:
    """The product's outbox."""
    return Outbox(path, capacity=100, in_flight_cap=9, retry=Backoff(1, 9), rng=random.Random(1))


def run(order: CrashOrder) -> None:
    """Keep alerts, and release every other one; note how long the record was when each was done."""
    record = order.folder / "record"
    crash_vfs.record(record)
    ledger = Ledger(order.folder / "unit.jsonl")

    def note(what: str, alert: str) -> None:
        ledger.write(what, id=alert, at=record.stat().st_size)

    if order.careless:
        outbox_module._ON_THE_DISK = "OFF"
    with outbox_at(order.folder / "outbox.sqlite") as outbox:
        for number in range(order.alerts):
            alert = f"alert-{number}"
            outbox.add(alert, bytes([number]) * 6000, NOW + 60, NOW)
            note("kept", alert)
            outbox.attempted(alert, NOW)
            if number % 2:
                note("letting go", alert)
                outbox.release(alert)
                note("let go", alert)
    ledger.write("done")


def cuts(folder: Path, draws: int) -> Iterator[str]:
    """Cut the power after each operation, several times; a text for each fault of what is left."""
    lines, after = read(folder / "unit.jsonl"), folder / "after"
    after.mkdir()
    here, there = str(folder / "outbox.sqlite"), str(after / "outbox.sqlite")
    disk, reached = Disk({}), 0
    for number, operation in enumerate(operations((folder / "record").read_bytes())):
        disk.play(operation)
        _, name, _, data = operation
        reached += crash_vfs.HEADER.size + len(name.encode()) + len(data)
        for draw in range(draws):
            left = disk.cut(random.Random(number * draws + draw))
            put_back(Path(there), {path.replace(here, there): content for path, content in left.items()})
            wrong = _wrong(Path(there), _so_far(lines, reached))
            if wrong:
                yield f"after operation {number}, draw {draw}: {wrong}"


def _so_far(lines: list[Line], reached: int) -> dict[str, set[str]]:
    said: dict[str, set[str]] = {"kept": set(), "letting go": set(), "let go": set()}
    for line in lines:
        if line["e"] in said and line["at"] <= reached:
            said[line["e"]].add(line["id"])
    return said


def _wrong(path: Path, said: dict[str, set[str]]) -> str:
    try:
        with outbox_at(path) as outbox:
            balanced = outbox.counts().balanced
    except OutboxError as error:
        return str(error)
    with closing(sqlite3.connect(path)) as db:
        pending = {name for (name,) in db.execute("SELECT alert_id FROM pending")}
    if lost := said["kept"] - said["letting go"] - pending:
        return f"lost {sorted(lost)}"
    if back := said["let go"] & pending:
        return f"came back {sorted(back)}"
    return "" if balanced else "the totals do not add up"
