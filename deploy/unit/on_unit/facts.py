"""What a unit is and what is on it; looks only, changes nothing."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from unit.on_unit.durable import target_of
from unit.on_unit.keys import keys_of
from unit.on_unit.places import Places
from unit.on_unit.service import firewall_is_loaded, shown

PROGRAMS = ("systemctl", "systemd-run", "dpkg-deb", "nft", "tar", "systemd-creds")
TIMESYNCD = Path("/usr/lib/systemd/systemd-timesyncd")
STA_UNSYNC = 0x0040
TIMEX_BYTES, STATUS = 512, slice(40, 44)
TIME_ERROR = 5


def facts(places: Places, resolve: str) -> dict[str, Any]:
    """Everything that the desk decides by."""
    release, config = target_of(places.program), target_of(places.current)
    return {
        "board": _board(),
        **_system(),
        "time": time.time(),
        "synchronised": _synchronised(),
        "free": {str(path): _free(path) for path in (places.opt, places.etc, places.state)},
        "forgets": _forgets(places.opt),
        "missing": [name for name in PROGRAMS if shutil.which(name) is None],
        "release": release.removeprefix("edgeagent-") if release else None,
        "config": Path(config).name if config else None,
        "releases": [path.name.removeprefix("edgeagent-") for path in places.opt.glob("edgeagent-*")],
        "incoming": [path.name for path in places.incoming.glob("*")],
        "files": _files(places),
        "keys": keys_of(places),
        "service": shown(),
        "firewall": firewall_is_loaded(),
        "image": places.image.exists(),
        "timesyncd": TIMESYNCD.exists(),
        "pending": places.pending.exists(),
        "from": os.environ.get("SSH_CONNECTION", ""),
        "addresses": addresses_of(resolve),
    }


def _system() -> dict[str, str]:
    release = platform.freedesktop_os_release()
    arch = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
    version = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    return {
        "os": release.get("PRETTY_NAME", "?"),
        "arch": arch.stdout.strip() or platform.machine(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "systemd": [*version.stdout.split(), "?", "0"][1],
    }


def _board() -> str:
    for file in ("/proc/device-tree/model", "/sys/class/dmi/id/product_name"):
        if Path(file).exists():
            return Path(file).read_text(errors="replace").strip("\0\n ")
    return platform.machine()


def _synchronised() -> bool:
    """The kernel's own verdict, as the daemon asks for it (adjtimex with no modes)."""
    timex = ctypes.create_string_buffer(TIMEX_BYTES)
    if ctypes.CDLL(None).adjtimex(timex) in (-1, TIME_ERROR):
        return False
    return not int.from_bytes(timex.raw[STATUS], sys.byteorder) & STA_UNSYNC


def _free(path: Path) -> int:
    """Octets free where the path is or would be; -1 if nothing can be written there at all."""
    while not path.exists():
        path = path.parent
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return -1
    return shutil.disk_usage(path).free


def _forgets(path: Path) -> bool:
    """Whether what is written there is gone after the next start, as on a root under an overlay in memory."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    kind, _, options = _mounted(there, "FSTYPE,OPTIONS").partition(" ")
    upper = re.search(r"upperdir=([^,]+)", options)
    if kind != "overlay" or upper is None:
        return False
    return _mounted(Path(upper[1]), "FSTYPE") in ("", "tmpfs")  # nothing: it is hidden behind the root


def _mounted(path: Path, what: str) -> str:
    asked = ["findmnt", "-n", "-o", what, "-T", str(path)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _files(places: Places) -> dict[str, str]:
    """The configuration that is used: names and texts of the two files that may be compared key by key."""
    found = {}
    for name in ("edgeagent.toml", "network.toml"):
        file = places.etc / name
        if file.is_file():
            found[name] = file.read_text(errors="replace")
    return found


def addresses_of(name: str) -> list[str]:
    """IPv4 addresses of the broker, as this machine's resolver says; none if it does not know."""
    if not name:
        return []
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(row[4][0]) for row in found})
