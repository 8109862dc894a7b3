"""A release out of the one that is in use and a parcel with what that one lacks."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from unit.on_unit.durable import target_of
from unit.on_unit.places import Places, UnitError

LISTING = "files.sha256"
PIECE = 1 << 20


def lacks(places: Places, listed: bytes) -> list[str]:
    """Hashes of a list that no file of the release in use has. Files are read: one may have decayed."""
    wanted = {digest for digest, _ in entries(listed)}
    return sorted(wanted - _here(places, wanted).keys())


def assemble(places: Places, parcel: Path, target: Path) -> None:
    """Put a release together; what the one in use has is linked, so it takes no time and no room.

    Raises:
        UnitError: the parcel was made for another release than the one in use.
    """
    _open(parcel, target)
    listed = entries((target / LISTING).read_bytes())
    here = _here(places, {digest for digest, path in listed if not (target / path).exists()})
    for digest, path in listed:
        file = target / path
        if file.exists():
            continue
        if digest not in here:
            raise UnitError(f"lacks {path}", where=parcel.name, next_step="deploy again")
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(here[digest], file)


def entries(listed: bytes) -> list[tuple[str, str]]:
    """Hash and path of each line, as sha256sum writes them; paths lead nowhere else.

    Raises:
        UnitError: this is no such list.
    """
    found = []
    for line in listed.decode(errors="replace").splitlines():
        digest, _, path = line.partition("  ")
        _plain(path)
        found.append((digest, path))
    return found


def _here(places: Places, wanted: set[str]) -> dict[str, Path]:
    """Files of the release in use, by what is in them now."""
    home = places.opt / (target_of(places.program) or "-")
    listed = home / LISTING
    found: dict[str, Path] = {}
    for digest, path in entries(listed.read_bytes()) if listed.is_file() else []:
        file = home / path
        if digest in wanted and digest not in found and file.is_file() and _digest(file) == digest:
            found[digest] = file
    return found


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _open(parcel: Path, target: Path) -> None:
    """Folders, files and links with plain names; Debian 12's Python has no filter for that."""
    with tarfile.open(parcel) as tar:
        for member in tar:
            _plain(member.name)
            place = target / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                place.mkdir(exist_ok=True)
            elif member.issym():
                place.symlink_to(member.linkname)
            elif content := tar.extractfile(member):
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file, PIECE)
                place.chmod(member.mode & 0o755)


def _plain(name: str) -> None:
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise UnitError(f"names {name[:80]!r}", where=LISTING, next_step="make package, then deploy again")
