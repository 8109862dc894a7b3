"""What every step of the image needs: programs, their absence named, hashes, one version and one time."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeagent.errors import EdgeAgentError

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
MEBIBYTE = 1 << 20
SECTOR = 512
CLEAN_UP_S = 120.0
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


def run(
    *command: str | Path, quiet: bool = True, told: Callable[[str], None] | None = None, **more: str
) -> str:
    """Run one program with a fixed locale and time zone; `more` is environment. Its output; `told` gets each
    line of it at once.

    An interruption is handed on to the program and all that it started, and waited for: mmdebstrap then
    removes its half-made root.

    Raises:
        ImageError: it failed; with the last lines of what it said.
    """
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}
    words = [str(word) for word in command]
    said: list[str] = []
    with subprocess.Popen(
        words,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if quiet else None,
        process_group=0,  # or a Ctrl-C would reach it twice
    ) as child:
        try:
            for line in child.stdout or ():
                said.append(line)
                if told is not None:
                    told(line.rstrip())
        except KeyboardInterrupt:
            _end(child)
            raise
    if child.returncode:
        last = " | ".join(line.strip() for line in said[-6:])
        raise ImageError(f"failed with {child.returncode}: {last}", where=words[0], next_step="see above")
    return "".join(said)


def _end(child: subprocess.Popen[str]) -> None:
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.communicate(timeout=CLEAN_UP_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


def interruptible() -> None:
    """A closed terminal (unless under `nohup`) and `kill` end a build as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def ending(act: Callable[[], int], interrupted: str) -> int:
    """The exit status of a command: `act`'s own, 2 for a refusal, 130 for Ctrl-C; the last two say so."""
    interruptible()
    try:
        return act()
    except EdgeAgentError as refused:
        print(f"{type(refused).__name__}: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return 130


@contextmanager
def progress(what: str, every_s: float = 20.0) -> Iterator[Callable[[str], None]]:
    """Say on stderr, every so often, that a long step still goes on; afterwards what it took, on stdout.

    What is called with a text says what the step does now.
    """
    now, begin, over = [""], time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(every_s):
            print(f"{what:18} {time.monotonic() - begin:6.0f} s … {now[0]}", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda text: now.__setitem__(0, text[:80])
    finally:
        over.set()
        teller.join()
    print(f"{what:18} {time.monotonic() - begin:6.1f} s", flush=True)


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
