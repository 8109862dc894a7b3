"""Asking and telling the unit's systemd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from unit.on_unit.places import Places, UnitError

DAEMON = "edgeagent.service"
FIREWALL = "edgeagent-firewall.service"
CLOCKS = "edgeagent-clocks.service"
TIMESYNCD = "systemd-timesyncd.service"
BROKER = ("edgeagent-broker.socket", "edgeagent-broker.service")
ASKED = ("ActiveState", "SubState", "NRestarts", "MainPID", "StatusText", "Result")
LAST_LINES = "6"
LIVE = "is LIVE: officers rely on it now"
WHILE_LIVE = "wait until they have left, or ask the control room to release the lease"


def systemctl(*arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """One call; its output is kept."""
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=check)


def shown(unit: str = DAEMON) -> dict[str, str]:
    """The properties that say how a unit fares."""
    lines = systemctl("show", unit, f"--property={','.join(ASKED)}").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def is_live(service: dict[str, str]) -> bool:
    """Whether officers rely on the unit now (R16), by what `shown` gives; the daemon says it once a second.

    A service that has ended keeps its last words, so those of one that is down do not count.
    """
    down = service.get("ActiveState") in ("inactive", "failed")
    return not down and service.get("StatusText", "").startswith("LIVE")


def refuse_live(also: str = "", next_step: str = WHILE_LIVE) -> None:
    """Nothing is taken from under officers who rely on it.

    Raises:
        UnitError: the unit is LIVE at this moment; `also` is said with it.
    """
    if is_live(shown()):
        raise UnitError(LIVE + also, where="the unit", next_step=next_step)


def last_words(unit: str = DAEMON) -> list[str]:
    """The last lines of a unit's newest start; the daemon logs nothing that identifies a person (R1)."""
    start = systemctl("show", unit, "--property=InvocationID", "--value").stdout.strip()
    of_start = [f"_SYSTEMD_INVOCATION_ID={start}", "+", f"INVOCATION_ID={start}"] if start else ["-u", unit]
    asked = ["journalctl", "-q", "-n", LAST_LINES, "-o", "cat", "--no-pager", *of_start]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()


def cameras_anew() -> None:
    """A camera that is there already gets its group and its name by the rules of this version."""
    which = ("--subsystem-match=video4linux", "--subsystem-match=media")
    for words in (("control", "--reload"), ("trigger", *which)):
        subprocess.run(["udevadm", *words], capture_output=True, check=False)  # a container has no udev


def load_firewall(rules: Path) -> str:
    """Load what the configuration says, or nothing if it says nothing; what went wrong."""
    if not rules.exists():
        systemctl("stop", FIREWALL)
        # After a first deployment that went back, systemd no longer knows how to stop it.
        if firewall_is_loaded():
            taken = ["nft", "delete", "table", "inet", "edgeagent"]
            return subprocess.run(taken, capture_output=True, text=True, check=False).stderr.strip()
        return ""
    done = systemctl("reload-or-restart", FIREWALL)
    return "" if done.returncode == 0 else done.stderr.strip()


def load_clocks(places: Places) -> str:
    """Have the time service ask whom the configuration names, unless it does already; what went wrong."""
    said, read = places.etc / "timesyncd.conf", places.root / "run/systemd/timesyncd.conf.d/edgeagent.conf"
    if read.exists() == said.exists() and (not said.exists() or said.read_bytes() == read.read_bytes()):
        return ""
    done = systemctl("restart" if said.exists() else "stop", CLOCKS)
    if not said.exists():
        read.unlink(missing_ok=True)  # as above: systemd may no longer know how to stop it
    systemctl("try-restart", TIMESYNCD)
    return done.stderr.strip() if said.exists() and done.returncode != 0 else ""


def firewall_is_loaded() -> bool:
    """Whether the kernel has our table, whoever loaded it."""
    if shutil.which("nft") is None:
        return False
    asked = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return False
    tables = [row.get("table", {}) for row in json.loads(asked.stdout)["nftables"]]
    return any(table.get("name") == "edgeagent" for table in tables)
