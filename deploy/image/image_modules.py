"""The drivers in a root: those that no unit uses go, with all that rests on them; what a unit needs stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from image_tools import ImageError

COMPRESSED = (".xz", ".zst", ".gz")


def thin(modules: Path, removed: Iterable[str]) -> None:
    """Remove these folders below `modules`/kernel, and every driver that cannot be loaded without them.

    `modules` is lib/modules/<version> with the modules.dep that came with its files: one that is made later
    names only what it still finds.
    """
    asks = _asks(modules)
    for name in removed:
        shutil.rmtree(modules / "kernel" / name, ignore_errors=True)
    for name, others in asks.items():
        if not _whole(modules, name, *others):
            (modules / name).unlink(missing_ok=True)


def require(modules: Path, needed: Iterable[str]) -> None:
    """See that each of these drivers can be loaded, or is part of the kernel.

    Raises:
        ImageError: some cannot.
    """
    there = {_plain(name) for name, others in _asks(modules).items() if _whole(modules, name, *others)}
    built_in = {_plain(line) for line in (modules / "modules.builtin").read_text().splitlines()}
    if missing := sorted(set(needed) - there - built_in):
        raise ImageError(
            f"has no {', '.join(missing)}",
            where=f"the root, {modules.name}",
            next_step="kernel-modules-removed.txt takes it away, or this kernel has another name for it",
        )


def _asks(modules: Path) -> dict[str, list[str]]:
    """From each driver's file to those of all the drivers that it rests on."""
    rows = (line.partition(":") for line in (modules / "modules.dep").read_text().splitlines())
    return {name: others.split() for name, _, others in rows}


def _whole(modules: Path, *names: str) -> bool:
    return all((modules / name).exists() for name in names)


def _plain(name: str) -> str:
    """A driver's name as the kernel says it: kernel/…/dm-verity.ko.xz is dm_verity."""
    file = Path(name)
    if file.suffix in COMPRESSED:
        file = file.with_suffix("")
    return file.stem.replace("-", "_")
