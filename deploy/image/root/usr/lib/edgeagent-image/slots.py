#!/usr/bin/python3
"""State of the two slots, for RAUC (custom bootloader backend) and for the commit; boot/boot.cmd is the
other half.

Two equal copies of one checksummed U-Boot environment. Copy 1 is written before copy 0 and each is synced, so
one of them is whole at any moment. Readers take copy 0 if its checksum holds, else copy 1.

slots.py get-primary | set-primary SLOT | get-state SLOT | set-state SLOT good|bad | get-current | show
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

FOLDER = Path("/state")
COPIES = ("slots-0.env", "slots-1.env")
SIZE = 0x1000
CRC = 4
SLOTS = ("A", "B")
ATTEMPTS = 3
NEW = {"BOOT_ORDER": "A B"} | {f"BOOT_{slot}_{what}": value for slot in SLOTS for what, value in
                               (("LEFT", str(ATTEMPTS)), ("GOOD", "1"))}  # fmt: skip


class StateError(Exception):
    """Both copies are damaged or absent."""


def decode(blob: bytes) -> dict[str, str] | None:
    """The variables of one copy, or None if it is not whole."""
    if len(blob) != SIZE or int.from_bytes(blob[:CRC], "little") != zlib.crc32(blob[CRC:]):
        return None
    text = blob[CRC:].split(b"\0\0", 1)[0].decode("ascii", "replace")
    found = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
    return found if found.keys() >= NEW.keys() else None


def encode(state: dict[str, str]) -> bytes:
    """One copy, as U-Boot's `env import -c` reads it."""
    body = b"".join(f"{name}={value}\0".encode() for name, value in sorted(state.items()))
    body = (body + b"\0").ljust(SIZE - CRC, b"\0")
    return zlib.crc32(body).to_bytes(CRC, "little") + body


def read(folder: Path) -> dict[str, str]:
    """The state.

    Raises:
        StateError: neither copy is whole.
    """
    for name in COPIES:
        file = folder / name
        state = decode(file.read_bytes()) if file.is_file() else None
        if state is not None:
            return state
    raise StateError(f"{folder}: neither copy of the slots' state is whole")


def write(folder: Path, state: dict[str, str]) -> None:
    """Both copies, the second one first; in place, so that the file system's own tables stay as they are."""
    blob = encode(state)
    for name in reversed(COPIES):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_SYNC, 0o600)
        try:
            os.pwrite(file, blob, 0)
            os.fsync(file)
        finally:
            os.close(file)


def primary(state: dict[str, str]) -> str:
    """The slot that the loader would try next."""
    order = state["BOOT_ORDER"].split()
    return next((slot for slot in order if state[f"BOOT_{slot}_LEFT"] != "0"), order[0])


def with_primary(state: dict[str, str], slot: str) -> dict[str, str]:
    """`slot` is on trial: tried first, and not good before it has shown so."""
    other = SLOTS[1 - SLOTS.index(slot)]
    changes = {f"BOOT_{slot}_LEFT": str(ATTEMPTS), f"BOOT_{slot}_GOOD": "0", "BOOT_ORDER": f"{slot} {other}"}
    return state | changes


def with_state(state: dict[str, str], slot: str, *, good: bool) -> dict[str, str]:
    """Good: all attempts are back. Bad: it is not tried again. The order stays: an update may be waiting."""
    left, mark = (str(ATTEMPTS), "1") if good else ("0", "0")
    return state | {f"BOOT_{slot}_LEFT": left, f"BOOT_{slot}_GOOD": mark}


def on_trial(state: dict[str, str], slot: str) -> bool:
    """An update that has not shown yet that it works."""
    return state[f"BOOT_{slot}_GOOD"] != "1"


def current(command_line: str) -> str:
    """The slot that runs, as the loader said."""
    words = dict(word.split("=", 1) for word in command_line.split() if "=" in word)
    return words.get("edgeagent.slot", "")


def change(folder: Path, state: dict[str, str]) -> None:
    """Write, with the partition writable for that moment only."""
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    try:
        write(folder, state)
    finally:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def main(words: list[str]) -> int:
    """Answer one question or carry out one change."""
    running = current(Path("/proc/cmdline").read_text())
    try:
        state = read(FOLDER)
    except StateError as lost:
        print(f"{lost}; taking both slots for good", file=sys.stderr)
        state = NEW
    match words:
        case ["get-primary"]:
            print(primary(state))
        case ["get-current"]:
            print(running)
        case ["get-state", ("A" | "B") as slot]:
            print("good" if state[f"BOOT_{slot}_LEFT"] != "0" else "bad")
        case ["set-primary", ("A" | "B") as slot]:
            change(FOLDER, with_primary(state, slot))
        case ["set-state", ("A" | "B") as slot, ("good" | "bad") as verdict]:
            change(FOLDER, with_state(state, slot, good=verdict == "good"))
        case ["show"]:
            print(f"running {running}", *(f"{name}={value}" for name, value in sorted(state.items())))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
