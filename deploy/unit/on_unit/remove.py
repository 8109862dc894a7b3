"""Taking the program off a unit; its private keys, its audit log and its outbox stay, and are named."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from unit.on_unit.durable import flip, target_of
from unit.on_unit.keys import private_files
from unit.on_unit.links import SYSTEM
from unit.on_unit.pending import RECOVER
from unit.on_unit.places import Places
from unit.on_unit.service import (
    BROKER,
    CLOCKS,
    DAEMON,
    FIREWALL,
    TIMESYNCD,
    cameras_anew,
    refuse_live,
    systemctl,
)


def remove(places: Places) -> dict[str, Any]:
    """Stop, then remove every link, release and configuration; what stays. Safe to repeat.

    Raises:
        UnitError: officers rely on the unit now.
    """
    refuse_live()
    systemctl("stop", DAEMON, *BROKER, CLOCKS, FIREWALL)
    systemctl("try-restart", TIMESYNCD)
    for outside in SYSTEM.values():
        for link in (places.root / outside).glob("*"):
            if (target_of(link) or "").startswith("/opt/edgeagent/"):
                flip(link, None)
    for link in places.systemd.glob("*.wants/edgeagent*"):
        flip(link, None)
    for link in [places.current, *places.etc.rglob("*")]:
        if link.is_symlink() and (link == places.current or "current/" in (target_of(link) or "")):
            flip(link, None)
    (places.systemd / RECOVER).unlink(missing_ok=True)
    flip(places.program, None)
    for folder in (places.versions, places.state, *places.opt.glob("edgeagent-*")):
        shutil.rmtree(folder, ignore_errors=True)
    _forget_package()
    systemctl("daemon-reload")
    cameras_anew()
    systemctl("reset-failed", DAEMON)
    return stays(places)


def stays(places: Places) -> dict[str, Any]:
    """What no removal touches: private keys, each with its kind, and folders that hold something."""
    folders = {"audit log": places.data / "audit", "data": places.data, "papers": places.etc}
    there = {what: path for what, path in folders.items() if any(file.is_file() for file in path.rglob("*"))}
    return {
        "keys": private_files(places),
        "folders": {what: f"/{path.relative_to(places.root)}" for what, path in there.items()},
    }


def _forget_package() -> None:
    """A package that was installed before the first deployment, by an image or by hand."""
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", "edgeagent"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.stdout.strip() == "installed":
        subprocess.run(["dpkg", "--remove", "edgeagent"], capture_output=True, check=True)
