"""What a deployment leaves on the unit, and how it goes (R6, R27)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgeagent.agent.rate_guard import rate_file, rate_files
from edgeagent.agent.recorder import Recorder
from edgeagent.alerts.outbox import Outbox
from edgeagent.audit.events import AlertsGone, Erased
from edgeagent.config import Config
from edgeagent.documents.deployment_key import destroy_key, kept_keys
from edgeagent.documents.sequence import HighWater
from edgeagent.safeguards.instant import Instant
from edgeagent.system.files import destroy


@dataclass(frozen=True, slots=True)
class Custody:
    """The one-time keys, the list and the unsent alerts on this unit."""

    config: Config
    seen: HighWater
    outbox: Outbox
    recorder: Recorder

    def end(self, deployment: str, *, with_alerts: bool) -> None:
        """Its one-time key goes, it can never start again, and if it made the unsent alerts, they go."""
        # The key first: if power fails at the next line, what is left of the list opens for nobody.
        if destroy_key(self.config.data_folder, deployment):
            self.recorder.note(Erased(what="deployment_key", deployment=deployment, why="R6"))
        self.seen.close(deployment)
        rate_file(self.config.data_folder, deployment).unlink(missing_ok=True)
        if with_alerts and (count := self.outbox.discard_all()):
            self.recorder.note(AlertsGone(how="discarded", count=count))

    def destroy_list(self, deployment: str, sha256: str) -> str:
        """Only the list of that hash: the next deployment's may lie there already.

        Returns:
            What a technician must do by hand; empty when nothing.
        """
        path = self.config.path(self.config.documents.watchlist)
        try:
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                destroy(path)
                self.recorder.note(Erased(what="watchlist_file", deployment=deployment, why="R6"))
        except OSError as cause:  # its key is gone already, so what is left opens for nobody
            return f"{path}: the list cannot be removed ({cause.strerror}); remove it by hand [R6]"
        return ""

    def finish(self) -> None:
        """Destroy keys and counts of deployments that ended just before power failed."""
        for file in rate_files(self.config.data_folder):
            if self.seen.is_closed(file.stem):
                file.unlink()
        for kept in kept_keys(self.config.data_folder):
            if self.seen.is_closed(kept):
                destroy_key(self.config.data_folder, kept)
                self.recorder.note(Erased(what="deployment_key", deployment=kept, why="R6"))

    def overdue(self, now: Instant) -> list[str]:
        """Deployments whose end has passed, by a clock that is vouched for, whatever is installed by now."""
        return self.seen.ended(now.wall) if now.synchronised else []
