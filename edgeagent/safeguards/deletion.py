"""The count that must balance: every face seen was deleted, or is in an alert that still lives (R1)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class FaceLedger:
    """Faces by what became of them; a face is one detection in one frame.

    Attributes:
        processed: detected since start, plus those in alerts carried over a restart.
        deleted: overwritten after use, or in an alert that left the unit.
        in_live_alerts: whose sealed crop waits in the outbox.
    """

    processed: int = 0
    deleted: int = 0
    in_live_alerts: int = 0

    @staticmethod
    def carried(alerts: int) -> FaceLedger:
        """The ledger of a daemon that starts with alerts still in its outbox."""
        return FaceLedger(processed=alerts, in_live_alerts=alerts)

    def seen(self, faces: int) -> FaceLedger:
        """`faces` were detected; until they are deleted or alerted the ledger does not balance."""
        return replace(self, processed=self.processed + faces)

    def overwritten(self, faces: int) -> FaceLedger:
        """`faces` were overwritten without an alert."""
        return replace(self, deleted=self.deleted + faces)

    def alerted(self) -> FaceLedger:
        """One face was sealed into an alert; its plain copies were overwritten."""
        return replace(self, in_live_alerts=self.in_live_alerts + 1)

    def alerts_now(self, pending: int) -> FaceLedger:
        """The outbox holds `pending` alerts; those that left it count as deleted.

        More alerts than faces were sealed into do not undo a deletion: the ledger is then out of balance.
        """
        left = max(0, self.in_live_alerts - pending)
        return replace(self, deleted=self.deleted + left, in_live_alerts=pending)

    @property
    def balanced(self) -> bool:
        """Whether every face is accounted for."""
        return self.processed == self.deleted + self.in_live_alerts
