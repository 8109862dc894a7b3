"""Build the card's image of one board: python deploy/image/make_image.py --board virt --package
edgeagent_….deb

Needs root: a root file system has owners, and its packages are set up inside it, under emulation.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from image_base import base
from image_board import Board, load_board
from image_disk import disk_image
from image_keys import UpdateKey, development_key
from image_slot import slot_image
from image_tools import REPOSITORY, ImageError, commit_time, ending, fresh, need, progress, sha256
from image_tree import root
from sbom import write_sbom
from update_bundle import bundle

PRODUCTS = ("slot.img", "update.raucb", "sbom.cdx.json")


def build(
    board: Board, package: Path, keyring: Path, version: int, epoch: int, cache: Path, out: Path
) -> Path:
    """Build slot, card image and bill of materials in `out`; the card's image.

    What lay there is removed first and what is new gets its name last: after an interruption there is none.
    """
    if os.geteuid() != 0:
        raise ImageError("needs root", where="make image", next_step="sudo make image")
    need("mmdebstrap", "mksquashfs", "veritysetup", "mkimage", "genimage", "mkfs.vfat", "mcopy", "mke2fs")
    image = out / f"edgeagent-{board.board}.img"
    for name in (image.name, *PRODUCTS):
        (out / name).unlink(missing_ok=True)
    with progress("Debian base") as told:
        tar = base(board, cache, told)
    work = fresh(out / "work")
    with progress("root") as told:
        laid = root(board, tar, package, keyring, version, work, told)
    with progress("bill of materials"):
        bill = write_sbom(laid, board, version, epoch, work / "sbom.cdx.json")
    with progress("slot") as told:
        slot = slot_image(board, laid, epoch, work / "slot.img", told)
    with progress("card"):
        card = disk_image(board, slot, epoch, work, work / image.name)
    for file in (slot, bill):
        file.rename(out / file.name)
    return card.rename(image)


def main() -> int:
    """Build an image and, with the development key, the bundle of the same slot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="virt")
    parser.add_argument("--package", type=Path, required=True, help="edgeagent's Debian package for arm64")
    parser.add_argument(
        "--keyring", type=Path, help="certificate of who signs updates (default: development)"
    )
    parser.add_argument("--version", type=int, help="a rising number (default: the commit's time)")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    return ending(lambda: _make(asked), "no image was made; a Debian base that was whole is kept")


def _make(asked: argparse.Namespace) -> int:
    board = load_board(asked.board)
    out = asked.out or REPOSITORY / "build" / "image" / board.board
    signer = development_key(REPOSITORY / "build" / "image-keys")
    epoch = commit_time()
    version = asked.version or epoch
    keyring = asked.keyring or signer.certificate
    cache = REPOSITORY / "build" / "image-cache"
    image = build(board, asked.package, keyring, version, epoch, cache, out)
    _conclude(board, image, asked.keyring, version, signer)
    return 0


def _conclude(board: Board, image: Path, keyring: Path | None, version: int, signer: UpdateKey) -> None:
    if keyring is None:
        with progress("signed update"):
            update = bundle(
                board.board, image.with_name("slot.img"), version, signer, image.with_name("update.raucb")
            )
        print(f"{update}  {update.stat().st_size / 1e6:.0f} MB, signed with the DEVELOPMENT key")
    for file in (image.with_name("slot.img"), image, image.with_name("sbom.cdx.json")):
        print(f"{file}  {file.stat().st_size / 1e6:.0f} MB  sha256 {sha256(file)}")


if __name__ == "__main__":
    sys.exit(main())
