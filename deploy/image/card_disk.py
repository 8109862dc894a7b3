"""Which disk a card's image may be written to: a removable one, of a card's size, that nobody uses.

Every question is asked of the kernel's own lists, whose folders are arguments: tests bring their own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeagent.errors import EdgeAgentError

SECTOR = 512
IDENTITY = ("dev", "diskseq", "device/cid", "device/serial", "device/wwid")
"""The kernel's number, its count of media put in (Linux 5.15), what card or reader say of themselves."""
LARGEST = 512 * 10**9
"""A larger disk is somebody's data, not a unit's card."""


class CardError(EdgeAgentError):
    """The card is refused, or is unfinished."""


@dataclass(frozen=True)
class System:
    """Where the kernel says what it knows.

    Attributes:
        sysfs: `/sys`.
        mounts: `/proc/self/mountinfo`.
        swaps: `/proc/swaps`.
        files: a regular file is taken for a disk too: for tests, never from the command line.
    """

    sysfs: Path = Path("/sys")
    mounts: Path = Path("/proc/self/mountinfo")
    swaps: Path = Path("/proc/swaps")
    files: bool = False


@dataclass(frozen=True)
class Disk:
    """A disk that may be written.

    Attributes:
        device: its file, links resolved.
        size: bytes.
        model: what it calls itself, for a person to recognise.
        identity: what tells it from another that stands under the same name later.
    """

    device: Path
    size: int
    model: str
    identity: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.device}: {self.model or 'card'}, {self.size / 1e9:.1f} GB"


def choose(device: Path, needed: int, system: System) -> Disk:
    """The disk, if it may be overwritten by an image of `needed` bytes.

    Raises:
        CardError: no disk, a part of one, read-only, fixed, in use, too small, or too large for a card.
    """
    found = device.resolve()
    folder = _folder(found, system)
    _whole(found, folder)
    if _read(folder / "ro") == "1":
        raise _refuse(found, "is write-protected", "slide the card's lock back")
    if not _removable(folder):
        raise _refuse(found, "is a fixed disk of this machine", "name the card's device: see lsblk")
    for use in _uses(folder, found.name, system):
        raise _refuse(found, f"is in use: {use}", "unmount everything on it, and be sure that it is the card")
    size = int(_read(folder / "size") or 0) * SECTOR
    if size < needed:
        why = f"is too small: {size / 1e9:.2f} GB, the image needs {needed / 1e9:.2f} GB"
        raise _refuse(found, why, "take a larger card" if size else "is a card in the reader?")
    if size > LARGEST:
        raise _refuse(
            found, f"is {size / 1e9:.0f} GB, too large for a card", "name the card's device: see lsblk"
        )
    model = " ".join(_read(folder / "device" / name) for name in ("vendor", "model")).strip()
    return Disk(found, size, model, tuple(_read(folder / name) for name in IDENTITY))


def still(disk: Disk, opened: int, needed: int, system: System) -> None:
    """Examine again, with the disk opened (O_EXCL) and so held: minutes may have passed at the question.

    Raises:
        CardError: it may no longer be written, or another disk stands under its name.
    """
    number = os.fstat(opened).st_rdev
    held = system.files or f"{os.major(number)}:{os.minor(number)}" == disk.identity[0]
    if choose(disk.device, needed, system) != disk or not held:
        raise _refuse(
            disk.device, "is not the card any more that was confirmed; nothing was written", "start again"
        )


def _refuse(device: Path, why: str, advice: str) -> CardError:
    return CardError(why, where=str(device), next_step=advice)


def _folder(device: Path, system: System) -> Path:
    if not device.exists():
        raise _refuse(device, "does not exist", "plug the card in; lsblk lists the devices")
    if not (system.files or stat.S_ISBLK(device.stat().st_mode)):
        raise _refuse(device, "is no disk", "name a device such as /dev/sdX")
    folder = system.sysfs / "class" / "block" / device.name
    if not folder.is_dir():
        raise _refuse(device, "is unknown to the kernel", "lsblk lists the devices")
    return folder


def _whole(device: Path, folder: Path) -> None:
    if (folder / "partition").exists():
        raise _refuse(device, "is a part of a disk", "name the whole disk, without the number at its end")


def _removable(folder: Path) -> bool:
    """Card slots on a board's own bus call their cards fixed, but say that they are SD."""
    return _read(folder / "removable") == "1" or _read(folder / "device" / "type") == "SD"


def _uses(folder: Path, name: str, system: System) -> Iterator[str]:
    """What uses the disk or a part of it: mounts (the system's own among them), swap, LVM, RAID,
    encryption."""
    parts = [folder, *sorted(path.parent for path in folder.glob(f"{name}*/partition"))]
    mounted = {words[2]: words[4] for words in map(str.split, system.mounts.read_text().splitlines())}
    listed = [line.split() for line in system.swaps.read_text().splitlines()[1:]]
    swaps = {Path(words[0]).name for words in listed if words}
    for part in parts:
        where = mounted.get(_read(part / "dev"))
        if where is not None:
            yield f"{part.name} is mounted on {where}"
        if part.name in swaps:
            yield f"{part.name} is swap space"
        holders = part / "holders"
        if holders.is_dir() and (names := sorted(path.name for path in holders.iterdir())):
            yield f"{part.name} is held by {', '.join(names)}"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # a disk without that property
        return ""
