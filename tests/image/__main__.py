"""`make test-image`: every step on one emulated board, a table at the end, the serial log kept.

A failed step ends the run: what comes after rests on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from card_disk import Disk
from card_image import for_unit
from card_unit import rendered
from image_tools import interruptible, progress
from write_card import opened, unit_files, write

from tests.image.guest import Guest, GuestError
from tests.image.office import ControlRoom
from tests.image.steps import BOOT_S, STEPS, Trial
from tests.image.variants import ROOT, Built, updates

FIRST_UPDATE = 6
"""Steps before it need no update."""


def main() -> int:
    """Run the steps; 0 if all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--built", type=Path, default=ROOT / "build" / "image" / "virt")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "image-test")
    parser.add_argument("--only", type=int, default=len(STEPS), help="the first so many steps")
    parser.add_argument("--begin", type=int, default=1, help="with this step, on the card of the run before")
    asked = parser.parse_args()
    interruptible()
    built, steps = Built(asked.built), STEPS[asked.begin - 1 : asked.only]
    if asked.begin == 1:
        shutil.rmtree(asked.out, ignore_errors=True)
        asked.out.mkdir(parents=True)
    bundles = updates(built) if asked.only > FIRST_UPDATE else {}
    room = ControlRoom(asked.out / "desk")
    trial = Trial(_guest(built, asked.out, room), built.version, bundles, asked.out, room)
    rows = []
    try:
        if asked.begin > 1:
            trial.guest.start()
            trial.guest.expect(r"Starting kernel", BOOT_S)
            trial.guest.reachable(BOOT_S)
        for name, step in steps:
            rows.append(_try(name, step, trial))
            if rows[-1][2] != "pass":
                break
    except KeyboardInterrupt:
        print("interrupted; the board was switched off", file=sys.stderr)
    finally:
        trial.guest.power_off()
        _table(rows, asked.out)
    return 0 if len(rows) == len(steps) and all(row[2] == "pass" for row in rows) else 1


def _try(name: str, step: Callable[[Trial], str], trial: Trial) -> tuple[str, float, str, str]:
    print(f"{name} …", flush=True)
    begin = time.monotonic()
    try:
        with progress(name):
            seen, verdict = step(trial), "pass"
    except GuestError as failed:
        print(failed, file=sys.stderr)
        seen, verdict = str(failed).splitlines()[0], "FAIL"
    took = time.monotonic() - begin
    print(f"{name}: {verdict}, {took:.0f} s: {seen}", flush=True)
    return name, took, verdict, seen


def _guest(built: Built, out: Path, room: ControlRoom) -> Guest:
    """A card, written by the tool that writes cards, with a technician's key and what a desk made."""
    key, disk = out / "technician", out / "card"
    if disk.exists():
        return Guest(disk, out, key)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    room.open()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=out) as work:
        made = unit_files(None, key.with_suffix(".pub"), ())
        card = for_unit(built.card, rendered(room.unit, Path(work)) | made, Path(work))
        disk.touch()
        os.truncate(disk, card.size + (64 << 20))
        target = Disk(disk, disk.stat().st_size, "a file", ())
        with opened(target) as device:
            write(card, target, device, lambda _: None)
    print(f"card written and read back: {time.monotonic() - begin:.0f} s", flush=True)
    return Guest(disk, out, key)


def _table(rows: list[tuple[str, float, str, str]], out: Path) -> None:
    lines = [f"{'step':44} {'s':>5}  verdict  seen"]
    lines += [f"{name:44} {took:5.0f}  {verdict:7}  {seen}" for name, took, verdict, seen in rows]
    (out / "table.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
