"""The whole card: loader's partition, slots' state, slot A, slot B, data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from image_board import Board
from image_tools import HERE, MEBIBYTE, ImageError, fill, fresh, need, run

sys.path.insert(0, str(HERE / "root/usr/lib/edgeagent-image"))
import slots

DISK_UUID = "e0000000-0000-4000-8000-000000000010"
DATA_UUID = "e0000000-0000-4000-8000-000000000020"
PARTITIONS = ("boot", "state", "root-a", "root-b", "data")
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
BASIC = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


def disk_image(board: Board, slot: Path, epoch: int, work: Path, out: Path) -> Path:
    """Write the card's image to `out`. Both slots hold the same: a new unit has something to fall back to."""
    need("genimage", "mkfs.vfat", "mcopy", "mke2fs", "mkimage")
    inputs = fresh(work / "disk")
    _boot(board, epoch, work / "loader", inputs)
    _state(board, epoch, inputs)
    _data(board, epoch, inputs)
    (inputs / "slot.img").unlink(missing_ok=True)
    os.link(slot, inputs / "slot.img")
    config = inputs / "genimage.cfg"
    config.write_text(_genimage(board, out.name))
    folders: list[str | Path] = [
        "--rootpath",
        fresh(inputs / "empty"),
        "--tmppath",
        inputs / "tmp",
        "--inputpath",
        inputs,
    ]
    run("genimage", "--config", config, *folders, "--outputpath", out.parent)
    if out.stat().st_size > board.sizes.total:
        raise ImageError("is larger than its sizes say", where=str(out))
    return out


def _fat(file: Path, mib: int, label: str, serial: str, epoch: int, content: dict[str, Path]) -> None:
    with file.open("wb") as writing:
        writing.truncate(mib * MEBIBYTE)
    run("mkfs.vfat", "-n", label, "-i", serial, "--invariant", file)
    for name, source in sorted(content.items()):
        os.utime(source, (epoch, epoch))
        run("mcopy", "-m", "-i", file, source, f"::{name}")


def _boot(board: Board, epoch: int, loader: Path, inputs: Path) -> None:
    command = inputs / "boot.cmd"
    command.write_text(fill((HERE / "boot" / "boot.cmd").read_text(), board.words()))
    script = inputs / "boot.scr"
    words = ["-A", "arm64", "-T", "script", "-C", "none", "-n", "edgeagent slots", "-d"]
    run("mkimage", *words, command, script, SOURCE_DATE_EPOCH=str(epoch))
    content = {file.name: file for file in sorted(loader.iterdir())} | {"boot.scr": script}
    _fat(inputs / "boot.img", board.sizes.boot, "EDGEAGENT", "ed6ea6e1", epoch, content)


def _state(board: Board, epoch: int, inputs: Path) -> None:
    folder = fresh(inputs / "state")
    slots.write(folder, slots.NEW)
    content = {name: folder / name for name in slots.COPIES}
    _fat(inputs / "state.img", board.sizes.state, "STATE", "ed6ea6e2", epoch, content)


def _data(board: Board, epoch: int, inputs: Path) -> None:
    """Empty: the initrd makes its folders. No orphan of an earlier build may be in it."""
    options = f"hash_seed={DATA_UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    file = inputs / "data.img"
    words = ["-q", "-t", "ext4", "-L", "data", "-U", DATA_UUID, "-m", "1", "-E", options]
    run("mke2fs", *words, file, f"{board.sizes.data}M", E2FSPROGS_FAKE_TIME=str(epoch))


def _genimage(board: Board, name: str) -> str:
    images = {"boot": "boot.img", "state": "state.img", "root-a": "slot.img", "root-b": "slot.img"}
    sizes = board.sizes
    mib = {"boot": sizes.boot, "state": sizes.state, "root-a": sizes.slot, "root-b": sizes.slot}
    parts = []
    for number, part in enumerate(PARTITIONS, start=1):
        kind = BASIC if part == "boot" else LINUX
        parts.append(
            f"    partition {part} {{\n"
            f'        image = "{images.get(part, "data.img")}"\n'
            f"        size = {mib.get(part, sizes.data)}M\n"
            f'        partition-type-uuid = "{kind}"\n'
            f'        partition-uuid = "{DISK_UUID[:-2]}{number:02}"\n    }}\n'
        )
    table = f'        partition-table-type = "gpt"\n        disk-uuid = "{DISK_UUID}"\n        align = 1M\n'
    return f"image {name} {{\n    hdimage {{\n{table}    }}\n{''.join(parts)}}}\n"
