"""The root of a slot: the Debian base, the agent's package, our own files, and nothing that a unit does not
need."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image_base import EPOCH
from image_board import Board
from image_modules import require, thin
from image_tools import HERE, REPOSITORY, ImageError, fill, fresh, lines, need, run

OVERLAY = HERE / "root"
COMMON = REPOSITORY / "firmware-config/common/root"
"""Of which the settings (etc) go into an image too: kernel, drivers, USB, no cores."""
ENABLED = {
    "systemd-networkd.service": "multi-user.target",
    "edgeagent-first-boot.service": "sysinit.target",
    "edgeagent-settle.service": "sysinit.target",
    "edgeagent-commit.service": "multi-user.target",
    "edgeagent-clocks.service": "sysinit.target",
    "edgeagent-firewall.service": "multi-user.target",
    "edgeagent-enrol.service": "multi-user.target",
    "edgeagent-broker.socket": "sockets.target",
    "ssh.service": "multi-user.target",
}
MASKED = (
    "getty@.service",
    "serial-getty@.service",
    "rauc-mark-good.service",  # it would keep a slot that nobody has looked at
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-machine-id-commit.service",
    "systemd-update-utmp.service",
    "systemd-networkd-wait-online.service",
    "swap.target",
)
EMPTY = ("dev", "data", "state", "etc/edgeagent", "var/lib/edgeagent", "var/lib/systemd", "var/cache/private")
"""Where something is mounted."""
GONE = (
    "boot/*",
    "usr/lib/modules/*/dtb",  # the loader has its own
    "usr/lib/modules/*/vmlinuz",
    "etc/ssh/ssh_host_*",  # each unit makes its own
    "etc/apt",
    "etc/.pwd.lock",
    "etc/*-",
    "var/lib/apt",
    "var/cache/*",
    "var/log/*",
    "var/lib/systemd/*",
    "var/lib/initramfs-tools",
    "root/.*",
    "tmp/*",
    "run/*",
    "vmlinuz*",
    "initrd.img*",
    "etc/initramfs-tools",
)


@dataclass(frozen=True)
class Root:
    """A slot's root as a folder, and what boots it.

    Attributes:
        tree: the root.
        kernel: arm64 `Image`.
        initrd: as Debian's initramfs-tools made it, without the slot's root hash.
        lists: the archive's lists of packages, with the hashes by which they were fetched.
    """

    tree: Path
    kernel: Path
    initrd: Path
    lists: Path


def root(
    board: Board,
    base: Path,
    package: Path,
    keyring: Path,
    version: int,
    work: Path,
    told: Callable[[str], None] = lambda _: None,
) -> Root:
    """Lay out one slot's root under `work`, anew. `told` gets what is being done."""
    need("depmod", "qemu-aarch64-static")
    tree = fresh(work / "root")
    told("unpacking the base")
    run("tar", "-C", tree, "-xf", base, "--numeric-owner", "--exclude=./dev/*")
    kernel, initrd = _boot_files(tree, work)
    _loader_files(board, tree, fresh(work / "loader"))
    lists = shutil.copytree(tree / "var/lib/apt/lists", work / "lists")
    told("installing the agent's package")
    _install(tree, package)
    _overlay(board, tree, keyring, version)
    _services(tree)
    _prune(board, tree)
    told("compiling to byte code")
    _compile(board, tree)
    return Root(tree, kernel, initrd, lists)


def _boot_files(tree: Path, work: Path) -> tuple[Path, Path]:
    kernel = shutil.copyfile(_newest(tree, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"), work / "Image")
    initrd = shutil.copyfile(_newest(tree, "boot/initrd.img-*"), work / "initrd.debian")
    return kernel, initrd


def _newest(tree: Path, *patterns: str) -> Path:
    """The file that fits the first pattern that any fits: Debian moves things from one place to another."""
    for pattern in patterns:
        if found := sorted(tree.glob(pattern)):
            return found[-1]
    raise ImageError(f"has no {' or '.join(patterns)}", where="Debian base", next_step="see boards/*.toml")


def _loader_files(board: Board, tree: Path, folder: Path) -> None:
    """What goes onto the loader's partition: out of packages, and from beside the board's own file."""
    for name, pattern in board.boot_files.items():
        shutil.copyfile(_newest(tree, pattern), folder / name)
    for file in board.own_boot_files:
        shutil.copyfile(file, folder / file.name)


def _install(tree: Path, package: Path) -> None:
    """By dpkg inside the root, so that the root's own list of packages names it."""
    shutil.copyfile(package, tree / "package.deb")
    # The time: or the user that it makes has the day of the build in /etc/shadow.
    install = ["chroot", str(tree), "dpkg", "--install", "/package.deb"]
    try:
        run(*install, DEBIAN_FRONTEND="noninteractive", SOURCE_DATE_EPOCH=EPOCH)
    finally:
        (tree / "package.deb").unlink()


def _overlay(board: Board, tree: Path, keyring: Path, version: int) -> None:
    words = {**board.words(), "VERSION": version}
    for folder, part in ((COMMON, "etc"), (OVERLAY, ""), (HERE / "boards" / board.board, "")):
        for source in sorted(path for path in (folder / part).rglob("*") if path.is_file()):
            if "__pycache__" in source.parts:
                continue
            target = tree / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(fill(source.read_text(), words))
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
    shutil.copyfile(keyring, tree / "etc/rauc/keyring.pem")
    (tree / "usr/lib/edgeagent-image/version").write_text(f"{version}\n")
    # No clock starts before this file's time, which the squashfs makes that of the build: systemd sees to it.
    (tree / "usr/lib/clock-epoch").touch()
    (tree / "etc/hostname").write_text("edgeagent-unit\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 edgeagent-unit\n")
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/resolv.conf").write_text("")


def _services(tree: Path) -> None:
    system = tree / "etc/systemd/system"
    for unit, target in ENABLED.items():
        if not any(
            (tree / place / unit).exists() for place in ("usr/lib/systemd/system", "lib/systemd/system")
        ):
            continue
        wants = system / f"{target}.wants"
        wants.mkdir(parents=True, exist_ok=True)
        link = wants / unit
        link.unlink(missing_ok=True)
        link.symlink_to(f"/lib/systemd/system/{unit}")
    for unit in MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")


def _prune(board: Board, tree: Path) -> None:
    for pattern in GONE:
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for modules in (tree / "lib/modules").iterdir():
        thin(modules, lines(HERE / "kernel-modules-removed.txt"))
        run("depmod", "-b", tree, modules.name)
        require(modules, board.all_needed_modules)
    for name in EMPTY:
        (tree / name).mkdir(parents=True, exist_ok=True)


def _compile(board: Board, tree: Path) -> None:
    """Byte code, since a read-only root cannot keep any; named by hash, so that times play no part.

    The package brings its own, if it was built where there is such a Python. The rest is done by this
    machine's Python where it is of the same version, else by the root's own, emulated: minutes. In one
    process: what a file's byte code looks like depends a little on what was compiled before it.
    """
    python = f"python{board.python}"
    options = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    places = [Path("usr/lib/edgeagent-image")]
    if not any((tree / "opt").rglob("__pycache__")):
        places.insert(0, Path("opt"))
    if _runs(python):
        here = ["-s", str(tree), "-p", "/"]
        run(python, *options, *here, *(tree / place for place in places), PYTHONHASHSEED="0")
    else:
        run("chroot", tree, python, *options, *(f"/{place}" for place in places), PYTHONHASHSEED="0")


def _runs(program: str) -> bool:
    """Whether it is here and is no version manager's stand-in for what is not installed."""
    there = shutil.which(program)
    if there is None:
        return False
    return subprocess.run([there, "-c", ""], capture_output=True, check=False).returncode == 0
