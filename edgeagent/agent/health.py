"""The unit's health: read, signed, published and written for a collector, every half minute.

What cannot be read, or cannot be meant, is null, and a file that cannot be written is said once in the log.
Sensors have a thread of their own: where a driver blocks, the machine's fields become null after 90 s, and
the daemon's loop, with its leases and revocations, goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeagent.agent.health_prom import write_textfile
from edgeagent.agent.sight import Sight
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.received import signed_message
from edgeagent.documents.health import SAID_CHARACTERS, Health
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import CameraState
from edgeagent.documents.table import HEALTH
from edgeagent.errors import BrokerError, KeyFileError, OutboxError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.board import Board, own_memory_bytes
from edgeagent.system.certificates import expires_in_days
from edgeagent.system.journal import Line, about
from edgeagent.system.sensors import Sensors

log = logging.getLogger("edgeagent")

EVERY_NS = 30 * SECOND
MOST_FRAMES = 2048
"""Of one interval: 30 s at 60 frames per second, and some."""


@dataclass(slots=True)
class Pace:
    """Ages of the frames since the last report, in nanoseconds; numbers of the machine, none of a person."""

    ages_ns: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_FRAMES))

    def percentile_ms(self, percent: int) -> float | None:
        """Nearest rank; None without frames."""
        ordered = sorted(self.ages_ns)
        if not ordered:
            return None
        return round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] / 1e6, 1)


@dataclass(slots=True)
class HealthReporter:
    """Health messages of one start of the daemon.

    Attributes:
        textfile: where the numbers are written for a Prometheus collector.
        certificate: the TLS certificate that ends one day.
        sensors: of the machine; started by the caller.
        root: below which the process finds its own memory.
    """

    identity: Identity
    kind: Kind
    version: str
    model_pack_sha256: str
    textfile: Path
    certificate: Path
    outbox: Outbox
    link: MqttLink
    topic: str
    sensors: Sensors
    root: Path = Path("/")
    pace: Pace = field(default_factory=Pace)
    _frames: int = 0
    _began_ns: int | None = None
    _last_ns: int = 0
    _sequence: int = 0
    _failed: str = ""

    def turn(self, sight: Sight, boot: str, now: Instant, *, trusted: bool) -> None:
        """After each turn of the loop: note its frame if it had one; when it is time, read and tell.

        `trusted`: the kernel, or the control room's signed time, vouches for the clock.
        """
        if self._began_ns is None:
            self._began_ns = self._last_ns = now.monotonic_ns
        if sight.frames > self._frames:
            self.pace.ages_ns.append(max(now.monotonic_ns - sight.captured_ns, 0))
            self._frames = sight.frames
        # The first goes out with the first connection.
        if now.monotonic_ns - self._last_ns < EVERY_NS and (self._sequence or not self.link.connected):
            return
        health = self.read(sight.camera.state, boot, now, trusted=trusted)
        self._last_ns = now.monotonic_ns
        self.pace.ages_ns.clear()
        self._write(health)
        self._publish(health, now)

    def read(self, camera: CameraState, boot: str, now: Instant, *, trusted: bool) -> Health:
        """All numbers as they are now."""
        self._sequence += 1
        counts, since_ns = self.link.counts, now.monotonic_ns - self._last_ns
        looking = camera is not CameraState.CLOSED and since_ns > 0
        said: dict[str, Any] = {
            "unit": self.identity.name,
            "kind": self.kind,
            "boot": boot,
            "sequence": self._sequence,
            "at": now.wall,
            "running_s": round((now.monotonic_ns - (self._began_ns or now.monotonic_ns)) / SECOND, 1),
            "version": self.version[:SAID_CHARACTERS],
            "model_pack_sha256": self.model_pack_sha256,
            "clock_synchronised": now.synchronised,
            "clock_trusted": trusted,
            "frames_per_s": round(len(self.pace.ages_ns) * SECOND / since_ns, 2) if looking else None,
            "frame_age_p50_ms": self.pace.percentile_ms(50),
            "frame_age_p95_ms": self.pace.percentile_ms(95),
            "connections": counts.connections,
            "messages_dropped": counts.oversize
            + counts.overflow
            + counts.malformed
            + counts.retained_refused,
            "publications_forbidden": counts.forbidden,
        }
        return made(said | _of_outbox(self.outbox, now) | self._of_machine(now))

    def _of_machine(self, now: Instant) -> dict[str, Any]:
        try:
            days = round(expires_in_days(self.certificate, now=now.wall), 2)
        except KeyFileError:
            days = None  # the state says why
        mine = {"process_bytes": own_memory_bytes(self.root), "certificate_days": days}
        board = self.sensors.board
        self.sensors.ask()  # for the next message
        return mine | of_board(board)

    def _write(self, health: Health) -> None:
        failed = ""
        try:
            write_textfile(self.textfile, health)
        except OSError as cause:
            failed = f"{self.textfile}: cannot be written: {cause.strerror}"
        if failed and failed != self._failed:
            log.warning("%s", failed, extra=about(Line.PROBLEM))
        self._failed = failed

    def _publish(self, health: Health, now: Instant) -> None:
        if not self.link.connected:
            return
        identifier = f"{health.boot}-health-{health.sequence}"
        try:
            self.link.publish(self.topic, signed_message(HEALTH, health, self.identity, identifier, now))
        except BrokerError as lost:
            log.warning("%s", lost, extra=about(Line.BROKER))


def made(said: dict[str, Any]) -> Health:
    """The message; what a sensor says and none can mean is left out, rather than the whole message."""
    try:
        return Health(**said)
    except ValidationError as wrong:
        faults = wrong.errors(include_url=False, include_input=False, include_context=False)
        return Health(**(said | {str(fault["loc"][0]): None for fault in faults}))


def _of_outbox(outbox: Outbox, now: Instant) -> dict[str, Any]:
    try:
        pending, made_at = outbox.counts().pending, outbox.oldest_made_at()
    except OutboxError:
        return {"outbox_pending": None, "oldest_alert_age_s": None}  # the state says that the disk failed
    age_s = None if made_at is None else round(max(now.epoch_s - made_at, 0.0), 1)
    return {"outbox_pending": pending, "oldest_alert_age_s": age_s}


def of_board(board: Board) -> dict[str, Any]:
    """The machine's fields of a message."""
    throttled = board.throttled
    named = {"board": board.model, "os": board.os_name, "kernel": board.kernel}
    same = (
        *("uptime_s", "temperature_c", "critical_c", "undervoltage", "frequency_limited"),
        *("over_current_events", "memory_total_bytes", "memory_available_bytes", "disk_total_bytes"),
        *("disk_free_bytes", "disk_read_only", "storage_wear_percent", "storage_warning"),
        *("file_system_errors", "load_1m", "cpu_count"),
    )
    return {
        **{name: None if text is None else text[:SAID_CHARACTERS] for name, text in named.items()},
        **{name: getattr(board, name) for name in same},
        "throttled_now": throttled.now if throttled else None,
        "throttled_ever": throttled.ever if throttled else None,
    }
