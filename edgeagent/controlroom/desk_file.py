"""The desk's SQLite file, as several of its programs use it at once, and how a unit is answered from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.alerts.envelope import wrap
from edgeagent.errors import OutboxError
from edgeagent.safeguards.instant import Instant


@dataclass(frozen=True, slots=True)
class DeskFile:
    """Opened for each use and closed again; what was changed is on the disk when a method returns.

    Every method raises `OutboxError` when the file fails.
    """

    path: Path

    def prepare(self, schema: str) -> None:
        """Make the tables that are missing."""
        with self._opened() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(schema)

    def run(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows that one statement gives."""
        with self._opened() as db:
            return db.execute(statement, values).fetchall()

    def run_each(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """One statement for each row: all of them, or none."""
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(statement, rows)
            db.execute("COMMIT")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.path, isolation_level=None)
            try:
                db.execute("PRAGMA synchronous=FULL")
                yield db
            finally:
                db.close()  # takes back what was not committed
        except sqlite3.Error as cause:
            raise OutboxError(
                f"cannot be used: {cause}", where=str(self.path), next_step="check disk and rights"
            ) from cause


@dataclass(slots=True)
class Again:
    """What was said when, so that each state of a unit is not answered with the same words at once."""

    after_ns: int
    _said_ns: dict[Hashable, int] = field(default_factory=dict)

    def due(self, what: Hashable, now: Instant) -> bool:
        """Whether it is time to say it; if so, it counts as said now."""
        last = self._said_ns.get(what)
        if last is not None and now.monotonic_ns - last < self.after_ns:
            return False
        self._said_ns[what] = now.monotonic_ns
        return True

    def forget(self, what: Hashable) -> None:
        """It will not be said again."""
        self._said_ns.pop(what, None)


def from_desk(kind: str, token: str, identifier: str, now: Instant, source: str = "control-room") -> bytes:
    """A signed document in its envelope."""
    return wrap(kind, token.encode(), identifier=identifier, source=source, time=now.wall)


def revocation_message(unit: str, deployment: str, token: str, now: Instant, source: str) -> bytes:
    """A revocation in its envelope; said again, it has the same identifier."""
    return from_desk("revocation", token, f"revocation-{unit}-{deployment}"[:128], now, source)
