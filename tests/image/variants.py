"""Updates for the test: a good one, one in which the agent cannot start, one by a stranger, one that is too
old."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from image_board import Board, load_board
from image_keys import UpdateKey, development_key
from image_slot import slot_image
from image_tools import MEBIBYTE, commit_time, progress, sha256
from image_tree import Root
from update_bundle import bundle

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "build" / "image-keys"


@dataclass(frozen=True)
class Built:
    """What `make image BOARD=virt` left."""

    folder: Path

    @property
    def card(self) -> Path:
        return self.folder / "edgeagent-virt.img"

    @property
    def root(self) -> Root:
        work = self.folder / "work"
        return Root(work / "root", work / "Image", work / "initrd.debian", work / "lists")

    @property
    def version(self) -> int:
        return int((self.root.tree / "usr/lib/edgeagent-image/version").read_text())


def updates(built: Built) -> dict[str, Path]:
    """The bundles by name, made once for one card image."""
    board, key, version = load_board("virt"), development_key(KEYS), built.version
    folder = built.folder / f"test-{sha256(built.card)[:12]}"
    for older in set(built.folder.glob("test-*")) - {folder}:
        shutil.rmtree(older)
    folder.mkdir(exist_ok=True)
    stranger = development_key(KEYS, "stranger")
    small = folder / "small.img"
    small.write_bytes(os.urandom(MEBIBYTE))
    wanted: dict[str, Callable[[Path], object]] = {
        "good": lambda out: _slot(built, board, version + 1, key, out, damage=False),
        "bad": lambda out: _slot(built, board, version + 2, key, out, damage=True),
        "stranger": lambda out: bundle("virt", small, version + 3, stranger, out),
        "older": lambda out: bundle("virt", small, version - 1, key, out),
        "other-board": lambda out: bundle("raspberry-pi-5", small, version + 3, key, out),
    }
    made = {name: folder / f"{name}.raucb" for name in wanted}
    for name, make in wanted.items():
        if not made[name].exists():
            with progress(f"update '{name}'"):
                make(made[name])
    return made


def _slot(built: Built, board: Board, version: int, key: UpdateKey, out: Path, *, damage: bool) -> None:
    with _changed(built.root.tree, version, damage=damage):
        slot = slot_image(board, built.root, commit_time(), out.with_suffix(".img"))
    bundle("virt", slot, version, key, out)
    slot.unlink()


@contextmanager
def _changed(tree: Path, version: int, *, damage: bool) -> Iterator[None]:
    """The root with another version, and with half of a network if it is to be a bad one; as before
    afterwards."""
    number = tree / "usr/lib/edgeagent-image/version"
    network = next(tree.glob("opt/edgeagent*/lib/python*/site-packages/edgeagent/models/embedder.tflite"))
    before = {number: number.read_bytes(), network: network.read_bytes()}
    number.write_text(f"{version}\n")
    if damage:
        network.write_bytes(before[network][: len(before[network]) // 2])
    try:
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)
