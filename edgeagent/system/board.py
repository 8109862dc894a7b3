"""What the machine says of itself: temperature, throttling, power, memory, storage. Read only, no root.

Everything comes from files below `root` (/sys, /proc, /etc), so that a test can hold a whole board in a
folder. What a board does not say is None, never a guess. Serial numbers are not read: nobody needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MILLI = 1000.0
KIB = 1024
_MOST_CHARACTERS = 65_536
_WEAR_STEP_PERCENT = 10
_WEAR_OVER = 0x0B

Throttling = Literal[
    "undervoltage",
    "frequency-capped",
    "throttled",
    "soft-temperature-limit",
]
_THROTTLED_BITS: tuple[tuple[int, Throttling], ...] = (
    (0, "undervoltage"),
    (1, "frequency-capped"),
    (2, "throttled"),
    (3, "soft-temperature-limit"),
)
_EVER_SHIFT = 16
_CONSTANT_ZONES = ("PMIC-Die",)  # Jetson: a fixed 100 °C that means nothing


@dataclass(frozen=True, slots=True)
class Throttled:
    """Flags of a Raspberry Pi's firmware: `now`, and `ever` since it was switched on."""

    now: tuple[Throttling, ...]
    ever: tuple[Throttling, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """One thermal sensor, in degrees Celsius."""

    name: str
    celsius: float


@dataclass(frozen=True, slots=True)
class Board:
    """One reading of a machine; None where it does not say.

    Attributes:
        model: as the device tree or the firmware names it, e.g. "Raspberry Pi 5 Model B Rev 1.0".
        os_name: as /etc/os-release names it.
        temperature_c: of the hottest sensor. `critical_c`: where the kernel switches off, lowest of all.
        throttled: a Raspberry Pi's flags; other boards have none.
        undervoltage: the supply is too weak now, by the flags or by the voltage sensor's alarm.
        over_current_events: a Jetson's, since it was switched on.
        frequency_limited: the kernel holds a processor back because of heat, now.
        disk_*, disk_read_only: of the file system that was asked about.
        storage_wear_percent: upper end of what an eMMC's maker says is used; 100 is the end of its life.
        storage_warning: an eMMC's reserve blocks run out.
        file_system_errors: counted by ext4 since it was last checked, over all mounted ones.
        uptime_s: of the machine.
        load_1m: processes that wanted a processor, average of the last minute.
    """

    model: str | None = None
    os_name: str | None = None
    kernel: str | None = None
    cpu_count: int | None = None
    temperature_c: float | None = None
    critical_c: float | None = None
    zones: tuple[Zone, ...] = ()
    throttled: Throttled | None = None
    undervoltage: bool | None = None
    over_current_events: int | None = None
    frequency_limited: bool | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_free_bytes: int | None = None
    disk_read_only: bool | None = None
    storage_wear_percent: int | None = None
    storage_warning: bool | None = None
    file_system_errors: int | None = None
    uptime_s: float | None = None
    load_1m: float | None = None


def read_board(root: Path = Path("/"), storage: Path | None = None) -> Board:
    """Read the machine whose files are below `root`; never raises, takes a few milliseconds.

    `storage` is any place in the file system whose free space is wanted; `root` itself if not given.
    """
    zones = _zones(root)
    throttled = _throttled(root)
    memory = _memory(root)
    disk = _disk(root if storage is None else storage)
    return Board(
        model=_model(root),
        os_name=_os_name(root),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        cpu_count=_cpu_count(root),
        temperature_c=max((zone.celsius for zone in zones), default=None),
        critical_c=_critical(root),
        zones=zones,
        throttled=throttled,
        undervoltage=_undervoltage(root, throttled),
        over_current_events=_sum(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")),
        frequency_limited=_frequency_limited(root),
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        swap_total_bytes=memory.get("SwapTotal"),
        disk_total_bytes=disk.f_blocks * disk.f_frsize if disk else None,
        disk_free_bytes=disk.f_bavail * disk.f_frsize if disk else None,
        disk_read_only=bool(disk.f_flag & os.ST_RDONLY) if disk else None,
        storage_wear_percent=_wear(root),
        storage_warning=_storage_warning(root),
        file_system_errors=_sum(root.glob("sys/fs/ext4/*/errors_count")),
        uptime_s=_first_number(root / "proc/uptime"),
        load_1m=_first_number(root / "proc/loadavg"),
    )


def own_memory_bytes(root: Path = Path("/")) -> int | None:
    """Memory of this process that is really in RAM; None where the system does not say."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", _text(root / "proc/self/status") or "", re.MULTILINE)
    return int(found[1]) * KIB if found else None


def _model(root: Path) -> str | None:
    tree = _text(root / "proc/device-tree/model")
    if tree:
        return tree
    dmi = root / "sys/class/dmi/id"
    names = (_text(dmi / "sys_vendor"), _text(dmi / "product_name"))
    return " ".join(filter(None, names)) or None


def _os_name(root: Path) -> str | None:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.MULTILINE)
    return found[1] if found else None


def _cpu_count(root: Path) -> int | None:
    return sum(1 for _ in root.glob("sys/devices/system/cpu/cpu[0-9]*")) or None


def _zones(root: Path) -> tuple[Zone, ...]:
    found = []
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name = _text(folder / "type") or folder.name
        milli = _number(folder / "temp")  # a sensor of a part that is switched off cannot be read
        if milli is not None and name not in _CONSTANT_ZONES:
            found.append(Zone(name, milli / MILLI))
    return tuple(found)


def _critical(root: Path) -> float | None:
    limits = []
    for kind in root.glob("sys/class/thermal/thermal_zone*/trip_point_*_type"):
        milli = _number(kind.with_name(kind.name.replace("_type", "_temp")))
        if _text(kind) == "critical" and milli is not None and milli > 0:
            limits.append(milli / MILLI)
    return min(limits, default=None)


def _throttled(root: Path) -> Throttled | None:
    # One level is named otherwise on a Raspberry Pi 5, hence the pattern.
    for file in root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"):
        bits = _number(file, base=16)
        if bits is not None:
            return Throttled(_flags(bits), _flags(bits >> _EVER_SHIFT))
    return None


def _flags(bits: int) -> tuple[Throttling, ...]:
    return tuple(name for bit, name in _THROTTLED_BITS if bits >> bit & 1)


def _undervoltage(root: Path, throttled: Throttled | None) -> bool | None:
    if throttled is not None:
        return "undervoltage" in throttled.now
    for name in root.glob("sys/class/hwmon/hwmon*/name"):
        alarm = _number(name.with_name("in0_lcrit_alarm"))
        if _text(name) == "rpi_volt" and alarm is not None:
            return bool(alarm)
    return None


def _frequency_limited(root: Path) -> bool | None:
    states = []
    for kind in root.glob("sys/class/thermal/cooling_device*/type"):
        state = _number(kind.with_name("cur_state"))
        if "cpufreq" in (_text(kind) or "") and state is not None:
            states.append(state > 0)
    return any(states) if states else None


def _memory(root: Path) -> dict[str, int]:
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kib) * KIB for name, kib in lines}


def _disk(place: Path) -> os.statvfs_result | None:
    try:
        return os.statvfs(place)
    except OSError:
        return None


def _wear(root: Path) -> int | None:
    """JEDEC's estimate of an eMMC: two numbers, in steps of ten per cent; 0 is "not defined"."""
    text = " ".join(_text(f) or "" for f in root.glob("sys/block/mmcblk*/device/life_time"))
    steps = [int(step, 16) for step in re.findall(r"0x[0-9a-fA-F]{1,2}\b", text)]
    known = [min(step, _WEAR_OVER) for step in steps if step]
    return min(max(known) * _WEAR_STEP_PERCENT, 100) if known else None


def _storage_warning(root: Path) -> bool | None:
    levels = [_number(f, base=16) for f in root.glob("sys/block/mmcblk*/device/pre_eol_info")]
    known = [level for level in levels if level]
    return max(known) > 1 if known else None


def _sum(files: Iterable[Path]) -> int | None:
    numbers = [number for number in map(_number, files) if number is not None]
    return sum(numbers) if numbers else None


def _first_number(file: Path) -> float | None:
    found = re.match(r"\d+(\.\d+)?", _text(file) or "")
    return float(found[0]) if found else None


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(_text(file) or "", base)
    except ValueError:
        return None


def _text(file: Path) -> str | None:
    """The file's text without its end; None when it is missing, empty or cannot be read."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_CHARACTERS)
    except OSError:
        return None
    return content.decode(errors="replace").strip("\0\n ") or None
