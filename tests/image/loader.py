"""Does the loader on a Raspberry Pi 5's card take the kernel and the initrd of its slots?

python -m tests.image.loader [--image FILE]

No emulator has that board. But its U-Boot is one program for the Raspberry Pi 3, 4 and 5, and QEMU has a 3:
there the loader of this very card gets kernel and initrd at the addresses of its own script, and is told
to start them. That it says `Starting kernel` is all that is asked: what comes next is for another board.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from card_image import partition
from image_board import Board, load_board
from image_tools import MEBIBYTE, ImageError, ending, need, run

ROOT = Path(__file__).parents[2]
BOARD = "raspberry-pi-5"
TREE = "*/dtb/broadcom/bcm2837-rpi-3-b.dtb"
LIMIT_S = 180.0
PROMPT, STOP, DONE = b"U-Boot>", b"stop autoboot", b"Starting kernel"


def tried(image: Path, board: Board, work: Path) -> str:
    """What the loader said, to `Starting kernel`.

    Raises:
        ImageError: it does not start them.
    """
    need("qemu-system-aarch64", "mcopy")
    run("mcopy", "-i", f"{image}@@{partition(image, 'boot').start}", "::u-boot.bin", work)
    slot, places = partition(image, "root-a").start, []
    for kind, (at, most) in board.sizes.pieces.items():
        file = work / kind
        with image.open("rb") as reading:
            reading.seek(slot + at * MEBIBYTE)
            file.write_bytes(reading.read(most * MEBIBYTE))
        places.append((file, board.address(kind)))
    addresses = " ".join(f"{address:#x}" for _, address in places)
    said = _typed(work / "u-boot.bin", _tree(work), places, f"bootm {addresses} ${{fdt_addr}}")
    if DONE not in said:
        raise ImageError(f"says {said[-600:].decode(errors='replace')!r}", where="the loader of the card")
    return said.decode(errors="replace")


def _tree(work: Path) -> Path:
    """The Raspberry Pi 3's device tree, from the Debian base of the newest build."""
    kept = (ROOT / "build/image-cache").glob(f"base-{BOARD}-*.tar")
    base = max(kept, key=lambda file: file.stat().st_mtime, default=None)
    if base is None:
        raise ImageError("is not kept here", where=f"base-{BOARD}", next_step=f"make image BOARD={BOARD}")
    with tarfile.open(base) as tar:
        for member in tar:
            if Path(member.name).match(TREE) and (found := tar.extractfile(member)) is not None:
                (work / "tree.dtb").write_bytes(found.read())
                return work / "tree.dtb"
    raise ImageError(f"has no {TREE}", where=str(base))


def _typed(loader: Path, tree: Path, places: list[tuple[Path, int]], command: str) -> bytes:
    call = ["qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-monitor", "none"]
    call += [
        "-serial",
        "null",
        "-serial",
        "stdio",
    ]  # by this tree, all but its first words come at the second
    call += ["-kernel", str(loader), "-dtb", str(tree)]
    for file, address in places:
        call += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    with subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as board:
        assert board.stdin is not None
        assert board.stdout is not None
        said, steps = b"", [(STOP, b" \n"), (PROMPT, command.encode() + b"\n")]
        end, seen = time.monotonic() + LIMIT_S, 0
        try:
            while time.monotonic() < end and DONE not in said:
                if not select.select([board.stdout], [], [], 1.0)[0]:
                    continue
                part = os.read(board.stdout.fileno(), 1 << 16)
                if not part:
                    break
                said += part
                if steps and steps[0][0] in said[seen:]:
                    seen = len(said)
                    board.stdin.write(steps.pop(0)[1])
                    board.stdin.flush()
        finally:
            board.kill()
    return said


def main() -> int:
    """Try the loader of the card that `make image BOARD=raspberry-pi-5` left."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / "build" / "image" / BOARD / f"edgeagent-{BOARD}.img"
    parser.add_argument("--image", type=Path, default=default)
    asked = parser.parse_args()
    return ending(lambda: _show(asked.image), "the image was only read")


def _show(image: Path) -> int:
    with tempfile.TemporaryDirectory() as work:
        said = tried(image, load_board(BOARD), Path(work))
    for line in said.splitlines():
        if any(word in line for word in ("Image Name", "Checksum", "Starting kernel")):
            print(f"loader   {line.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
