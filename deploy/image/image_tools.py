"""What every step of the image needs: programs, their absence named, hashes, one version and one time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeagent.errors import EdgeAgentError

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
MEBIBYTE = 1 << 20
SECTOR = 512
DEBIAN = {
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "veritysetup": "cryptsetup-bin",
    "mkimage": "u-boot-tools",
    "dtc": "device-tree-compiler",
    "genimage": "genimage",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "rauc": "rauc",
    "openssl": "openssl",
    "depmod": "kmod",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
}
"""Program, and the Debian package that has it."""


class ImageError(EdgeAgentError):
    """An image, an update or a card cannot be made."""


def need(*programs: str) -> None:
    """Raise ImageError that names every missing package at once."""
    missing = sorted({DEBIAN[name] for name in programs if shutil.which(name, path=_path()) is None})
    if missing:
        raise ImageError(
            f"needs the Debian packages {', '.join(missing)}",
            where="make image",
            next_step=f"sudo apt install {' '.join(missing)}",
        )


def run(*command: str | Path, quiet: bool = True, **more: str) -> str:
    """Run one program with a fixed locale and time zone; `more` is environment. Its output.

    Raises:
        ImageError: it failed; with the last lines of what it said.
    """
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        said = " | ".join((done.stdout or "").strip().splitlines()[-6:])
        raise ImageError(f"failed with {done.returncode}: {said}", where=words[0], next_step="see above")
    return done.stdout


def _path() -> str:
    """Debian keeps mkfs and veritysetup where a user's path may not look."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def sha256(file: Path) -> str:
    """Hex digest of a file of any size."""
    with file.open("rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()


def commit_time() -> int:
    """Seconds of the commit that is built: the image's time everywhere, and its version."""
    return int(run("git", "-C", REPOSITORY, "log", "-1", "--format=%ct", quiet=False))


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def fill(text: str, values: dict[str, object]) -> str:
    """Replace each `@NAME@`."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def lines(file: Path) -> Sequence[str]:
    """The lines of a list, without comments and blanks."""
    return [word for line in file.read_text().splitlines() if (word := line.split("#", 1)[0].strip())]
