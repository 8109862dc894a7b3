#!/usr/bin/python3
"""Move what the technician's laptop wrote on the card to the unit's data partition, then blank it on the
card.

Only files of a closed list are taken, at most once a boot, each bounded in size. A file that is not on the
list stays where it is and is not read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PARTITION = Path("/dev/disk/by-partlabel/boot")
MOUNT = Path("/run/edgeagent-boot")
ETC = Path("/etc/edgeagent")
LIMIT = 65_536
SECRET, SHOWN = 0o600, 0o644
WANTED = {
    "enrolment.toml": (ETC / "enrolment.toml", SECRET),
    "unit/edgeagent.toml": (ETC / "edgeagent.toml", SHOWN),
    "unit/trust.json": (ETC / "trust.json", SHOWN),
    "unit/broker.env": (ETC / "broker.env", SHOWN),
    "unit/name": (ETC / "name", SHOWN),
    "unit/network/80-wired.network": (ETC / "network/80-wired.network", SHOWN),
    "unit/timesyncd.conf": (ETC / "timesyncd.conf", SHOWN),
    "unit/nftables.conf": (ETC / "nftables.conf", SHOWN),
    "unit/authorized_keys": (Path("/data/etc/ssh/authorized_keys"), SECRET),
}
"""Where on the card, where on the unit, which mode."""


def take(card: Path, wanted: dict[str, tuple[Path, int]]) -> list[Path]:
    """Copy what is there, each file whole or not at all; the files of the card that were taken."""
    taken = []
    for name, (target, mode) in wanted.items():
        source = card / name
        if not source.is_file():
            continue
        if source.stat().st_size > LIMIT:
            print(f"{name}: larger than {LIMIT} bytes; left alone", file=sys.stderr)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = target.with_name(f".{target.name}.new")
        file = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(file, "wb") as writing:
            os.fchmod(writing.fileno(), mode)
            writing.write(source.read_bytes())
            writing.flush()
            os.fsync(writing.fileno())
        whole.replace(target)
        taken.append(source)
        print(f"{name}: taken over as {target}")
    return taken


def blank(files: list[Path]) -> None:
    """Overwrite in place, then remove: a flash card may keep an old block, but no file system shows it."""
    for file in files:
        size = file.stat().st_size
        with file.open("r+b") as writing:
            writing.write(bytes(size))
            writing.flush()
            os.fsync(writing.fileno())
        file.unlink()


def main() -> int:
    """Take over and blank; nothing to do is the usual case."""
    state = ETC / "enrolment/state.json"
    if state.is_file() and json.loads(state.read_bytes()).get("stage") == "enrolled":
        # Whoever holds the card for a minute must not give an enrolled unit another door or another root.
        print("this unit is enrolled: nothing is taken from the card any more")
        return 0
    if not PARTITION.exists():
        print(f"{PARTITION} is missing", file=sys.stderr)
        return 1
    MOUNT.mkdir(mode=0o700, exist_ok=True)
    quiet = "nosuid,nodev,noexec,umask=0077"
    subprocess.run(["mount", "-t", "vfat", "-o", f"ro,{quiet}", str(PARTITION), str(MOUNT)], check=True)
    try:
        taken = take(MOUNT, WANTED)
        os.sync()
        if taken:
            subprocess.run(["mount", "-o", "remount,rw", str(MOUNT)], check=True)
            blank(taken)
    finally:
        subprocess.run(["umount", str(MOUNT)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
