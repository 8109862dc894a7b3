"""The fixed names through which the rest of the system sees a release and a configuration."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from unit.on_unit.durable import flip, sync_whole, target_of
from unit.on_unit.places import Places, mode_of

WAITS_FOR_CLOCK = "systemd-time-wait-sync.service"
SYSTEM = {
    "lib/systemd/system": "etc/systemd/system",
    f"lib/systemd/system/{WAITS_FOR_CLOCK}.d": f"etc/systemd/system/{WAITS_FOR_CLOCK}.d",
    "lib/systemd/journald.conf.d": "etc/systemd/journald.conf.d",
    "lib/tmpfiles.d": "etc/tmpfiles.d",
    "lib/sysusers.d": "etc/sysusers.d",
    "lib/udev/rules.d": "etc/udev/rules.d",
    "bin": "usr/local/bin",
}
"""Folders of a release's `system`, and where the unit's system looks first."""

Links = dict[Path, str]


def system_links(places: Places, release: str) -> Links:
    """Every link of the system into /opt/edgeagent: they stay, while that goes on to another release."""
    found: Links = {}
    for inside, outside in SYSTEM.items():
        for file in sorted((places.release(release) / "system" / inside).glob("*")):
            if file.is_file():
                found[places.root / outside / file.name] = f"/opt/edgeagent/system/{inside}/{file.name}"
                found |= _wanted(places, file)
    return found


def _wanted(places: Places, unit: Path) -> Links:
    """What `systemctl enable` would link."""
    lines = unit.read_text().splitlines() if unit.suffix in (".service", ".socket", ".timer") else []
    targets = [line.split("=", 1)[1].split() for line in lines if line.startswith("WantedBy=")]
    return {
        places.systemd / f"{target}.wants" / unit.name: f"/etc/systemd/system/{unit.name}"
        for line in targets
        for target in line
    }


def config_links(places: Places, config: str) -> Links:
    """/etc/edgeagent/NAME for each file of a configuration, through `current`."""
    folder = places.versions / config
    found: Links = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        up = "../" * (len(name.parts) - 1)
        found[places.etc / name] = f"{up}current/{name}"
    return found


def adopt(places: Places, names: list[Path]) -> None:
    """Turn files that somebody put into /etc/edgeagent by hand into a version, so that one can go back to it.

    What is read through each name is the same before, between and after the steps.
    """
    loose = [name for name in names if name.is_file() and not name.is_symlink()]
    if not loose:
        return
    staging = places.versions / ".adopted"
    shutil.rmtree(staging, ignore_errors=True)
    if places.current.exists():
        shutil.copytree(places.current, staging)
    for path in loose:
        copy = staging / path.relative_to(places.etc)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        shutil.chown(copy, "root", "edgeagent")
        copy.chmod(mode_of(copy))
    version = places.versions / f"found-{_digest(staging)}"
    shutil.rmtree(version, ignore_errors=True)
    for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
        shutil.chown(folder, "root", "edgeagent")
        folder.chmod(0o750)
    staging.rename(version)
    sync_whole(places.versions)
    flip(places.current, f"versions/{version.name}")
    for link, target in config_links(places, version.name).items():
        flip(link, target)


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def put(links: Links) -> None:
    """Make every link point where it should."""
    for link, target in links.items():
        if target_of(link) != target:
            link.parent.mkdir(parents=True, exist_ok=True)
            flip(link, target)


def tidy(places: Places) -> None:
    """Remove links of ours that point to nothing: files that the newer version no longer has."""
    folders = [places.etc, *(path for path in places.etc.glob("*/") if path.name not in ("versions", "keys"))]
    folders += [places.root / outside for outside in SYSTEM.values()]
    for folder in folders:
        for link in folder.glob("*"):
            target = target_of(link) or ""
            ours = "current/" in target or target.startswith("/opt/edgeagent/")
            if ours and not link.exists():
                flip(link, None)
    for link in places.systemd.glob("*.wants/edgeagent*"):
        if not link.exists():
            flip(link, None)
