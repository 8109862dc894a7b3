"""Alerts on their way out: kept, sent while connected, expired, released by a receipt; each accounted for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from edgeagent.agent.recorder import Recorder
from edgeagent.agent.said import alert_made, signer_of
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.outbox import Outbox
from edgeagent.audit.events import AlertReceived, AlertsGone
from edgeagent.documents.messages import Receipt
from edgeagent.documents.trust import TrustedKey
from edgeagent.errors import BrokerError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.journal import Line, about

if TYPE_CHECKING:  # what goes out needs no picture library: a publisher alone stays small
    from edgeagent.alerts.alert import Sealed

log = logging.getLogger("edgeagent")

SEND_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Despatch:
    """The outbox and what is written about it (R25)."""

    outbox: Outbox
    recorder: Recorder
    topic: str

    def note(self, sealed: Sealed, age: timedelta) -> None:
        """Write that an alert is made.

        Raises:
            AuditError: it could not be written, so the alert must not be made.
        """
        self.recorder.write(alert_made(sealed.alert, age))

    def keep(self, sealed: Sealed, now: Instant) -> tuple[str, ...]:
        """Take an alert; when this returns it survives a power cut. Those that had to go for it are named.

        Raises:
            OutboxError: the disk failed.
        """
        alert = sealed.alert
        added = self.outbox.add(alert.alert, sealed.message, sealed.expires_at.timestamp(), now.epoch_s)
        if added.displaced:
            self.recorder.note(AlertsGone(how="displaced", count=len(added.displaced)))
        # Not the entry, which would say who was there: the control room knows it by the alert's number.
        log.info(
            "hit: alert %s, score %.3f", alert.alert, alert.score, extra=about(Line.HIT, alert=alert.alert)
        )
        return added.displaced

    def release(self, receipt: Receipt, signer: TrustedKey) -> None:
        """The control room has it."""
        if self.outbox.holds(receipt.alert):
            # Noted first: after a power cut the log may tell of a disclosure twice, never not at all.
            self.recorder.note(AlertReceived(alert=receipt.alert, signer=signer_of(signer)))
            self.outbox.release(receipt.alert)

    def expire(self, now: Instant) -> tuple[str, ...]:
        """Drop, count and name what has expired; only by a clock that can be trusted."""
        if expired := self.outbox.expire(now.epoch_s):
            self.recorder.note(AlertsGone(how="expired", count=len(expired)))
        return expired

    def send(self, link: MqttLink, now: Instant) -> None:
        """Hand what is due to the broker."""
        for row in self.outbox.due(now.epoch_s, SEND_AT_ONCE):
            self.outbox.attempted(row.alert_id, now.epoch_s)
            left_s = max(1, int(row.expires_at - now.epoch_s))
            try:
                link.publish(self.topic, row.message, expires_in_s=left_s)
            except BrokerError as lost:
                log.warning("%s", lost, extra=about(Line.BROKER))
                return
