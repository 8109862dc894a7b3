"""The durable outbox: an alert stays here until the desk's receipt for it was verified, or it expires.

A row leaves by one of five counted ways and no other, so that at any instant, across restarts,
`made == pending + received + expired + displaced + discarded`.

Times are wall-clock epoch seconds, given by the caller: rows outlive the process and the boot, and a
monotonic clock means nothing after either. Nothing here measures a duration for a safeguard with them;
the caller answers for a synchronised clock.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.outbox_schema import as_outbox_error, open_outbox_file
from edgeagent.errors import OutboxError

_ON_THE_DISK, _WRITTEN_SOON = "FULL", "NORMAL"
CLOCKS_AGREE_S = 5.0
"""A clock may be set back by so much without an alert looking as if it had been made in the future."""


@dataclass(frozen=True)
class OutboxRow:
    """One alert that waits for its receipt. The message is opaque and kept out of `repr` (R1)."""

    alert_id: str
    message: bytes = field(repr=False)
    made_at: float
    expires_at: float
    attempts: int


@dataclass(frozen=True)
class OutboxCounts:
    """`pending` now, the others since the file was made."""

    pending: int
    made: int
    received: int
    expired: int
    displaced: int
    discarded: int

    @property
    def balanced(self) -> bool:
        """Whether every alert made is accounted for."""
        gone = self.received + self.expired + self.displaced + self.discarded
        return self.made == self.pending + gone


@dataclass(frozen=True)
class Added:
    """`new` is False for an alert that was already pending; `displaced` names those that had to go."""

    new: bool
    displaced: tuple[str, ...] = ()


class Outbox:
    """Alerts on disk, in one SQLite file that this process holds exclusively.

    One connection behind a lock, so any thread may call any method. Every method raises `OutboxError`
    when the file fails; every change but `attempted` is on the disk before its method returns.
    """

    def __init__(
        self, path: Path, *, capacity: int, in_flight_cap: int, retry: Backoff, rng: random.Random
    ) -> None:
        """Open or create `path`.

        `capacity`: alerts kept at most. `in_flight_cap`: alerts sent at most within `retry.first_s`
        seconds without a receipt. `retry`: spacing of the attempts for one alert.
        """
        if capacity < 1 or in_flight_cap < 1:
            raise ValueError("capacity and in_flight_cap must be at least 1")
        self._path = path
        self._capacity = capacity
        self._in_flight_cap = in_flight_cap
        self._retry = retry
        self._rng = rng
        self._lock = threading.Lock()
        self._db = open_outbox_file(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; pending alerts stay in it."""
        with self._lock:
            self._db.close()

    def add(self, alert_id: str, message: bytes, expires_at: float, made_at: float) -> Added:
        """Keep one alert; when this returns it survives a kill and a power cut.

        The same id with the same bytes again changes nothing; with other bytes it is refused. A full
        outbox gives up the alerts that expire soonest, counts them and names them in the answer.
        """
        if not made_at < expires_at:
            raise OutboxError(
                "the alert expires before it is made",
                where=alert_id,
                next_step="Check the retention in the authority and the clock.",
            )
        with self._change() as db:
            known = db.execute("SELECT message FROM pending WHERE alert_id = ?", (alert_id,)).fetchone()
            if known is not None:
                return _same_or_refused(alert_id, known[0] == message)
            displaced = self._make_room(db)
            db.execute(
                "INSERT INTO pending (alert_id, message, made_at, expires_at, next_attempt)"
                " VALUES (?, ?, ?, ?, ?)",
                (alert_id, message, made_at, expires_at, made_at),
            )
            _count(db, "made", 1)
        if displaced:
            self._forget()
        return Added(new=True, displaced=displaced)

    def due(self, now: float, limit: int) -> list[OutboxRow]:
        """Alerts to send now: at most `limit`, none expired, none beyond the in-flight cap.

        Those tried least come first, so a backlog that nobody acknowledges never holds up a fresh alert.
        An attempt that lies in the future means the clock was set back: the row is due again.
        """
        with self._read() as db:
            waiting = db.execute(
                "SELECT count(*) FROM pending"
                " WHERE last_attempt > ? AND last_attempt <= ? AND expires_at > ?",
                (now - self._retry.first_s, now, now),
            ).fetchone()[0]
            rows = db.execute(
                "SELECT alert_id, message, made_at, expires_at, attempts FROM pending"
                " WHERE expires_at > ? AND (next_attempt <= ? OR attempts = 0 OR last_attempt > ?)"
                " ORDER BY attempts, expires_at, rowid LIMIT ?",
                (now, now, now, max(0, min(limit, self._in_flight_cap - waiting))),
            ).fetchall()
        return [OutboxRow(*row) for row in rows]

    def attempted(self, alert_id: str, now: float) -> bool:
        """Note that the alert is handed to the broker; False when it is no longer pending.

        The one change that is not waited for: after a power cut the alert is due at once, which is no worse.
        """
        with self._change(waits=False) as db:
            row = db.execute("SELECT attempts FROM pending WHERE alert_id = ?", (alert_id,)).fetchone()
            if row is None:
                return False
            again = now + self._retry.delay_s(row[0], self._rng)
            db.execute(
                "UPDATE pending SET attempts = attempts + 1, last_attempt = ?, next_attempt = ?"
                " WHERE alert_id = ?",
                (now, again, alert_id),
            )
        return True

    def holds(self, alert_id: str) -> bool:
        """Whether the alert is pending."""
        with self._read() as db:
            return db.execute("SELECT 1 FROM pending WHERE alert_id = ?", (alert_id,)).fetchone() is not None

    def release(self, alert_id: str) -> bool:
        """Let an alert go whose receipt the caller has verified; False when it was not pending."""
        return bool(self._remove("received", "alert_id = ?", (alert_id,)))

    def expire(self, now: float) -> tuple[str, ...]:
        """Remove what has expired by `now` and name it (R3).

        What was made in the future was made by a clock that was wrong, or `now` is; either way nobody can
        say when it expires. Kept, it would look new once its moment comes.
        """
        return self._remove("expired", "expires_at <= ? OR made_at > ?", (now, now + CLOCKS_AGREE_S))

    def discard_all(self) -> int:
        """Remove everything, for a revocation or the end of a deployment (R27); return how many."""
        return len(self._remove("discarded", "TRUE", ()))

    def counts(self) -> OutboxCounts:
        """How many alerts there are and what became of the others."""
        with self._read() as db:
            pending = db.execute("SELECT count(*) FROM pending").fetchone()[0]
            totals = dict(db.execute("SELECT name, value FROM totals"))
        return OutboxCounts(pending=pending, **totals)

    def oldest_made_at(self) -> float | None:
        """When the oldest pending alert was made; None without one."""
        with self._read() as db:
            made_at: float | None = db.execute("SELECT min(made_at) FROM pending").fetchone()[0]
        return made_at

    def _make_room(self, db: sqlite3.Connection) -> tuple[str, ...]:
        excess = db.execute("SELECT count(*) FROM pending").fetchone()[0] + 1 - self._capacity
        if excess <= 0:
            return ()
        soonest = db.execute("SELECT alert_id FROM pending ORDER BY expires_at, rowid LIMIT ?", (excess,))
        names = [name for (name,) in soonest]
        db.executemany("DELETE FROM pending WHERE alert_id = ?", [(name,) for name in names])
        _count(db, "displaced", len(names))
        return tuple(names)

    def _remove(self, total: str, condition: str, values: tuple[str | float, ...]) -> tuple[str, ...]:
        with self._change() as db:
            gone = db.execute(f"DELETE FROM pending WHERE {condition} RETURNING alert_id", values).fetchall()  # noqa: S608
            if gone:  # a transaction that changes nothing writes nothing, which spares the card
                _count(db, total, len(gone))
        if gone:
            self._forget()
        return tuple(name for (name,) in gone)

    def _forget(self) -> None:
        # secure_delete blanks the pages of the database; their old images would linger in the log (R3).
        with self._read() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise as_outbox_error(self._path, error) from error

    @contextmanager
    def _change(self, *, waits: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; whether it waits for the disk."""
        with self._read() as db:
            db.execute(f"PRAGMA synchronous = {_ON_THE_DISK if waits else _WRITTEN_SOON}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def _same_or_refused(alert_id: str, same: bool) -> Added:
    if same:
        return Added(new=False)
    raise OutboxError(
        "another alert with this id is pending",
        where=alert_id,
        next_step="Give every alert its own id; report this as a fault of the program.",
    )


def _count(db: sqlite3.Connection, name: str, by: int) -> None:
    db.execute("UPDATE totals SET value = value + ? WHERE name = ?", (by, name))
