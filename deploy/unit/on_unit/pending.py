"""A switch that has not proved itself: how to go back is written down before the first link moves."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from unit.on_unit.durable import flip, sync, target_of, write
from unit.on_unit.links import Links
from unit.on_unit.places import Places
from unit.on_unit.service import BROKER, DAEMON, load_clocks, load_firewall, systemctl

RECOVER = "edgeagent-recover.service"
RECOVER_UNIT = """\
# Written by `make deploy`. Power was cut while a new version was being tried: go back to the one before it.

[Unit]
Description=Return to the version before an interrupted deployment
DefaultDependencies=no
RequiresMountsFor=/var/lib/edgeagent-deploy /opt /etc/edgeagent
Before=edgeagent-clocks.service edgeagent-firewall.service
Before=edgeagent-broker.socket edgeagent-broker.service edgeagent.service
Before=sysinit.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists=/var/lib/edgeagent-deploy/pending.json

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -I /var/lib/edgeagent-deploy/tool.pyz recover
"""


@dataclass(frozen=True)
class Pending:
    """Where the links pointed before; None: there was none."""

    transaction: str
    program: str | None
    config: str | None
    links: dict[str, str | None]


def begin(places: Places, transaction: str, links: Links) -> Pending:
    """Write down the way back; the recovery at boot is in place before that."""
    shutil.copyfile(places.run / "tool.pyz", places.state / ".tool")
    write(places.tool, (places.state / ".tool").read_bytes(), 0o700)
    (places.state / ".tool").unlink()
    write(places.systemd / RECOVER, RECOVER_UNIT.encode(), 0o644)
    wants = places.systemd / "sysinit.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    flip(wants / RECOVER, f"../{RECOVER}")
    before = {str(link): target_of(link) for link, target in links.items() if target_of(link) != target}
    pending = Pending(transaction, target_of(places.program), target_of(places.current), before)
    write(places.pending, json.dumps(asdict(pending)).encode())
    return pending


def read(places: Places) -> Pending | None:
    """The switch that was interrupted, if one was."""
    if not places.pending.exists():
        return None
    return Pending(**json.loads(places.pending.read_bytes()))


def turn_back(places: Places, pending: Pending) -> None:
    """Every link as it was; then nothing is pending. Safe to interrupt, and to repeat."""
    flip(places.program, pending.program)
    flip(places.current, pending.config)
    for link, target in pending.links.items():
        if Path(link).parent.exists():
            flip(Path(link), target)
    end(places)


def end(places: Places) -> None:
    """The switch is over, one way or the other."""
    places.pending.unlink(missing_ok=True)
    sync(places.state)


def restore(places: Places, pending: Pending, *, untouched: bool = False) -> bool:
    """Turn back and run what ran before; whether it reached READY (True if nothing ran before).

    `untouched`: what ran before runs still and is left alone.
    """
    turn_back(places, pending)
    systemctl("daemon-reload")
    load_firewall(places.etc / "nftables.conf")
    load_clocks(places)
    if untouched:
        return True
    systemctl("try-restart", BROKER[1])
    if pending.program is None or pending.config is None:
        systemctl("stop", DAEMON, *BROKER)
        systemctl("reset-failed", DAEMON)
        return True
    systemctl("reset-failed", DAEMON)
    return systemctl("restart", DAEMON).returncode == 0


def recover(places: Places, *, booting: bool) -> str:
    """At boot, before the daemon; or when the switching program was killed. What was done."""
    pending = read(places)
    if pending is None:
        return "nothing to do"
    if booting:
        turn_back(places, pending)
        systemctl("daemon-reload")
    else:
        restore(places, pending)
    return f"back on {pending.program or 'nothing'}"
