"""What in a unit's health somebody should look after: words for a person, and no more than that."""

from __future__ import annotations

from edgeagent.documents.health import Health

NEAR_CRITICAL_C = 10.0
HOT_C = 85.0
"""Where the machine does not say what it bears."""
LOW_DISK_BYTES = 256 * 1024 * 1024
LOW_MEMORY_SHARE = 0.05
WORN_PERCENT = 80
OLD_ALERT_S = 30.0


def concerns_of(health: Health) -> list[str]:
    """Short phrases; none if all is well, or if the machine does not say."""
    found = [*_heat_and_power(health), *_storage(health)]
    total, left = health.memory_total_bytes, health.memory_available_bytes
    if total is not None and left is not None and left < LOW_MEMORY_SHARE * total:
        found.append(f"{left >> 20} MiB of memory left")
    if (health.oldest_alert_age_s or 0.0) > OLD_ALERT_S:
        found.append(f"an alert has waited {health.oldest_alert_age_s:.0f} s for its receipt")
    if health.publications_forbidden:
        found.append("the broker's access list refused it something")
    return found


def _heat_and_power(health: Health) -> list[str]:
    found = []
    limit = HOT_C if health.critical_c is None else min(HOT_C, health.critical_c - NEAR_CRITICAL_C)
    if health.temperature_c is not None and health.temperature_c >= limit:
        found.append(f"{health.temperature_c:.0f} °C")
    if health.undervoltage:
        found.append("its power supply is too weak")
    others = [flag for flag in health.throttled_now or () if flag != "undervoltage"]
    if others or health.frequency_limited:
        found.append(f"held back by heat or power ({', '.join(others) or 'processor frequency'})")
    return found


def _storage(health: Health) -> list[str]:
    found = []
    if health.disk_free_bytes is not None and health.disk_free_bytes < LOW_DISK_BYTES:
        found.append(f"{health.disk_free_bytes >> 20} MiB of disk left")
    if health.disk_read_only:
        found.append("its disk cannot be written to")
    if health.file_system_errors:
        found.append(f"{health.file_system_errors} file system errors")
    if (health.storage_wear_percent or 0) >= WORN_PERCENT or health.storage_warning:
        found.append("its flash memory is nearly worn out")
    return found
