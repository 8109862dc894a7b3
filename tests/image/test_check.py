"""A card image in miniature, with a kernel that is none: built twice, looked into, damaged."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from card_image import partition
from check_image import MOUNT_POINTS, check
from image_board import Board, load_board
from image_disk import disk_image
from image_slot import slot_image
from image_tools import DEBIAN, MEBIBYTE, ImageError
from image_tree import Root

EPOCH = 1_767_225_600
TOOLS = ("mksquashfs", "veritysetup", "mkimage", "genimage", "mkfs.vfat", "mcopy", "mke2fs")
SIZES = {"boot": 2, "state": 1, "slot": 8, "kernel_at": 4, "kernel_most": 2, "initrd_most": 1, "data": 8}


@pytest.fixture(autouse=True)
def _tools() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := sorted({DEBIAN[tool] for tool in TOOLS if shutil.which(tool, path=path) is None}):
        pytest.skip(f"needs the Debian packages {', '.join(missing)}")


def tiny(board: str = "virt") -> Board:
    """A board with a very small card."""
    whole = load_board(board)
    return whole.model_copy(update={"sizes": whole.sizes.model_copy(update=SIZES)})


def build(board: Board, work: Path) -> Path:
    """A card image: a root of two files, a kernel by its magic number only."""
    tree = work / "root"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "random").write_bytes(random.Random(7).randbytes(MEBIBYTE))
    (tree / "etc" / "hostname").write_text("edgeagent-unit\n")
    for place in MOUNT_POINTS:
        (tree / place).mkdir(parents=True, exist_ok=True)
    (work / "Image").write_bytes(bytes(56) + b"ARM\x64" + random.Random(8).randbytes(100_000))
    (work / "initrd").write_bytes(b"initrd of nobody")
    loader = work / "loader"
    loader.mkdir()
    for name in board.boot_files:
        (loader / name).write_bytes(b"\xd0\x0d\xfe\xed" + name.encode())
    for file in board.own_boot_files:
        shutil.copyfile(file, loader / file.name)
    root = Root(tree, work / "Image", work / "initrd", work / "lists")
    slot = slot_image(board, root, EPOCH, work / "slot.img")
    return disk_image(board, slot, EPOCH, work, work / "card.img")


def seen(image: Path, board: Board, work: Path) -> str:
    """What the look into an image says."""
    said: list[str] = []
    work.mkdir()
    check(image, board, work, said.append)
    return "\n".join(said)


@pytest.mark.parametrize("board", ["virt", "raspberry-pi-5"])
def test_two_builds_are_equal_and_what_was_built_is_whole(board: str, tmp_path: Path) -> None:
    images = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        images.append(build(tiny(board), tmp_path / name))
    assert images[0].read_bytes() == images[1].read_bytes()
    said = seen(images[0], tiny(board), tmp_path / "look")
    assert "root-b   root" in said
    assert ("config.txt" in said) is (board == "raspberry-pi-5")


DAMAGED = {
    "a bit of the root": ("root-a", 300_000, "veritysetup"),
    "a bit of the other slot's kernel": ("root-b", 4 * MEBIBYTE + 50_000, "root-b, kernel: is not what"),
    "a bit of the initrd": ("root-a", 6 * MEBIBYTE + 80, "root-a, ramdisk: is not what"),
    "no state": ("state", 0, "mcopy|state"),
    "no loader": ("boot", 0, "mcopy|boot"),
}


@pytest.mark.parametrize(("part", "at", "why"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_named(part: str, at: int, why: str, tmp_path: Path) -> None:
    image = build(tiny(), tmp_path)
    place = partition(image, part).start + at
    with image.open("r+b") as writing:
        writing.seek(place)
        was = writing.read(64)
        writing.seek(place)
        writing.write(bytes(byte ^ 0xFF for byte in was))
    with pytest.raises(ImageError, match=why):
        seen(image, tiny(), tmp_path / "look")


def test_a_firmware_that_would_find_no_loader_is_noticed(tmp_path: Path) -> None:
    board = tiny("raspberry-pi-5")
    lacking = board.model_copy(
        update={
            "boot_files": {name: place for name, place in board.boot_files.items() if name != "u-boot.bin"}
        }
    )
    with pytest.raises(ImageError, match=r"config.txt: names u-boot.bin"):
        seen(build(lacking, tmp_path), lacking, tmp_path / "look")
