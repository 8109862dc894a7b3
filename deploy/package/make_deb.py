"""Build the Debian package of a unit, for instance: python deploy/package/make_deb.py --arch arm64.

The package is a virtual environment with every library in it, taken as wheels from the hash-pinned
`requirements.lock`; so it needs Debian's own Python and nothing else, and an arm64 package is built on any
machine, without emulation. Two builds of one commit give the same bytes: times are the commit's, order is
sorted. Byte code is in it where this machine has the unit's version of Python, since the daemon may write
none and would compile its libraries at each start.

It lies in /opt/edgeagent-<release>, where the release is the version and a hash of every file, and
/opt/edgeagent is a link to it: releases stand side by side, and `make deploy` goes from one to the other, and
back, by one rename.

Needs pip, git, and Debian's dpkg-deb.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LOCK = HERE / "requirements.lock"
LIBRARIES = REPOSITORY / "build" / "libraries"
LINK = Path("opt/edgeagent")
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
LIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
"""Newest first: Debian 12 has 2.36."""
UNUSED = (
    *("*/tests", "*/test", "numpy/f2py", "numpy/_core/lib", "numpy/_core/include", "cv2/data", "bin"),
    # Compilers for other chips, and a graphics driver: the unit's networks run on the processor.
    *(f"ai_edge_litert/{part}" for part in ("aot", "tools", "vendors", "libLiteRtWebGpuAccelerator.so")),
)
"""Parts of libraries that no unit runs."""
CONTROL = """\
Package: edgeagent
Version: {version}
Architecture: {arch}
Maintainer: edgeagent developers <edgeagent@example.org>
Section: misc
Priority: optional
Installed-Size: {kilobytes}
Depends: python3 (>= {python}), python3 (<< {next_python}), python{python}, libc6 (>= 2.28), systemd (>= 252)
Recommends: nftables
Edgeagent-Release: {release}
Description: live facial recognition within limits that the program itself enforces
 The daemon of a camera appliance. It compares faces with a signed watchlist made for one
 deployment and publishes only hits, only while officers on the ground hold a lease. Every
 legal safeguard is an invariant of the program with a test that anyone can run.
"""


def main() -> None:
    """Build one package."""
    parser = argparse.ArgumentParser(description="Build edgeagent's Debian package.")
    parser.add_argument("--arch", choices=sorted(MACHINE), required=True)
    parser.add_argument(
        "--python",
        default="3.11",
        help="of the system that it is for: Debian 12 has 3.11, JetPack 7.2 3.12, Debian 13 3.13",
    )
    parser.add_argument("--out", type=Path, default=Path("build"))
    arguments = parser.parse_args()
    package = build(arguments.arch, arguments.python, arguments.out)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    print(f"{package}  {package.stat().st_size / 1e6:.1f} MB  sha256 {digest}")


def build(arch: str, python: str, out: Path) -> Path:
    """The package's file; one that was built of the same tree is taken as it is."""
    version = _version()
    package = out.absolute() / f"edgeagent_{version}_{arch}_py{python}.deb"
    note, state = package.with_suffix(".made-of"), _state(arch, python)
    if package.exists() and note.exists() and note.read_text() == f"{state} {_digest(package)}":
        os.utime(package)  # who looks for the newest finds it
        return package
    _build(package, arch, python, version)
    note.write_text(f"{state} {_digest(package)}")
    return package


def _build(package: Path, arch: str, python: str, version: str) -> None:
    stage = package.parent / f"package-{arch}-{python}"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(HERE / "root", stage)
    _environment(stage / LINK, arch, python)
    release = _side_by_side(stage, version)
    _debian(stage, arch, python, version, release)
    _settle(stage, int(_git("log", "-1", "--format=%ct")))
    epoch = {**os.environ, "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct")}
    # Under a temporary name first: an interrupted build leaves no package that looks whole.
    unfinished = package.with_suffix(".part")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", "-Zzstd", str(stage), str(unfinished)],
        check=True,
        env=epoch,
        stdout=subprocess.DEVNULL,
    )
    unfinished.rename(package)
    shutil.rmtree(stage)


def _state(arch: str, python: str) -> str:
    """What decides every byte of the package: its commit, for the times, and the files that it is made of."""
    whole = hashlib.sha256(f"{arch} {python} {_compiler(python)[1]} {_git('rev-parse', 'HEAD')}".encode())
    named = _git("ls-files", "-co", "--exclude-standard", "edgeagent", "deploy/package", "pyproject.toml")
    for name in sorted(set(named.splitlines())):
        file = REPOSITORY / name
        whole.update(f"\0{name}\0{_digest(file) if file.is_file() else 'gone'}".encode())
    return whole.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _environment(home: Path, arch: str, python: str) -> None:
    """A virtual environment in Debian's Python, for another machine perhaps: nothing of it is run here."""
    site = home / "lib" / f"python{python}" / "site-packages"
    # Copied, not linked: another build at the same time would change what dpkg-deb reads here.
    shutil.copytree(_libraries(arch, python), site)
    # What is new and not ignored belongs to it, too; the version then says `~dirty`.
    ours = _git("ls-files", "--cached", "--others", "--exclude-standard", "edgeagent").splitlines()
    for name in filter(lambda name: (REPOSITORY / name).is_file(), ours):
        target = site / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
    _compile(site, python, "edgeagent")
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to(f"/usr/bin/python{python}")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )


def _libraries(arch: str, python: str) -> Path:
    """The pinned libraries without what no unit runs; unpacked once for each lock file."""
    made_of = (LOCK.read_bytes(), arch, python, UNUSED, LIBC, _compiler(python)[1])
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    made = LIBRARIES / f"{arch}-{python}-{key}"
    if made.exists():
        return made
    part = made.with_name(f".{made.name}-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    _install(part, arch, python)
    for pattern in UNUSED:
        for path in part.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _compile(part, python)
    for old in LIBRARIES.glob(f"{arch}-{python}-*"):
        if old != made:
            shutil.rmtree(old)
    try:
        part.rename(made)
    except OSError:
        shutil.rmtree(part)
        if not made.exists():  # nobody else was quicker
            raise
    return made


def _install(site: Path, arch: str, python: str) -> None:
    platforms = [f"--platform={libc}_{MACHINE[arch]}" for libc in LIBC]
    pinned = ["--no-deps", "--require-hashes", "-r", str(LOCK)]
    other = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *platforms]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", str(site)]
    subprocess.run([*pip, *pinned, *other], check=True)


def _compiler(python: str) -> tuple[str, str]:
    """This machine's Python of that version, and which it is exactly; both empty if it has none that runs."""
    for program in (f"/usr/bin/python{python}", shutil.which(f"python{python}") or ""):
        if Path(program).is_file():
            done = subprocess.run([program, "-VV"], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return program, done.stdout.strip()
    return "", ""


def _compile(site: Path, python: str, part: str = ".") -> None:
    """Byte code that names the hash of its source: Python takes it while the source is that one.

    In one process, of a fixed seed: what it looks like depends a little on what was compiled before it.
    """
    compiler, _ = _compiler(python)
    if not compiler:
        print(f"no python{python} here: no byte code, each start of the daemon compiles", file=sys.stderr)
        return
    place = f"/{LINK}/lib/python{python}/site-packages/{part}"
    options = ["-q", "--invalidation-mode", "checked-hash", "-s", str(site / part), "-p", place]
    command = [compiler, "-P", "-m", "compileall", *options, str(site / part)]
    here = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(command, check=True, env={**here, "PYTHONHASHSEED": "0"})


def _side_by_side(stage: Path, version: str) -> str:
    """Give the tree its release's name; its system files lie in it too, so that a switch takes them along."""
    home = stage / LINK
    shutil.copytree(HERE / "root" / "usr", home / "system")
    listed = _sums(home, hashlib.sha256)
    (home / "files.sha256").write_text(listed)
    release = f"{version}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"
    home.rename(stage / LINK.with_name(f"{LINK.name}-{release}"))
    home.symlink_to(f"{LINK.name}-{release}")
    return release


def _sums(tree: Path, algorithm: Callable[[bytes], Any]) -> str:
    """A line for each file, sorted: its digest, and its path in the tree."""
    files = sorted(file for file in tree.rglob("*") if file.is_file() and not file.is_symlink())
    lines = (f"{algorithm(file.read_bytes()).hexdigest()}  {file.relative_to(tree)}\n" for file in files)
    return "".join(lines)


def _debian(stage: Path, arch: str, python: str, version: str, release: str) -> None:
    sums = _sums(stage, hashlib.md5)
    control = stage / "DEBIAN"
    control.mkdir()
    major, minor = python.split(".")
    size = sum(file.lstat().st_size for file in stage.rglob("*") if not file.is_dir()) // 1024
    (control / "control").write_text(
        CONTROL.format(
            version=version,
            arch=arch,
            python=python,
            next_python=f"{major}.{int(minor) + 1}",
            kilobytes=size,
            release=release,
        )
    )
    (control / "md5sums").write_text(sums)
    for script in (HERE / "scripts").iterdir():
        shutil.copyfile(script, control / script.name)
        (control / script.name).chmod(0o755)


def _settle(stage: Path, epoch: int) -> None:
    """Modes and times that do not depend on who builds, and when."""
    for path in sorted(stage.rglob("*")):
        if path.is_symlink():
            continue
        script = path.is_file() and path.parent.name in ("bin", "DEBIAN") and path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if path.is_dir() or script else 0o644)
        os.utime(path, (epoch, epoch))


def _version() -> str:
    """The project's version, and which commit of it; `~dirty` sorts before the clean one."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    version = next(line.split('"')[1] for line in text.splitlines() if line.startswith("version = "))
    count = _git("rev-list", "--count", "HEAD")
    dirty = "~dirty" if _git("status", "--porcelain", "edgeagent", "deploy/package") else ""
    return f"{version}+{count}.{_git('rev-parse', '--short=9', 'HEAD')}{dirty}"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
