"""A unit that runs an image: which slot and version, and taking a signed update into the other slot.

Whether an update is taken is decided by the image itself: RAUC looks at signature, board and version. Whether
it is kept is decided by its own commit, after it has shown that it works.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from unit.on_unit import stage
from unit.on_unit.lock import alone
from unit.on_unit.places import Places, UnitError
from unit.on_unit.service import refuse_live

UPDATE = "update.raucb"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
RUNNING = re.compile(r"^running ([AB])\b")
OLDER = re.compile(r"the bundle's version .*")
ERROR = re.compile(r"LastError: (.*)")


def image(places: Places) -> dict[str, Any] | None:
    """Running slot, the slots' marks, version, this start's id, octets free for an update; None: no image.

    Raises:
        UnitError: it was not started by the slots' loader.
    """
    if not places.image.exists():
        return None
    slots = str(places.image / "slots.py")
    said = subprocess.run([slots, "show"], capture_output=True, text=True, check=True).stdout
    running = RUNNING.match(said)
    if running is None:
        raise UnitError(
            "was not started by the slots' loader", where="the unit", next_step="write its card anew"
        )
    left = sum(file.stat().st_size for file in places.updates.glob("*"))  # of an attempt that was cut off
    return {
        "running": running[1],
        "marks": dict(re.findall(r"BOOT_([AB]_\w+)=(\d+)", said)),
        "version": (places.image / "version").read_text().strip(),
        "boot": BOOT_ID.read_text().strip(),
        "free": shutil.disk_usage(places.updates.parent).free + left,
    }


def other(found: dict[str, Any]) -> str:
    """The slot that does not run."""
    return "B" if found["running"] == "A" else "A"


def kept(found: dict[str, Any], slot: str) -> bool:
    """Whether what is in a slot has shown that it works."""
    return bool(found["marks"].get(f"{slot}_GOOD") == "1")


def emptied(found: dict[str, Any], slot: str) -> bool:
    """Whether a slot is not started any more."""
    return bool(found["marks"].get(f"{slot}_LEFT") == "0")


def receive(places: Places, size: int, sha256: str) -> None:
    """Take an update from standard input.

    Raises:
        UnitError: it did not arrive whole, or an earlier one is still being installed.
    """
    with _alone(places):
        stage.receive(places.updates, UPDATE, size, sha256)


def install(places: Places) -> None:
    """Write the update that was received into the slot that does not run; it is gone afterwards.

    Raises:
        UnitError: the unit is LIVE, or the image refuses the update; what runs is untouched.
    """
    file, since = places.updates / UPDATE, time.time()
    with _alone(places):
        try:
            refuse_live()
            done = subprocess.run(["rauc", "install", str(file)], capture_output=True, text=True, check=False)
        finally:
            file.unlink(missing_ok=True)
    if done.returncode == 0:
        return
    found = image(places)
    next_step = "nothing was changed; is it this board's, not older, and signed by your force?"
    if found is not None and emptied(found, other(found)):
        next_step = (
            f"what runs is untouched, but slot {other(found)} holds nothing to go back to: update again"
        )
    why = _reason(done.stdout + done.stderr, since)
    raise UnitError(f"did not take it: {why}", where="the unit", next_step=next_step)


def _alone(places: Places) -> AbstractContextManager[None]:
    """An installation goes on when the desk that asked for it is gone; a second one waits for its end."""
    return alone(
        places.run / "installing",
        "an earlier update is still being installed",
        "wait some minutes, then look: make status",
    )


def _reason(said: str, since: float) -> str:
    """RAUC's own word, or that of the image's program that refused, which only the journal has."""
    asked = ["journalctl", "-q", "-o", "cat", "-u", "rauc", f"--since=@{since:.0f}", "--no-pager"]
    journal = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    for found in (OLDER.findall(journal)[-1:], ERROR.findall(said)[-1:], said.strip().splitlines()[-1:]):
        if found:
            return str(found[0])[-300:]
    return "no reason was given"


def restart() -> None:
    """Restart in a second, so that the answer still arrives.

    Raises:
        UnitError: the unit is LIVE: the update waits in its slot for the next start.
    """
    refuse_live(
        also=". The update is installed and will be tried at the next start",
        next_step="when they have left: systemctl reboot there, then make status",
    )
    later = ["systemd-run", "--quiet", "--on-active=1s", "--timer-property=AccuracySec=100ms"]
    subprocess.run([*later, "systemctl", "reboot"], capture_output=True, check=True)
