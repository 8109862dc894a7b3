"""Putting a release and a configuration beside the ones that are used; nothing that runs is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from unit.on_unit.durable import sync, sync_whole, target_of
from unit.on_unit.parcel import assemble
from unit.on_unit.places import Places, UnitError, mode_of

PIECE = 1 << 18
PARCEL = ".parcel"
FULL = "free some space on the unit (journalctl --vacuum-size=16M, old files of yours), then deploy again"


def receive(folder: Path, name: str, size: int, sha256: str) -> None:
    """Take a file from standard input; under its name there is a whole file or none."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / name
    for old in folder.iterdir():
        if old.suffix == target.suffix:
            old.unlink()
    part = target.with_name(f".{name}")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as file:
            while piece := sys.stdin.buffer.read(PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            got = file.tell()
        if got != size or digest.hexdigest() != sha256:
            raise UnitError(f"{got} of {size} bytes arrived", where=name, next_step="try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync(folder)


def unpack_program(places: Places, file: str, release: str) -> None:
    """/opt/edgeagent-<release> from a package or a parcel; whole and on the disk before it has that name."""
    home = places.release(release)
    if not home.exists():
        staging = places.opt / ".edgeagent-staging"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            if file.endswith(PARCEL):
                assemble(places, places.incoming / file, staging / "opt" / home.name)
            else:
                _unpack(places.incoming / file, staging)
            sync_whole(places.opt)
            (staging / "opt" / home.name).rename(home)
            sync(places.opt)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    verify(home, release)


def _unpack(package: Path, staging: Path) -> None:
    done = subprocess.run(
        ["dpkg-deb", "-x", str(package), str(staging)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        full = "No space left" in done.stderr
        what = "disk is full" if full else "cannot be unpacked: " + done.stderr.strip()[-200:]
        raise UnitError(
            what, where=str(staging.parent if full else package), next_step=FULL if full else "deploy again"
        )


def verify(home: Path, release: str) -> None:
    """Every file of the release is what was built: the release's name is the hash of their list."""
    listed = home / "files.sha256"
    named = hashlib.sha256(listed.read_bytes()).hexdigest()[:8] if listed.exists() else ""
    good = release.endswith("-" + named) and bool(named)
    if good:
        call = ["sha256sum", "--check", "--quiet", "--strict", listed.name]
        good = subprocess.run(call, cwd=home, capture_output=True, check=False).returncode == 0
    if not good:
        # Never the running one: a release with that name was either just unpacked or is not in use.
        if target_of(home.parent / "edgeagent") != home.name:
            shutil.rmtree(home)
        raise UnitError(
            "files on the card are not what was written",
            where=str(home),
            next_step="deploy again; if it comes back, replace the card",
        )


def unpack_config(places: Places, archive: str, config: str) -> None:
    """The configuration's files as versions/<hash>; its name must be the hash of what is in it."""
    target = places.versions / config
    places.versions.mkdir(parents=True, exist_ok=True)
    if target.exists() and identify(target) == config:
        return
    if target.exists() and places.current.is_symlink() and places.current.resolve() == target.resolve():
        raise UnitError(
            "was changed on the unit since it was deployed",
            where=str(target),
            next_step="take the change into the desk's folder, then deploy again",
        )
    staging = places.versions / ".staging"
    for old in (staging, target):
        shutil.rmtree(old, ignore_errors=True)
    _extract(places.incoming / archive, staging)
    _hand_over(staging)
    if identify(staging) != config:
        raise UnitError("arrived altered", where=archive, next_step="deploy again")
    sync_whole(staging)
    staging.rename(target)
    sync(places.versions)


def _extract(archive: Path, folder: Path) -> None:
    """Plain files with plain names, nothing else; Debian 12's Python has no filter for that."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is None or member.name.startswith("/") or ".." in Path(member.name).parts:
                raise UnitError("holds what is no plain file", where=archive.name, next_step="deploy again")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def identify(folder: Path) -> str:
    """A configuration's name: a hash of its files' names and bytes."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _hand_over(folder: Path) -> None:
    """Root's, readable by the daemon's group and by nobody else."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "root", "edgeagent")
        path.chmod(mode_of(path))


def add_user(release: Path) -> None:
    """The daemon's user and folders; the same in every version."""
    for program, folder in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        options = ["--create"] if folder == "tmpfiles.d" else []
        file = release / "system/lib" / folder / "edgeagent.conf"
        subprocess.run([program, *options, str(file)], capture_output=True, check=True)


def prune(places: Places, keep: set[str | None]) -> None:
    """Remove releases and configurations that nobody points to."""
    for folder in places.opt.glob("edgeagent-*"):
        if folder.name not in keep and target_of(places.program) != folder.name:
            shutil.rmtree(folder)
    for folder in places.versions.glob("*"):
        link = f"versions/{folder.name}"
        if link not in keep and target_of(places.current) != link:
            shutil.rmtree(folder)
