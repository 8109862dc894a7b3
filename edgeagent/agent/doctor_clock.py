"""The clock, and the clock that goes on without power, as findings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from edgeagent.agent.doctor_finding import WorthALookError, line_of, number_of
from edgeagent.safeguards.instant import Instant

RTC_MAY_DIFFER_S = 5
LATEST = 2**33
"""Seconds since 1970 that a clock can mean; a broken one says anything."""
BATTERY_EMPTY_UV = 2_000_000
MICRO = 1_000_000


def clock(now: Instant) -> str:
    """The time, and whether the kernel calls it synchronised."""
    said = f"{now.wall.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now.synchronised:
        return f"{said}, synchronised"
    raise WorthALookError(
        f"{said}, not synchronised",
        next_step="compare with your watch; the gate stays locked until time is synchronised or the control "
        "room's signed time agrees",
    )


def battery_clock(root: Path, now: Instant) -> str:
    """The clock that goes on without power (RTC); it only helps the unit to start near the right time."""
    for folder in sorted(root.glob("sys/class/rtc/rtc*")):
        epoch, name = number_of(folder / "since_epoch"), line_of(folder / "name") or folder.name
        if epoch is not None and 0 <= epoch < LATEST:
            return _compared(folder, name, epoch, now)
    raise WorthALookError(
        "there is none that can be read",
        next_step="after a power cut the unit waits for a time server or the control room; fit one if that "
        "takes too long",
    )


def _compared(folder: Path, name: str, epoch: int, now: Instant) -> str:
    voltage, charging = number_of(folder / "battery_voltage"), number_of(folder / "charging_voltage")
    if voltage is not None and voltage < BATTERY_EMPTY_UV:
        raise WorthALookError(
            f"{name}: battery at {voltage / MICRO:.1f} V, empty or not fitted",
            next_step="fit the rechargeable battery, then see that config.txt has rtc_bbat_vchg",
        )
    battery = f", battery {voltage / MICRO:.1f} V" if voltage is not None else ""
    if charging == 0:
        raise WorthALookError(
            f"{name}{battery}, which is not charged",
            next_step="if it is the rechargeable one, set rtc_bbat_vchg in config.txt",
        )
    apart_s = abs(epoch - now.wall.timestamp())
    if now.synchronised and apart_s > RTC_MAY_DIFFER_S:
        said = datetime.fromtimestamp(epoch, UTC)
        raise WorthALookError(
            f"{name}: {said:%Y-%m-%d %H:%M:%S} UTC, {apart_s:.0f} s off",
            next_step="hwclock --systohc; if it is off again tomorrow, change the battery",
        )
    return f"{name}{battery}" + (f", {apart_s:.0f} s off" if now.synchronised else "")
