"""Look into a finished card image, without starting it: check_image.py --board raspberry-pi-5

For a board that no emulator has, this is all that can be seen before one boots: what lies on each partition,
and that the parts of a slot belong together.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from card_image import Part, partition
from image_board import Board, load_board
from image_disk import PARTITIONS
from image_kernel import unwrap
from image_tools import HERE, MEBIBYTE, REPOSITORY, ImageError, ending, need, run, sha256
from image_tree import EMPTY

sys.path.insert(0, str(HERE / "root/usr/lib/edgeagent-image"))
import slots

ARM64_KERNEL = (56, b"ARM\x64")
MOUNT_POINTS = ("proc", "sys", "run", "tmp", *EMPTY)
"""Without one of them the root does not start, however right its hashes are."""
SQUASHFS, DEVICE_TREE = b"hsqs", b"\xd0\x0d\xfe\xed"


def check(image: Path, board: Board, work: Path, say: Callable[[str], None]) -> None:
    """Tell what is on the card.

    Raises:
        ImageError: a part is missing, or is not what its hash says.
    """
    need("veritysetup", "mkimage", "mcopy", "mke2fs")
    parts = {name: partition(image, name) for name in PARTITIONS}
    for name, part in parts.items():
        say(f"{name:8} from {part.start // MEBIBYTE:5} MiB, {part.size / MEBIBYTE:6.0f} MiB")
    _loader(image, parts["boot"], board, work, say)
    _state(image, parts["state"], work, say)
    for name in ("root-a", "root-b"):
        _slot(_carved(image, parts[name], work / name), name, board, say)
    if sha256(work / "root-a") != sha256(work / "root-b"):
        raise ImageError("differ on a new card", where="root-a, root-b")
    run("e2fsck", "-f", "-n", _carved(image, parts["data"], work / "data"))
    say("data     ext4 without a fault")


def _loader(image: Path, part: Part, board: Board, work: Path, say: Callable[[str], None]) -> None:
    place = f"{image}@@{part.start}"
    folder = work / "boot"
    folder.mkdir()
    run("mcopy", "-s", "-i", place, "::*", folder)
    wanted = {"boot.scr", *board.boot_files, *(file.name for file in board.own_boot_files)}
    found = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    if set(found) != wanted:
        raise ImageError(f"holds {sorted(found)}, not {sorted(wanted)}", where="boot")
    for name, file in found.items():
        say(f"boot     {name}, {file.stat().st_size} bytes")
        if name.endswith(".dtb") and file.read_bytes()[:4] != DEVICE_TREE:
            raise ImageError("is no device tree", where=name)
    for source in board.own_boot_files:
        if source.read_bytes() != found[source.name].read_bytes():
            raise ImageError("is not the one in boards/", where=source.name)
    if "config.txt" in found:
        _names_files(found["config.txt"].read_text(), set(found))
    run("mkimage", "-l", found["boot.scr"])


def _names_files(config: str, there: set[str]) -> None:
    """What the board's firmware is told to read is there, or it shows nothing but a rainbow."""
    named = set(re.findall(r"^(?:kernel|device_tree|initramfs)=(\S+)", config, re.MULTILINE))
    if missing := sorted(named - there):
        raise ImageError(f"names {', '.join(missing)}, which is not there", where="config.txt")


def _state(image: Path, part: Part, work: Path, say: Callable[[str], None]) -> None:
    for name in slots.COPIES:
        copy = work / name
        run("mcopy", "-i", f"{image}@@{part.start}", f"::{name}", copy)
        if slots.decode(copy.read_bytes()) != slots.NEW:
            raise ImageError("is not the state of a new card", where=name)
    say("state    both copies whole: three attempts for each slot, A first")


def _slot(slot: Path, name: str, board: Board, say: Callable[[str], None]) -> None:
    """Kernel and initrd are what the loader will ask for, and the root is what the initrd will ask for."""
    listed = set(run("unsquashfs", "-l", "-d", "", slot).splitlines())
    if missing := sorted({f"/{place}" for place in MOUNT_POINTS} - listed):
        raise ImageError(f"has no {', '.join(missing)}", where=f"{name}, root")
    pieces = {}
    with slot.open("rb") as reading:
        magic = reading.read(4)
        for kind, (at, most) in board.sizes.pieces.items():
            reading.seek(at * MEBIBYTE)
            pieces[kind] = unwrap(reading.read(most * MEBIBYTE), kind, f"{name}, {kind}")
    if magic != SQUASHFS:
        raise ImageError("begins with no squashfs", where=name)
    at, word = ARM64_KERNEL
    if gzip.decompress(pieces["kernel"])[at : at + len(word)] != word:
        raise ImageError("is no arm64 kernel", where=name)
    told = re.search(rb"VERITY_HASH=([0-9a-f]{64})\nVERITY_OFFSET=(\d+)\n", pieces["ramdisk"])
    if told is None:
        raise ImageError("names no root hash", where=f"{name}, ramdisk")
    root_hash, offset = told[1].decode(), told[2].decode()
    run("veritysetup", "verify", slot, slot, root_hash, f"--hash-offset={offset}")
    say(f"{name}   root {int(offset) / MEBIBYTE:.0f} MiB, every block as root hash {root_hash[:16]}… says")
    long = ", ".join(f"{part} {len(piece) / MEBIBYTE:.1f} MiB" for part, piece in pieces.items())
    say(f"{name}   {long}, both as their checksums say")


def _carved(image: Path, part: Part, out: Path) -> Path:
    """One partition as a file."""
    with image.open("rb") as reading, out.open("wb") as writing:
        reading.seek(part.start)
        for _ in range(part.size // MEBIBYTE):
            content = reading.read(MEBIBYTE)
            if any(content):
                writing.write(content)
            else:
                writing.seek(MEBIBYTE, 1)
        writing.truncate(part.size)
    return out


def main() -> int:
    """Check the image that `make image` left for a board; 2 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="virt")
    parser.add_argument("--image", type=Path)
    asked = parser.parse_args()
    return ending(lambda: _look(asked), "the image was only read")


def _look(asked: argparse.Namespace) -> int:
    board = load_board(asked.board)
    image = asked.image or REPOSITORY / "build" / "image" / board.board / f"edgeagent-{board.board}.img"
    with tempfile.TemporaryDirectory(dir=image.parent) as work:
        check(image, board, Path(work), print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
