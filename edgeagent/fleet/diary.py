"""What became of each alert, by its id: a fleet's sums could hide a loss behind an alert counted twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

OUTBOX, DIARY = "outbox.sqlite", "diary"


class Fate(StrEnum):
    """What a unit did with an alert. What the control room has is in the control room's file."""

    KEPT = "kept"
    EXPIRED = "expired"
    DISPLACED = "displaced"


@dataclass(frozen=True, slots=True)
class Diary:
    """Lines of one simulated unit, `fate id`, in a file that outlives its process."""

    data: Path

    def write(self, fate: Fate, *alerts: str) -> None:
        """After it happened: of an alert kept in the instant of a kill the outbox knows, and nobody else."""
        if alerts:
            with (self.data / DIARY).open("a") as file:
                file.write("".join(f"{fate} {alert}\n" for alert in alerts))


def lost(units: Iterable[Path], control_room: Path) -> list[str]:
    """Alerts that were kept, never given up, are in no outbox, and never reached the control room.

    Arguments:
        units: the folder of each unit, whose process has ended.
        control_room: its database.
    """
    with closing(sqlite3.connect(control_room)) as db:
        arrived = {name for (name,) in db.execute("SELECT alert FROM received")}
    return [alert for data in units for alert in sorted(_owed(data) - arrived)]


def _owed(data: Path) -> set[str]:
    """What a unit kept and can no longer send."""
    fates: dict[Fate, set[str]] = {fate: set() for fate in Fate}
    diary = data / DIARY
    for line in diary.read_text().splitlines() if diary.exists() else ():
        fate, _, alert = line.partition(" ")
        fates[Fate(fate)].add(alert)
    with closing(sqlite3.connect(data / OUTBOX)) as db:
        pending = {name for (name,) in db.execute("SELECT alert_id FROM pending")}
    return fates[Fate.KEPT] - fates[Fate.EXPIRED] - fates[Fate.DISPLACED] - pending
