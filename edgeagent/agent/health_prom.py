"""The health numbers as a Prometheus text file, for the textfile collector of a node exporter."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from edgeagent.documents.health import Health

READABLE = 0o644
FLAGS = ("undervoltage", "frequency-capped", "throttled", "soft-temperature-limit")

_GAUGES = {
    "running_s": ("running_seconds", "Since this start of the daemon."),
    "uptime_s": ("uptime_seconds", "Since the machine was switched on."),
    "clock_synchronised": ("clock_synchronised", "1 if the kernel says that its clock is synchronised."),
    "clock_trusted": ("clock_trusted", "1 if the kernel or the control room vouches for the clock."),
    "temperature_c": ("temperature_celsius", "Of the hottest sensor."),
    "critical_c": ("temperature_critical_celsius", "Where the kernel switches the machine off."),
    "undervoltage": ("undervoltage", "1 if the supply is too weak now."),
    "frequency_limited": ("frequency_limited", "1 if a processor is held back because of heat now."),
    "over_current_events": ("over_current_events", "Since the machine was switched on."),
    "memory_total_bytes": ("memory_total_bytes", "Of the machine."),
    "memory_available_bytes": ("memory_available_bytes", "Of the machine."),
    "process_bytes": ("process_resident_bytes", "Of the daemon, without its capture process."),
    "disk_total_bytes": ("disk_total_bytes", "Of the file system with the unit's data."),
    "disk_free_bytes": ("disk_free_bytes", "Of the file system with the unit's data."),
    "disk_read_only": ("disk_read_only", "1 if that file system cannot be written to."),
    "storage_wear_percent": ("storage_wear_percent", "Upper end of what an eMMC says is used of its life."),
    "storage_warning": ("storage_warning", "1 if an eMMC's reserve blocks run out."),
    "file_system_errors": ("file_system_errors", "Counted by ext4."),
    "load_1m": ("load1", "Processes that wanted a processor, last minute."),
    "cpu_count": ("cpus", "Processors."),
    "frames_per_s": ("frames_per_second", "Looked at; absent while the camera is closed."),
    "connections": ("broker_connections", "In this start of the daemon."),
    "messages_dropped": ("messages_dropped", "Too large, too many, malformed, or retained; in this start."),
    "publications_forbidden": ("publications_forbidden", "By the broker's access list; in this start."),
    "certificate_days": ("certificate_days_left", "Of the TLS certificate; negative when it has ended."),
}
"""Field of the message, name of the metric, what it is."""


def textfile(health: Health) -> str:
    """Everything that the message says, in the text exposition format."""
    lines = list(_metric("info", "Always 1.", [(_labels(health), 1)]))
    lines += _metric("health_time_seconds", "When it was read.", [("", health.at.timestamp())])
    for field, (name, text) in _GAUGES.items():
        value = getattr(health, field)
        if value is not None:
            lines += _metric(name, text, [("", float(value))])
    ages = {"0.5": health.frame_age_p50_ms, "0.95": health.frame_age_p95_ms}
    known = [(f'{{quantile="{q}"}}', age / 1000) for q, age in ages.items() if age is not None]
    lines += _metric("frame_age_seconds", "From capture to the end of all work on a frame.", known)
    for when, flags in (("now", health.throttled_now), ("ever", health.throttled_ever)):
        if flags is not None:
            values = [(f'{{flag="{flag}"}}', float(flag in flags)) for flag in FLAGS]
            lines += _metric(f"throttled_{when}", "1 if the firmware holds back or warns.", values)
    return "\n".join(lines) + "\n"


def write_textfile(path: Path, health: Health) -> None:
    """Replace the file in one step, readable for the collector.

    Without waiting for the disk, unlike everything that a safeguard rests on: half a minute later the next
    one follows, and a card wears.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")  # a collector reads *.prom only
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READABLE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, READABLE)  # whatever the service's umask
            file.write(textfile(health))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _metric(name: str, text: str, values: list[tuple[str, float]]) -> Iterator[str]:
    if values:
        yield f"# HELP edgeagent_{name} {text}"
        yield f"# TYPE edgeagent_{name} gauge"
    for labels, value in values:
        yield f"edgeagent_{name}{labels} {value:.15g}"


def _labels(health: Health) -> str:
    said = {
        "unit": health.unit,
        "kind": health.kind,
        "version": health.version,
        "model_pack": health.model_pack_sha256[:12],
        "board": health.board or "",
        "os": health.os or "",
        "kernel": health.kernel or "",
    }
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in said.items()) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
