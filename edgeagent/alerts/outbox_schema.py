"""The outbox's SQLite file: how it is opened, laid out and checked."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edgeagent.errors import OutboxError
from edgeagent.system.files import sync_folder

TOTALS = ("made", "received", "expired", "displaced", "discarded")
_LAYOUT = 1
_TABLES = """
CREATE TABLE pending (
    alert_id     TEXT PRIMARY KEY NOT NULL,
    message      BLOB NOT NULL,
    made_at      REAL NOT NULL,
    expires_at   REAL NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_attempt REAL,
    next_attempt REAL NOT NULL
) STRICT;
CREATE INDEX pending_by_expiry ON pending (expires_at);
CREATE TABLE totals (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;
"""


def open_outbox_file(path: Path) -> sqlite3.Connection:
    """Open or create the file, readable by its owner only, and check it.

    Raises `OutboxError` when it cannot be opened, is in use, is damaged, or is another layout.
    """
    try:
        _create_private(path)
        connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        _configure(connection)
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except OutboxError:
        connection.close()
        raise
    return connection


def as_outbox_error(path: Path, error: sqlite3.Error) -> OutboxError:
    """The named error for a failed read or write of an outbox that was open."""
    return OutboxError(
        f"the outbox failed ({error})",
        where=str(path),
        next_step="Check free space and the card or disk; no alert can be kept until it works.",
    )


def _create_private(path: Path) -> None:
    # SQLite gives its -wal file the mode of the main file, so the mode is set before the first page.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    sync_folder(path.parent)  # the name itself must survive a power cut, not only the pages


def _configure(connection: sqlite3.Connection) -> None:
    # One agent per outbox: a second one would send everything twice and break the caps.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA trusted_schema = OFF")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")  # takes the exclusive lock now rather than at the first alert
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if layout == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.executemany("INSERT INTO totals VALUES (?, 0)", [(name,) for name in TOTALS])
        connection.execute(f"PRAGMA user_version = {_LAYOUT}")
    elif layout != _LAYOUT:
        connection.execute("ROLLBACK")
        raise _unusable(path, f"layout {layout}, expected {_LAYOUT}")
    connection.execute("COMMIT")
    _check(connection, path)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _unusable(path, "damaged pages")
    totals = dict(connection.execute("SELECT name, value FROM totals"))
    pending = connection.execute("SELECT count(*) FROM pending").fetchone()[0]
    accounted = pending + sum(totals.get(name, 0) for name in TOTALS[1:])
    if set(totals) != set(TOTALS) or totals["made"] != accounted:
        raise _unusable(path, "its totals do not add up")


def _unusable(path: Path, cause: object) -> OutboxError:
    return OutboxError(
        f"cannot be used as the outbox ({cause})",
        where=str(path),
        next_step="Check that the folder exists and is writable and that no other agent runs; if the file is "
        "damaged, move it aside (its unsent alerts are lost: record that) and start again.",
    )
