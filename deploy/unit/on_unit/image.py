"""A unit that runs an image: which slot and version, and taking a signed update into the other slot.

Whether an update is taken is decided by the image itself: RAUC looks at signature, board and version. Whether
it is kept is decided by its own commit, after it has shown that it works.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from unit.on_unit.places import Places, UnitError
from unit.on_unit.service import refuse_live

UPDATE = "update.raucb"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OLDER = re.compile(r"the bundle's version .*")
ERROR = re.compile(r"LastError: (.*)")


def image(places: Places) -> dict[str, Any] | None:
    """Running slot, the slots' marks, version, this start's id, octets free for an update; None: no image."""
    slots = places.image / "slots.py"
    if not slots.exists():
        return None
    said = subprocess.run([str(slots), "show"], capture_output=True, text=True, check=True).stdout
    return {
        "running": said.split()[1],
        "marks": dict(re.findall(r"BOOT_([AB]_\w+)=(\d+)", said)),
        "version": (places.image / "version").read_text().strip(),
        "boot": BOOT_ID.read_text().strip(),
        "free": shutil.disk_usage(places.updates.parent).free,
    }


def install(places: Places) -> None:
    """Write the update that was received into the slot that does not run; it is gone afterwards.

    Raises:
        UnitError: the unit is LIVE, or the image refuses the update; what runs is untouched.
    """
    file, since = places.updates / UPDATE, time.time()
    try:
        refuse_live()
        done = subprocess.run(["rauc", "install", str(file)], capture_output=True, text=True, check=False)
    finally:
        file.unlink(missing_ok=True)
    if done.returncode != 0:
        raise UnitError(
            f"refuses it: {_reason(done.stdout + done.stderr, since)}",
            where="the unit",
            next_step="nothing was changed; is it this board's, newer, and signed by your force?",
        )


def _reason(said: str, since: float) -> str:
    """RAUC's own word, or that of the image's program that refused, which only the journal has."""
    asked = ["journalctl", "-q", "-o", "cat", "-u", "rauc", f"--since=@{since:.0f}", "--no-pager"]
    journal = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    for found in (OLDER.findall(journal)[-1:], ERROR.findall(said)[-1:], said.strip().splitlines()[-1:]):
        if found:
            return str(found[0])[-300:]
    return "no reason was given"


def restart(places: Places) -> None:
    """Restart in a second, so that the answer still arrives.

    Raises:
        UnitError: the unit is LIVE: the update waits in its slot for the next start.
    """
    del places
    refuse_live()
    later = ["systemd-run", "--quiet", "--on-active=1s", "systemctl", "reboot"]
    subprocess.run(later, capture_output=True, check=True)
