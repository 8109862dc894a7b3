"""The card of a virtual unit: Debian, its kernel and the unit's package, cached by what they are made of."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / "build" / "vm"
SYSTEM = Path(__file__).parent / "system"
FIRST_STAGE = Path(__file__).parent / "first-stage"
SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "kmod", "e2fsprogs", "iproute2", "nftables", "python3"),
    *("libtss2-esys-3.0.2-0", "libtss2-mu0", "libtss2-rc0", "libtss2-tcti-device0"),
)
BESIDES = ("linux-image-amd64", "busybox-static")
"""Downloaded and unpacked, not installed: a boot of an emulated board has no time for an initramfs-tools."""
LEFT_OUT = ("doc", "man", "locale", "info", "lintian", "bash-completion")
FIRST_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "i6300esb", "virtio_net", "virtio_rng")
MODULES = (
    *FIRST_MODULES,
    *("vivid", "tpm_crb", "tpm_tis"),
    *("nf_tables", "nft_ct", "nft_limit", "nft_log", "nft_reject_inet", "nf_log_syslog", "nf_conntrack"),
)
WANTED = {"sysinit.target": ("vm-shell.service",)}
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "systemd-pstore.service"),
    *(
        "getty@tty1.service",
        "serial-getty@ttyS0.service",
        "serial-getty@ttyS1.service",
        "getty-static.service",
    ),
    *("systemd-logind.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    *("systemd-user-sessions.service", "systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *("modprobe@drm.service", "modprobe@fuse.service", "modprobe@efi_pstore.service", "dev-hugepages.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-mqueue.mount", "ldconfig.service"),
    *("systemd-network-generator.service", "systemd-binfmt.service", "systemd-rfkill.socket"),
    *(
        "modprobe@loop.service",
        "modprobe@dm_mod.service",
        "modprobe@configfs.service",
        "kmod-static-nodes.service",
    ),
    *("systemd-modules-load.service", "systemd-sysusers.service", "systemd-sysctl.service"),
    *(
        "systemd-tmpfiles-setup-dev.service",
        "systemd-journal-flush.service",
        "systemd-machine-id-commit.service",
    ),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "proc-sys-fs-binfmt_misc.automount"),
)
"""Of no use to a unit without a screen, and each costs an emulated board a second or so."""
SIZE_MIB = 1280
FEATURES = "^orphan_file"
LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Base:
    """Files of the cache: what QEMU loads, and the card that every unit starts from."""

    kernel: Path
    initrd: Path
    card: Path


def base(package: Path) -> Base:
    """The cached files; built if they are not there, by one process at a time (about four minutes).

    Raises:
        CalledProcessError: a tool failed, or no mirror is in reach.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        debian = _debian()
        folder = CACHE / f"base-{_key(debian, package)}"
        if not (folder / "card").exists():
            for old in CACHE.glob("base-*"):
                shutil.rmtree(old)
            _build(debian, package, folder)
    return Base(folder / "kernel", folder / "initrd", folder / "card")


def _key(debian: Path, package: Path) -> str:
    whole = hashlib.sha256(debian.name.encode() + package.read_bytes())
    for file in (Path(__file__), FIRST_STAGE):
        whole.update(file.read_bytes())
    for file in sorted(path for path in SYSTEM.rglob("*") if path.is_file()):
        whole.update(f"{file.relative_to(SYSTEM)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:16]


def _debian() -> Path:
    """Debian's packages and the kernel's beside them, as one tar."""
    words = " ".join([SUITE, *PACKAGES, *BESIDES, *LEFT_OUT])
    file = CACHE / f"debian-{hashlib.sha256(words.encode()).hexdigest()[:12]}.tar"
    if not file.exists():
        part = file.with_suffix(".part.tar")
        # The kernel's own name follows from what the metapackage depends on.
        fetch = 'mkdir "$1/besides" && cd "$1/besides" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && '
        fetch += "kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1) && "
        fetch += 'apt-get download -q "$kernel" busybox-static'
        options = ["--variant=minbase", "--skip=output/dev", f"--include={','.join(PACKAGES)}"]
        options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
        options += [f"--customize-hook={fetch}"]
        _run("mmdebstrap", "--quiet", *options, SUITE, str(part))
        part.rename(file)
    return file


def _build(debian: Path, package: Path, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    root, kernel, tools = part / "root", part / "unpacked-kernel", part / "tools"
    for each in (root, kernel, tools):
        each.mkdir(parents=True)
    _run("tar", "-x", "-f", str(debian), "-C", str(root))
    for file in (root / "besides").glob("*.deb"):
        _run("dpkg-deb", "-x", str(file), str(kernel if file.name.startswith("linux") else tools))
    shutil.rmtree(root / "besides")
    release = next((kernel / "lib/modules").iterdir()).name
    shutil.copyfile(kernel / f"boot/vmlinuz-{release}", part / "kernel")
    modules = _modules(kernel, root, release)
    stage = part / "first-stage"
    _first_stage(
        stage, root, tools / "bin/busybox", [root / "lib/modules" / release / name for name in modules]
    )
    _install(root, package)
    _settle(root)
    _card(root, part / "card")
    for each in (root, kernel, tools):
        shutil.rmtree(each)
    part.rename(folder)


def _modules(kernel: Path, root: Path, release: str) -> list[str]:
    """Copy the modules that a unit needs; those of the first stage, in the order in which they load."""
    _run("depmod", "-b", str(kernel), release)
    there, here = kernel / "lib/modules" / release, root / "lib/modules" / release
    needs: dict[str, list[str]] = {}
    for line in (there / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = [*reversed(rest.split()), name]
    by_name = {Path(name).name.removesuffix(".ko").replace("-", "_"): name for name in needs}
    wanted = {file for name in MODULES if name in by_name for file in needs[by_name[name]]}
    for file in wanted:
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(there / file, here / file)
    for file in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(there / file, here / file)
    _run("depmod", "-b", str(root), release)
    first = [file for name in FIRST_MODULES if name in by_name for file in needs[by_name[name]]]
    return list(dict.fromkeys(first))


def _first_stage(stage: Path, root: Path, busybox: Path, modules: list[Path]) -> None:
    """Two programs, a few modules and a script: what Debian's initramfs does with udev, in a second."""
    for name in ("bin", "proc", "sys", "dev", "root", "modules"):
        (stage / name).mkdir(parents=True)
    shutil.copyfile(busybox, stage / "bin/busybox")
    (stage / "bin/busybox").chmod(0o755)
    # In the new root, since links there may be absolute.
    needed = "tar -c -h -C / sbin/e2fsck $(ldd /sbin/e2fsck | grep -o '/lib[^ ]*' | sed 's:^/::')"
    _run("sh", "-c", 'chroot "$1" sh -c "$2" | tar -x -C "$3"', "sh", str(root), needed, str(stage))
    for number, file in enumerate(modules):
        shutil.copyfile(file, stage / "modules" / f"{number:02}-{file.name}")
    (stage / "init").write_text(FIRST_STAGE.read_text())
    (stage / "init").chmod(0o755)
    pack = f"cd {shlex.quote(str(stage))} && find . | ./bin/busybox cpio -o -H newc 2>/dev/null"
    with (stage.parent / "initrd").open("wb") as out:
        subprocess.run(["sh", "-c", pack], check=True, stdout=out, timeout=LIMIT_S)
    shutil.rmtree(stage)


def _install(root: Path, package: Path) -> None:
    """The unit's package, by dpkg in the new system, as on an installed Debian."""
    shutil.copyfile(package, root / "package.deb")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run("chroot", str(root), "dpkg", "-i", "/package.deb", environment=quiet)
    (root / "package.deb").unlink()
    # As Debian's own python3 does when it is installed; here its files were only unpacked.
    _run("chroot", str(root), "python3", "-m", "compileall", "-q", "/usr/lib/python3.11")
    for name in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / name, ignore_errors=True)


def _settle(root: Path) -> None:
    """The few files of our own; what starts, and what does not."""
    _run("cp", "-rT", str(SYSTEM), str(root))
    for name in ("dev", "proc", "sys", "run"):
        (root / name).mkdir(exist_ok=True)
    etc = root / "etc/systemd/system"
    for target, units in WANTED.items():
        (etc / f"{target}.wants").mkdir(exist_ok=True)
        for unit in units:
            where = "/etc" if (etc / unit).exists() else "/lib"
            (etc / f"{target}.wants" / unit).symlink_to(f"{where}/systemd/system/{unit}")
    for unit in MASKED:
        (etc / unit).unlink(missing_ok=True)
        (etc / unit).symlink_to("/dev/null")
    (root / "etc/machine-id").write_text(f"{hashlib.sha256(b'a virtual unit').hexdigest()[:32]}\n")


def _card(root: Path, card: Path) -> None:
    with card.open("wb") as file:
        file.truncate(SIZE_MIB << 20)
    _run("mke2fs", "-q", "-t", "ext4", "-F", "-L", "unit", "-O", FEATURES, "-d", str(root), str(card))


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(
        command,
        check=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
    )
