"""The Debian part of a root: mmdebstrap for arm64 under emulation, kept under the hash of everything that
it is made of. Minutes the first time, nothing the second.

The archive moves on, so two builds a month apart differ; the image's bill of materials says in what.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from image_board import Board
from image_tools import HERE, ImageError, fresh, need, run, sha256

EPOCH = "1767225600"
"""Of the files that mmdebstrap and its initrd make: fixed, so that a base serves many commits."""
UNWANTED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
INITRAMFS = HERE / "initramfs"
PLACES = {
    "initramfs.conf": "etc/initramfs-tools/conf.d/edgeagent",
    "modules": "etc/initramfs-tools/modules",
    "update-initramfs.conf": "etc/initramfs-tools/update-initramfs.conf",
    "hooks/edgeagent": "etc/initramfs-tools/hooks/edgeagent",
}
BACKPORTS = (
    "--setup-hook=sed -n 's/ {suite} / {suite}-backports /p' \"$1/etc/apt/sources.list\""
    ' >"$1/etc/apt/sources.list.d/backports.list"'
)
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


def base(board: Board, cache: Path, told: Callable[[str], None] = lambda _: None) -> Path:
    """The base as a tar, built or found; `told` gets what is being done."""
    command = _command(board)
    said = [word.replace(str(INITRAMFS), "") for word in command]  # wherever this is checked out
    key = hashlib.sha256(json.dumps([*said, EPOCH]).encode())
    for name in sorted(PLACES):
        key.update((INITRAMFS / name).read_bytes())
    tar = cache / f"base-{board.board}-{key.hexdigest()[:16]}.tar"
    if tar.exists():
        days = (time.time() - tar.stat().st_mtime) / 86_400
        print(
            f"Debian base: {tar.name}, kept for {days:.1f} days; without it the newest packages are fetched"
        )
    else:
        build(command, tar, told)
    return tar


def build(command: list[str], tar: Path, told: Callable[[str], None]) -> None:
    """Run mmdebstrap; under another name until it is whole. What it says is kept beside it.

    Raises:
        ImageError: it failed, a program is missing, or this machine runs no arm64 programs.
    """
    need("mmdebstrap", "qemu-aarch64-static")
    if not BINFMT.exists():
        raise ImageError(
            "this machine does not run arm64 programs",
            where=str(BINFMT),
            next_step="as root: deploy/image/prepare",
        )
    unfinished = tar.with_name(f"unfinished-{tar.name}")
    place = fresh(tar.with_name(f"unfinished-{tar.stem}"))
    print(f"Debian base: {tar.name} (about ten minutes, kept for the next time)", flush=True)
    log = tar.with_suffix(".log")
    try:
        with log.open("w", buffering=1) as writing:
            # What it mounts is mounted for it alone: even where it is killed, nothing stays mounted here.
            run("unshare", "--mount", *command, unfinished, told=lambda line: told(_kept(line, writing)),
                SOURCE_DATE_EPOCH=EPOCH, TMPDIR=str(place))  # fmt: skip
        unfinished.rename(tar)
    except ImageError as failed:
        raise ImageError(failed.what, where="mmdebstrap", next_step=f"read {log}") from None
    finally:
        unfinished.unlink(missing_ok=True)
        shutil.rmtree(place)
    print(f"Debian base: sha256 {sha256(tar)}", flush=True)


def _kept(line: str, log: TextIO) -> str:
    log.write(f"{line}\n")
    return line


def _command(board: Board) -> list[str]:
    copies = [f"--essential-hook=mkdir -p {' '.join(_folders())}"]
    copies += [
        f'--essential-hook=cp "{INITRAMFS / name}" "$1/{place}"' for name, place in sorted(PLACES.items())
    ]
    if board.initrd_modules:
        words = " ".join(board.initrd_modules)
        copies.append(f'--essential-hook=printf "%s\\n" {words} >>"$1/{PLACES["modules"]}"')
    if board.backports:
        copies.insert(0, BACKPORTS.format(suite=board.suite))
    return [
        "mmdebstrap",
        "--arch=arm64",
        "--variant=minbase",
        "--skip=output/dev",
        "--skip=cleanup/apt/lists",  # they hold the hashes of what was fetched
        f"--components={','.join(board.components)}",
        f"--include={','.join(board.all_packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=force-confold",  # our files of the initrd are there before their package, which would ask
        "--dpkgopt=force-unsafe-io",  # a base that was interrupted is thrown away
        *copies,
        board.suite,
    ]


def _folders() -> list[str]:
    return sorted({f'"$1/{Path(place).parent}"' for place in PLACES.values()})
