"""The unit's package, built by `make package`'s own program, and others made of it: newer, broken."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.container.root import REPOSITORY

OUT = REPOSITORY / "build" / "container" / "packages"


def built() -> Path:
    """The package of this tree, built once for one state of it; or the one that EDGEAGENT_PACKAGE names."""
    if "EDGEAGENT_PACKAGE" in os.environ:
        return Path(os.environ["EDGEAGENT_PACKAGE"])
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        maker = REPOSITORY / "deploy/package/make_deb.py"
        call = [sys.executable, str(maker), "--arch", "amd64", "--python", "3.11", "--out", str(OUT)]
        done = subprocess.run(call, cwd=REPOSITORY, check=True, capture_output=True, text=True)
        package = Path(done.stdout.split("  ")[0])
        for old in OUT.glob("*.deb"):
            if old != package:
                old.unlink()
        return package


def variant(package: Path, folder: Path, name: str, change: Callable[[Path], None]) -> Path:
    """Another release: `change` is given the release's folder; its name and its list of hashes follow."""
    tree = folder / name
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    home = next(path for path in (tree / "opt").iterdir() if path.is_dir())
    change(home)
    files = sorted(path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(home)}\n"
        for path in files
        if path.name != "files.sha256"
    ]
    (home / "files.sha256").write_text("".join(lines))
    release = f"0.1.0+{name}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:8]}"
    home.rename(home.with_name(f"edgeagent-{release}"))
    (tree / "opt/edgeagent").unlink()
    (tree / "opt/edgeagent").symlink_to(f"edgeagent-{release}")
    control = tree / "DEBIAN/control"
    said = [
        line for line in control.read_text().splitlines() if not line.startswith(("Version", "Edgeagent-"))
    ]
    said[1:1] = [f"Version: 0.1.0+{name}", f"Edgeagent-Release: {release}"]
    control.write_text("\n".join(said) + "\n")
    made = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "-b", "-Zzstd", "-z1", str(tree), str(made)], check=True, capture_output=True)
    subprocess.run(["rm", "-r", str(tree)], check=True)
    return made


def program_file(home: Path, name: str) -> Path:
    """A file of the program inside a release."""
    return next(home.glob(f"lib/python3*/site-packages/edgeagent/{name}"))
