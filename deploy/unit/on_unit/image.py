"""A unit that runs an image: which slot and version, and taking a signed update into the other slot.

Whether an update is taken is decided by the image itself: RAUC looks at signature, board and version. Whether
it is kept is decided by its own commit, after it has shown that it works.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unit.on_unit.places import Places, UnitError
from unit.on_unit.service import is_live, refuse_live, shown

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
    emptied = found is not None and found["marks"].get(f"{other(found)}_LEFT") == "0"
    raise UnitError(
        f"did not take it: {_reason(done.stdout + done.stderr, since)}",
        where="the unit",
        next_step=f"what runs is untouched, but slot {other(found)} holds nothing to go back to: update again"
        if found is not None and emptied
        else "nothing was changed; is it this board's, not older, and signed by your force?",
    )


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """An installation goes on when the desk that asked for it is gone; a second one waits for its end."""
    with (places.run / "installing").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnitError(
                "an earlier update is still being installed",
                where="the unit",
                next_step="wait some minutes, then look: make status",
            ) from None
        yield


def receive_alone(places: Places) -> None:
    """See that nobody installs what would be overwritten.

    Raises:
        UnitError: somebody does.
    """
    with _alone(places):
        pass


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
    if is_live(shown()):
        raise UnitError(
            "is LIVE: officers rely on it now. The update is installed and will be tried at the next start",
            where="the unit",
            next_step="when they have left: systemctl reboot there, then make status",
        )
    later = ["systemd-run", "--quiet", "--on-active=1s", "--timer-property=AccuracySec=100ms"]
    subprocess.run([*later, "systemctl", "reboot"], capture_output=True, check=True)
