"""A copy of the program in which one safeguard at a time is broken, and what its tests say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rules.table import files_of

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("breaks.toml")
LONGEST_S = 600
NEEDED = (
    "edgeagent",
    "tests",
    "deploy",
    "docs",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "LICENSES",
    "LICENSE",
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(?:rules/)?([\w.]+)(?:::([\w]+))?", re.MULTILINE)
SOME_TEST_FAILED = 1


@dataclass(frozen=True, slots=True)
class Break:
    """One safeguard taken out.

    Attributes:
        what: what the broken program does.
        file: below the package's folder.
        old: stands there exactly once.
    """

    rule: int
    what: str
    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """The test that failed first; empty if none did."""

    by: str


def breaks() -> list[Break]:
    """Every break of the list, by rule."""
    return [Break(**one) for one in tomllib.loads(LIST.read_text())["break"]]


class Bench:
    """A copy in a folder of its own; processes that its tests start use it too."""

    def __init__(self, folder: Path) -> None:
        """Copy the program and its tests there."""
        self._folder = folder
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                leave = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(source, folder / name, ignore=leave, symlinks=True)
            else:
                shutil.copy2(source, folder / name)

    def tried(self, one: Break) -> Noticed:
        """Break, run the tests of that rule up to the first failure, mend.

        Raises:
            RuntimeError: the tests could not be run at all, which says nothing.
        """
        files = [f"tests/rules/{name}" for name in sorted(files_of()[one.rule], key=_quick_first)]
        with self._broken(one):
            # No assertion is rewritten into a cache: two breaks of one file may have equal times and sizes.
            command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
            told = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
            )
        if told.returncode not in (0, SOME_TEST_FAILED):
            found = _FAILED.search(told.stdout)  # a test file that cannot be imported any more
            if found is None:
                raise RuntimeError(f"R{one.rule}, {one.what}: {told.stdout[-2000:]}{told.stderr[-2000:]}")
        failed = _FAILED.search(told.stdout)
        return Noticed("::".join(part for part in failed.groups() if part) if failed else "")

    @contextmanager
    def _broken(self, one: Break) -> Iterator[None]:
        path = self._folder / "edgeagent" / one.file
        sound = path.read_text()
        path.write_text(broken(sound, one))
        try:
            yield
        finally:
            path.write_text(sound)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}


def broken(sound: str, one: Break) -> str:
    """The file's text with the safeguard taken out.

    Raises:
        ValueError: `old` does not stand there exactly once, so the list does not fit the program.
    """
    if sound.count(one.old) != 1:
        raise ValueError(f"R{one.rule}, {one.what}: stands {sound.count(one.old)} times in {one.file}")
    return sound.replace(one.old, one.new)


def _quick_first(name: str) -> tuple[bool, str]:
    """Tests that start processes last: a break is noticed sooner."""
    return ("end_to_end" in name or "live_search" in name or "camera_closes" in name, name)
