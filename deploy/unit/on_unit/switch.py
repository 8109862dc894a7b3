"""The switch: both links, packet filter, restart, READY, a sign from the desk; else everything as before.

It runs as a service of its own, so that it goes on when the connection that asked for it is gone. The desk
must say over a *new* connection that it still reaches the unit: a packet filter that locks technicians out
undoes itself, and so does a switch whose desk has died.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field

from unit.on_unit.durable import flip, write
from unit.on_unit.keys import missing, refuse_lost_keys
from unit.on_unit.links import adopt, config_links, put, system_links, tidy
from unit.on_unit.pending import Pending, begin, end, restore
from unit.on_unit.places import Places, UnitError
from unit.on_unit.service import (
    BROKER,
    DAEMON,
    cameras_anew,
    last_words,
    load_clocks,
    load_firewall,
    refuse_live,
    shown,
    systemctl,
)
from unit.on_unit.stage import prune

CONFIRM_S = 30.0
HEALTHY_S = 6.0
LOOK_EVERY_S = 0.5
NOT_BEGUN = "not begun"
STATES = ("LOCKED", "STANDBY", "LIVE", "CLOSED")


@dataclass
class Progress:
    """What the desk reads while it waits; kept in memory only."""

    places: Places
    transaction: str
    phase: str = "starting"
    outcome: str = ""
    reason: str = ""
    touched: bool = False
    words: list[str] = field(default_factory=list)

    def at(self, phase: str) -> None:
        """Say where we are."""
        self.phase = phase
        kept = {key: value for key, value in self.__dict__.items() if key != "places"}
        write(self.places.run / "progress.json", json.dumps(kept).encode(), 0o600)


def switch(places: Places, release: str, config: str, transaction: str) -> None:
    """Go over to a release and a configuration that were checked; goes back by itself."""
    progress = Progress(places, transaction)
    progress.at("switching")
    links = system_links(places, release) | config_links(places, config)
    try:
        # The unit was looked at before minutes of copying and testing; what counts is now.
        refuse_live()
        refuse_lost_keys(places, places.versions / config / "edgeagent.toml")
        adopt(places, list(config_links(places, config)))
    except (UnitError, OSError) as error:
        progress.reason, progress.outcome = _words(error), NOT_BEGUN
        progress.at("done")
        return
    pending = begin(places, transaction, links)
    try:
        put(links)
        flip(places.program, f"edgeagent-{release}")
        flip(places.current, f"versions/{config}")
        _run(places, progress)
    except (UnitError, OSError, subprocess.CalledProcessError) as error:
        _go_back(places, pending, progress, error)
        return
    end(places)
    keep = {f"edgeagent-{release}", pending.program, f"versions/{config}", pending.config}
    tidy(places)
    prune(places, keep)
    systemctl("daemon-reload")
    progress.at("done")


def _run(places: Places, progress: Progress) -> None:
    systemctl("daemon-reload", check=True)
    systemctl("try-restart", "systemd-journald.service")
    cameras_anew()
    systemctl("reset-failed", DAEMON)
    failed = load_firewall(places.etc / "nftables.conf")
    since = time.monotonic()
    if failed:
        raise UnitError(f"packet filter was not loaded: {failed}", where="nftables.conf")
    if failed := load_clocks(places):
        raise UnitError(f"time servers were not set: {failed}", where="timesyncd.conf")
    refuse_live()  # the last moment: what runs was not touched so far, and is not by going back from here
    progress.touched = True
    progress.at("new-connection")
    systemctl("try-restart", BROKER[1])
    if missing(places, places.etc / "edgeagent.toml"):
        systemctl("stop", DAEMON)
        progress.outcome = "waits for enrolment"
    else:
        _start(progress)
        progress.outcome = "ready"
    _confirmed(places, progress.transaction, since + CONFIRM_S)


def _start(progress: Progress) -> None:
    """Restart, wait for READY, and see it stay healthy."""
    if systemctl("restart", DAEMON).returncode != 0:
        progress.words = last_words()
        raise UnitError(f"did not reach READY ({shown().get('Result', '?')})", where=DAEMON)
    first = shown()
    until = time.monotonic() + HEALTHY_S
    while time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        now = shown()
        if now["ActiveState"] != "active" or now["MainPID"] != first["MainPID"]:
            progress.words = last_words()
            raise UnitError(f"reached READY and fell over ({now.get('Result', '?')})", where=DAEMON)
    if not now["StatusText"].startswith(STATES):
        raise UnitError(f"is READY but says {now['StatusText']!r}", where=DAEMON)


def _confirmed(places: Places, transaction: str, until: float) -> None:
    sign = places.run / f"confirmed-{transaction}"
    while not sign.exists():
        if time.monotonic() > until:
            raise UnitError(
                f"no new connection from the desk within {CONFIRM_S:.0f} s of loading the packet filter",
                where="nftables.conf",
                next_step="check technicians in network.toml against the address that you come from",
            )
        time.sleep(LOOK_EVERY_S / 2)
    sign.unlink()


def _go_back(places: Places, pending: Pending, progress: Progress, error: Exception) -> None:
    progress.reason = _words(error)
    progress.at("going-back")
    ready = restore(places, pending, untouched=not progress.touched)
    if pending.program is None:
        progress.outcome = "undone; nothing was installed before"
    else:
        progress.outcome = "rolled back" if ready else "rolled back; the old version is not READY either"
    progress.at("done")


def _words(error: Exception) -> str:
    return f"{error.where}: {error.what}" if isinstance(error, UnitError) else str(error)


def confirm(places: Places, transaction: str) -> None:
    """The desk's sign over a new connection."""
    (places.run / f"confirmed-{transaction}").touch()
