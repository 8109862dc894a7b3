"""Build the card's image of one board: python deploy/image/make_image.py --board virt --package
edgeagent_….deb

Needs root: a root file system has owners, and its packages are set up inside it, under emulation.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from image_base import base
from image_board import Board, load_board
from image_disk import disk_image
from image_keys import UpdateKey, development_key
from image_slot import slot_image
from image_tools import REPOSITORY, ImageError, commit_time, fresh, need, sha256
from image_tree import root
from sbom import write_sbom
from update_bundle import bundle

from edgeagent.errors import EdgeAgentError


def build(board: Board, package: Path, keyring: Path, version: int, cache: Path, out: Path) -> Path:
    """Build slot, card image and bill of materials in `out`; the card's image."""
    if os.geteuid() != 0:
        raise ImageError("needs root", where="make image", next_step="sudo make image")
    need("mmdebstrap", "mksquashfs", "veritysetup", "mkimage", "genimage", "mkfs.vfat", "mcopy", "mke2fs")
    epoch = commit_time()
    out.mkdir(parents=True, exist_ok=True)
    with _said("Debian base"):
        tar = base(board, cache)
    with _said("root"):
        laid = root(board, tar, package, keyring, version, fresh(out / "work"))
    with _said("bill of materials"):
        write_sbom(laid, board, version, epoch, out / "sbom.cdx.json")
    with _said("slot"):
        slot = slot_image(board, laid, epoch, out / "slot.img")
    with _said("card"):
        return disk_image(board, slot, epoch, out / "work", out / f"edgeagent-{board.board}.img")


class _said:  # noqa: N801
    """Says what a step took."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._begin = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            print(f"{self._what:18} {time.monotonic() - self._begin:6.1f} s", flush=True)


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
    try:
        board = load_board(asked.board)
        out = asked.out or REPOSITORY / "build" / "image" / board.board
        signer = development_key(REPOSITORY / "build" / "image-keys")
        version = asked.version or commit_time()
        keyring = asked.keyring or signer.certificate
        image = build(board, asked.package, keyring, version, REPOSITORY / "build" / "image-cache", out)
        _conclude(board, image, asked.keyring, version, signer)
    except EdgeAgentError as refused:
        print(f"{type(refused).__name__}: {refused}", file=sys.stderr)
        return 2
    return 0


def _conclude(board: Board, image: Path, keyring: Path | None, version: int, signer: UpdateKey) -> None:
    if keyring is None:
        update = bundle(
            board.board, image.with_name("slot.img"), version, signer, image.with_name("update.raucb")
        )
        print(f"{update}  {update.stat().st_size / 1e6:.0f} MB, signed with the DEVELOPMENT key")
    for file in (image.with_name("slot.img"), image, image.with_name("sbom.cdx.json")):
        print(f"{file}  {file.stat().st_size / 1e6:.0f} MB  sha256 {sha256(file)}")


if __name__ == "__main__":
    sys.exit(main())
