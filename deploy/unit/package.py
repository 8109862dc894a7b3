"""The Debian package for a unit: the one that was named, or built here for its machine and Python."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from unit.faults import FolderError

REPOSITORY = Path(__file__).parents[2]
FIELDS = ("Package", "Version", "Architecture", "Depends", "Installed-Size", "Edgeagent-Release")


@dataclass(frozen=True)
class Package:
    """A package file that was looked into."""

    file: Path
    version: str
    arch: str
    python: str
    unpacked: int
    release: str
    sha256: str


def build(arch: str, python: str) -> Path:
    """Build it with `make package`'s program; the build says on standard error how it goes."""
    out = REPOSITORY / "build"
    call = [sys.executable, str(REPOSITORY / "deploy/package/make_deb.py")]
    call += ["--arch", arch, "--python", python, "--out", str(out)]
    done = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise FolderError(
            f"the package was not built: {words[:200]}",
            where=f"make package ARCH={arch} DEBIAN_PYTHON={python}",
            next_step="run that by hand and read what it says",
        )
    print(done.stderr, end="", file=sys.stderr)
    return Path(done.stdout.split("  ")[0])


def inspect(file: Path) -> Package:
    """What a package says of itself.

    Raises:
        FolderError: not a package of edgeagent.
    """
    done = subprocess.run(["dpkg-deb", "-f", str(file), *FIELDS], capture_output=True, text=True, check=False)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    if done.returncode != 0 or said.get("Package") != "edgeagent" or "Edgeagent-Release" not in said:
        raise FolderError("is no package of edgeagent", where=str(file), next_step="make package")
    return Package(
        file=file,
        version=said["Version"],
        arch=said["Architecture"],
        python=said["Depends"].split("python3 (>= ")[1].split(")")[0],
        unpacked=int(said["Installed-Size"]) * 1024,
        release=said["Edgeagent-Release"],
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
