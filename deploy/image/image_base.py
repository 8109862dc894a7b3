"""The Debian part of a root: mmdebstrap for arm64 under emulation, kept under the hash of everything that
it is made of. Minutes the first time, nothing the second.

The archive moves on, so two builds a month apart differ; the image's bill of materials says in what.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from image_board import Board
from image_tools import HERE, ImageError, need, run, sha256

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


def base(board: Board, cache: Path) -> Path:
    """The base as a tar, built or found."""
    said = [board.suite, board.components, board.backports, board.all_packages, UNWANTED, EPOCH]
    key = hashlib.sha256(json.dumps(said).encode())
    for name in sorted(PLACES):
        key.update((INITRAMFS / name).read_bytes())
    tar = cache / f"base-{board.board}-{key.hexdigest()[:16]}.tar"
    if not tar.exists():
        build(_command(board), tar)
    return tar


def build(command: list[str], tar: Path) -> None:
    """Run mmdebstrap; under another name until it is whole.

    Raises:
        ImageError: a program is missing, or this machine runs no arm64 programs.
    """
    need("mmdebstrap", "qemu-aarch64-static")
    if not BINFMT.exists():
        raise ImageError(
            "this machine does not run arm64 programs",
            where=str(BINFMT),
            next_step="as root: deploy/image/prepare",
        )
    tar.parent.mkdir(parents=True, exist_ok=True)
    unfinished = tar.with_name(f"unfinished-{tar.name}")
    print(f"Debian base: {tar.name} (about five minutes, kept for the next time)", flush=True)
    run(*command, unfinished, SOURCE_DATE_EPOCH=EPOCH)
    unfinished.rename(tar)
    print(f"Debian base: sha256 {sha256(tar)}", flush=True)


def _command(board: Board) -> list[str]:
    copies = [f"--essential-hook=mkdir -p {' '.join(_folders())}"]
    copies += [
        f'--essential-hook=cp "{INITRAMFS / name}" "$1/{place}"' for name, place in sorted(PLACES.items())
    ]
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
        *copies,
        board.suite,
    ]


def _folders() -> list[str]:
    return sorted({f'"$1/{Path(place).parent}"' for place in PLACES.values()})
