"""What a process has, as the kernel says, and what a folder holds; read from outside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FIELD = re.compile(r"^(\w+):\s+(\d+)(?: kB)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Taken:
    """One process at one moment; memory in KiB.

    Attributes:
        anonymous: memory that is no file's: heaps, stacks, arrays; where a leak is.
        pss: its share of what several processes have.
    """

    pid: int
    rss: int
    pss: int
    anonymous: int
    fds: int
    threads: int
    mappings: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything at one moment; counts are the unit's own, from its last signed state.

    Attributes:
        t_s: seconds since the camera opened.
        people: who passed and could have been matched (R17).
        detections: faces, one a person and frame.
        disk: octets of the unit's files, by kind.
    """

    t_s: float
    people: int
    detections: int
    frames: int
    alerts: int
    unit: Taken
    capture: Taken | None
    disk: dict[str, int]


def taken(pid: int) -> Taken | None:
    """A process's present figures; None when it is gone.

    Raises:
        PermissionError: the unit lets nobody else look (R1); root may.
    """
    folder = Path("/proc") / str(pid)
    try:
        rollup = _fields(folder / "smaps_rollup")
        threads = _fields(folder / "status")["Threads"]
        fds = sum(1 for _ in (folder / "fd").iterdir())
        mappings = (folder / "maps").read_text().count("\n")
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None
    return Taken(pid, rollup["Rss"], rollup["Pss"], rollup["Anonymous"], fds, threads, mappings)


def _fields(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in _FIELD.findall(file.read_text())}


def on_disk(data: Path) -> dict[str, int]:
    """Octets of the files in the unit's data folder, by kind."""
    sizes = {"audit log": 0, "outbox": 0, "alert rate": 0, "other": 0}
    for file in data.rglob("*"):
        try:
            size = file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue  # a file is replaced by a new one of its name
        sizes[_kind(file)] += size
    return sizes


def _kind(file: Path) -> str:
    if file.parent.name == "audit":
        return "audit log"
    if file.parent.name == "alert-rate":
        return "alert rate"
    return "outbox" if file.name.startswith("outbox") else "other"
