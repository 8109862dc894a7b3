"""Receiving alerts: verify, open, commit once, and only then sign the receipt.

A unit keeps sending until it has the receipt, so an alert may arrive many times; its id decides that it is
shown once. A receipt is made anew for every arrival, since an earlier one may have been lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from edgeagent.alerts.received import signed_message
from edgeagent.controlroom import verdicts
from edgeagent.controlroom.from_unit import from_unit
from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import Alert, Receipt
from edgeagent.documents.seal import crop_info, unseal
from edgeagent.documents.table import ALERT, RECEIPT
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError, OutboxError
from edgeagent.safeguards.instant import Instant

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (
    alert TEXT NOT NULL, unit TEXT NOT NULL, deployment TEXT NOT NULL, received_at TEXT NOT NULL,
    shown INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (unit, alert)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One alert that arrived.

    Attributes:
        crop: JPEG of the matched face, opened with the deployment's key; not kept anywhere.
        first: it has not been shown yet; call `Receiver.shown` when it was.
        receipt_topic, receipt: what to publish now that the alert is committed.
    """

    alert: Alert
    crop: bytes = field(repr=False)
    first: bool
    receipt_topic: str
    receipt: bytes


class Receiver:
    """Verifies and commits alerts. The identity's sealing key is the deployment's (R3)."""

    def __init__(self, path: Path, identity: Identity, trust: TrustStore) -> None:
        """Open or make the file of received ids.

        Raises:
            OutboxError: the file cannot be used.
        """
        self._identity = identity
        self._trust = trust
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA + verdicts.SCHEMA)
        except sqlite3.Error as cause:
            raise OutboxError(
                f"cannot be used: {cause}", where=str(path), next_step="check disk and rights"
            ) from cause

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def take(self, topic: str, message: bytes, now: Instant) -> Arrival:
        """Verify, open and commit one alert.

        Raises:
            DocumentError: forged, altered, expired, on another unit's topic, or sealed to another key.
            OutboxError: the file failed; no receipt is sent, so the unit will send again.
        """
        alert, topics = from_unit(ALERT, topic, message, self._trust, now)
        # No allowance for clocks that differ: a person who is long gone must not be shown as here (R3).
        if now.epoch_s >= alert.expires_at.timestamp():
            raise DocumentError(
                "had expired when it arrived", where="alert", next_step="check the unit's connection"
            )
        crop = unseal(unbase64url(alert.crop), self._identity.sealing, crop_info(alert.unit, alert.alert))
        first = self._commit(alert, now)
        return Arrival(alert, crop, first, topics.receipt, self._receipt(alert, now))

    def shown(self, alert: Alert) -> None:
        """The alert was shown to somebody; its repetitions need not be.

        Not waited for until it is on the disk: at worst a power cut has the alert shown twice.

        Raises:
            OutboxError: the file failed; it will be shown again.
        """
        with self._change("NORMAL") as db:
            db.execute(
                "UPDATE received SET shown = 1 WHERE unit = ? AND alert = ?", (alert.unit, alert.alert)
            )

    def _commit(self, alert: Alert, now: Instant) -> bool:
        """Keep the alert's id and open it for its verdict (R29); whether it still has to be shown."""
        with self._change("FULL") as db:
            db.execute(
                "INSERT OR IGNORE INTO received (alert, unit, deployment, received_at) VALUES (?, ?, ?, ?)",
                (alert.alert, alert.unit, alert.deployment, now.wall.isoformat()),
            )
            db.execute(verdicts.OPEN, verdicts.opening(alert))
            query = "SELECT shown FROM received WHERE unit = ? AND alert = ?"
            return bool(db.execute(query, (alert.unit, alert.alert)).fetchone() == (0,))

    @contextmanager
    def _change(self, synchronous: Literal["FULL", "NORMAL"]) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute(f"PRAGMA synchronous={synchronous}")
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
        except sqlite3.Error as cause:
            raise OutboxError(
                f"the alert could not be kept: {cause}", where="received alerts", next_step="check the disk"
            ) from cause

    def _receipt(self, alert: Alert, now: Instant) -> bytes:
        receipt = Receipt(alert=alert.alert, unit=alert.unit, received_at=now.wall)
        return signed_message(RECEIPT, receipt, self._identity, alert.alert, now)
