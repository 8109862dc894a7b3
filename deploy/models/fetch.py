"""Pinned packages from the registries, every one checked by its hash before a byte of it is used."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

Source = dict[str, Any]
SOURCES = Path(__file__).with_name("sources.toml")


def load_sources() -> dict[str, Source]:
    """The pinned packages by name."""
    return tomllib.loads(SOURCES.read_text())


def fetch(source: Source, cache: Path) -> Path:
    """The package file, downloaded unless it is there already; ends the program if its hash differs."""
    target: Path = cache / source["file"]
    if not target.exists():
        print(f"fetching {source['package']}", flush=True)
        _download(source, cache)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    if digest != source["package_sha256"]:
        sys.exit(
            f"{target}: sha256 is {digest}, pinned is {source['package_sha256']}; delete it and try again"
        )
    return target


def _download(source: Source, cache: Path) -> None:
    if source["registry"] == "node":
        command = ["npm", "pack", "--silent", "--pack-destination", str(cache), source["package"]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        # pip compares the hash before it runs a source package's set-up code to learn its name.
        wanted.write(f"{source['package']} --hash=sha256:{source['package_sha256']}\n")
        wanted.flush()
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
        command += ["-d", str(cache), "-r", wanted.name, *_platform(source["file"])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _platform(file: str) -> list[str]:
    if file.endswith(".tar.gz"):
        return ["--no-build-isolation", "--no-binary", ":all:"]
    options = ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    for tag in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"):
        options += ["--platform", tag]
    return options


def member(package: Path, name: str) -> bytes:
    """One file of a package."""
    if package.suffix == ".whl":
        return zipfile.ZipFile(package).read(name)
    with tarfile.open(package) as archive:
        found = archive.extractfile(name)
        if found is None:
            sys.exit(f"{package}: has no {name}")
        return found.read()


def pinned_member(package: Path, source: Source) -> bytes:
    """The source's one member, checked by its own hash too."""
    content = member(package, source["member"])
    digest = hashlib.sha256(content).hexdigest()
    if digest != source["sha256"]:
        sys.exit(f"{source['member']}: sha256 is {digest}, pinned is {source['sha256']}")
    return content
