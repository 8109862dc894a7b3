"""Taking the program off a unit; the audit log, the outbox and the keys stay."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from unit.on_unit.durable import flip, target_of
from unit.on_unit.links import SYSTEM
from unit.on_unit.pending import RECOVER
from unit.on_unit.places import Places
from unit.on_unit.service import BROKER, DAEMON, FIREWALL, systemctl


def remove(places: Places) -> dict[str, Any]:
    """Stop, then remove every link, release and configuration; what stays. Safe to repeat."""
    systemctl("stop", DAEMON, *BROKER, FIREWALL)
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
    systemctl("reset-failed", DAEMON)
    stay = ("/var/lib/edgeagent", "/etc/edgeagent/keys", "/etc/edgeagent/documents")
    return {"stays": [path for path in stay if (places.root / path.lstrip("/")).exists()]}


def _forget_package() -> None:
    """A package that was installed before the first deployment, by an image or by hand."""
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", "edgeagent"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.stdout.strip() == "installed":
        subprocess.run(["dpkg", "--remove", "edgeagent"], capture_output=True, check=True)
