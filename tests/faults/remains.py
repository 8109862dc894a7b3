"""What the two databases say after their programs have ended."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

from edgeagent.alerts.outbox import OutboxCounts


def totals_of(outbox: Path) -> OutboxCounts:
    """The totals in an outbox's file, which no unit has open."""
    with contextlib.closing(sqlite3.connect(outbox)) as db:
        pending = db.execute("SELECT count(*) FROM pending").fetchone()[0]
        return OutboxCounts(pending=pending, **dict(db.execute("SELECT name, value FROM totals")))


def received_in(database: Path) -> set[str]:
    """The alerts in a control room's database; read from a copy: a reader would change the log beside it."""
    with tempfile.TemporaryDirectory() as copy:
        for path in database.parent.glob(f"{database.name}*"):
            shutil.copyfile(path, Path(copy, path.name))
        with contextlib.closing(sqlite3.connect(Path(copy, database.name))) as db:
            return {name for (name,) in db.execute("SELECT alert FROM received")}
