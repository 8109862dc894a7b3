"""The root file system of the container: Debian packages, cached by their list."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / "build" / "container"
SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "systemd-timesyncd", "dbus", "udev"),
    *("python3", "openssh-server", "nftables", "sudo"),
)
LIMIT_S = 600


def base() -> Path:
    """The cached tar; built if it is not there (about 40 s), by one process at a time."""
    key = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:12]
    file = CACHE / f"root-{key}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            part = file.with_suffix(".part.tar")
            options = ["--variant=minbase", "--skip=output/dev", f"--include={','.join(PACKAGES)}"]
            call = ["mmdebstrap", "--quiet", *options, SUITE, str(part)]
            subprocess.run(call, check=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, capture_output=True)
            part.rename(file)
    return file


def unpack(folder: Path) -> None:
    """A fresh root in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-f", str(base()), "-C", str(folder)], check=True)
