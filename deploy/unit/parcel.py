"""What travels of a package: an update sends some megabytes instead of a hundred.

Most of a package is libraries, which change seldom. The unit is told the list of the package's files by their
hashes; it says which it has not, having read its own; only those travel. The release's name is the hash of
that list, and the unit compares every file with it afterwards, however it came.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from unit.faults import FolderError
from unit.on_unit.parcel import LISTING, entries
from unit.on_unit.places import UnitError
from unit.package import Package
from unit.tool import Tool

WORTH = 0.5
"""Files of more octets than this part of the package's are not sorted out: then all of it travels."""


@dataclass(frozen=True)
class Cargo:
    """The program as it travels: its name there, its hash, and its file; no file if the unit has it."""

    name: str
    sha256: str = ""
    file: Path | None = None

    @property
    def size(self) -> int:
        """Octets that travel."""
        return self.file.stat().st_size if self.file else 0


def cargo(tool: Tool, facts: dict[str, Any], package: Package, folder: Path) -> Cargo:
    """Nothing, what the unit lacks, or the whole package; `folder` is for what is made on the way."""
    whole = Cargo(f"{package.sha256}.deb", package.sha256, package.file)
    if package.release in facts["releases"] or whole.name in facts["incoming"]:
        return Cargo(whole.name)
    if facts["release"] is None:
        return whole
    listed, paths, sizes = _contents(package)
    lacks = set(tool.ask("lacks", content=listed))
    wanted = {path for digest, path in paths if digest in lacks}
    if sum(sizes.get(path, 0) for path in wanted) > WORTH * whole.size:
        return whole
    made = folder / "parcel"
    with made.open("wb") as file:
        _write(package, wanted | {LISTING}, file)
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    return Cargo(f"{sha256}.parcel", sha256, made)


def _contents(package: Package) -> tuple[bytes, list[tuple[str, str]], dict[str, int]]:
    """The package's list of its files, the same read, and the size of each file."""
    listed, sizes = b"", {}
    with _release(package) as files:
        for member, path, content in files:
            sizes[path] = member.size
            if path == LISTING and content is not None:
                listed = content.read()
        if not listed:
            raise UnitError(f"it has no {LISTING}")
        return listed, entries(listed), sizes


def _write(package: Package, wanted: set[str], to: IO[bytes]) -> None:
    """A tar of the release's links and of the files that are wanted."""
    with _release(package) as files, tarfile.open(fileobj=to, mode="w:gz", compresslevel=6) as tar:
        for member, path, content in files:
            if member.issym() or path in wanted:
                member.name = path
                tar.addfile(member, content)


@contextmanager
def _release(package: Package) -> Iterator[Iterator[tuple[tarfile.TarInfo, str, IO[bytes] | None]]]:
    """What lies in the release's folder, as it comes out of the package: each is read before the next."""
    call = ["dpkg-deb", "--fsys-tarfile", str(package.file)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tree:
                yield _inside(tree, f"opt/edgeagent-{package.release}/")
        except (tarfile.TarError, UnitError) as cause:
            raise FolderError(
                f"cannot be read: {cause}", where=str(package.file), next_step="make package"
            ) from None
        finally:
            process.kill()


def _inside(tree: tarfile.TarFile, home: str) -> Iterator[tuple[tarfile.TarInfo, str, IO[bytes] | None]]:
    for member in tree:
        name = member.name.removeprefix("./")
        if name.startswith(home):
            yield member, name.removeprefix(home), tree.extractfile(member) if member.isfile() else None
