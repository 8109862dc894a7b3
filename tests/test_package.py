"""The unit's package: built again when it must be, and with byte code that hides no altered source."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PRINTS = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import edgeagent.errors"]


@pytest.fixture
def make_deb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """make_deb.py for a small tree of its own; what builds only notes that it did."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    spec = importlib.util.spec_from_file_location("make_deb", ROOT / "deploy/package/make_deb.py")
    assert spec is not None
    assert spec.loader is not None
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    tree = tmp_path / "tree"
    (tree / "edgeagent").mkdir(parents=True)
    (tree / "edgeagent/errors.py").write_text("1")
    (tree / "pyproject.toml").write_text('version = "0.1.0"\n')
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for step in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tree), *step], check=True, capture_output=True)
    monkeypatch.setattr(made, "REPOSITORY", tree)
    made.times = 0

    def note(package: Path, *_: str) -> None:
        made.times += 1
        package.write_text(f"package {made.times}")

    monkeypatch.setattr(made, "_build", note)
    return made


@pytest.mark.parametrize(
    ("change", "times"),
    [
        (lambda tree, package: None, 1),
        (lambda tree, package: (tree / "notes.txt").write_text("not in the package"), 1),
        (lambda tree, package: (tree / "edgeagent/errors.py").write_text("2"), 2),
        (lambda tree, package: (tree / "edgeagent/new.py").write_text("not committed"), 2),
        (lambda tree, package: (tree / "edgeagent/errors.py").unlink(), 2),
        (lambda tree, package: package.write_text("altered"), 2),
        (lambda tree, package: package.unlink(), 2),
    ],
    ids=["nothing", "elsewhere", "a file", "a new file", "one less", "the package itself", "it is gone"],
)
def test_a_package_is_built_again_when_something_in_it_changed(
    make_deb: Any, tmp_path: Path, change: Any, times: int
) -> None:
    first = make_deb.build("amd64", "3.11", tmp_path)
    change(make_deb.REPOSITORY, first)
    again = make_deb.build("amd64", "3.11", tmp_path)
    assert make_deb.times == times
    assert again.read_text() == f"package {times}"
    make_deb.build("arm64", "3.11", tmp_path)
    assert make_deb.times == times + 1


def _site(folder: Path) -> Path:
    (folder / "edgeagent").mkdir(parents=True)
    (folder / "edgeagent/__init__.py").write_text("")
    (folder / "edgeagent/errors.py").write_text("names = {'a', 'b', 'c'}\nprint('as it was built')\n")
    return folder


@pytest.fixture
def compiled(make_deb: Any, tmp_path: Path) -> Path:
    if not make_deb._compiler(HERE)[0]:
        pytest.skip(f"python{HERE} cannot be called by that name here")
    site = _site(tmp_path / "site")
    make_deb._compile(site, HERE, "edgeagent")
    return site


def test_byte_code_counts_for_exactly_the_source_beside_it(compiled: Path) -> None:
    """A source that was altered on the unit runs as it was altered: old byte code does not hide that."""
    code = next((compiled / "edgeagent/__pycache__").glob("errors.*.pyc"))
    assert code.read_bytes()[4:8] == b"\3\0\0\0", "by the hash of the source, looked at when it is loaded"
    source = compiled / "edgeagent/errors.py"
    before = source.stat()
    run = [*PRINTS, str(compiled)]
    assert subprocess.run(run, capture_output=True, text=True).stdout == "as it was built\n"
    source.write_text(source.read_text().replace("as it was built", "altered, of old"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.stat().st_size == before.st_size
    assert subprocess.run(run, capture_output=True, text=True).stdout == "altered, of old\n"


def test_byte_code_says_nothing_of_where_it_was_made(make_deb: Any, compiled: Path, tmp_path: Path) -> None:
    other = _site(tmp_path / "somewhere else")
    make_deb._compile(other, HERE, "edgeagent")
    made = {path.name: path.read_bytes() for path in (compiled / "edgeagent/__pycache__").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (other / "edgeagent/__pycache__").iterdir()}
    for content in made.values():
        assert str(tmp_path).encode() not in content
        assert f"/opt/edgeagent/lib/python{HERE}/site-packages/edgeagent/".encode() in content


def test_without_that_python_a_package_says_that_it_has_none(
    make_deb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    site = _site(tmp_path / "site")
    make_deb._compile(site, "3.99", "edgeagent")
    assert "no python3.99 here: no byte code" in capsys.readouterr().err
    assert not (site / "edgeagent/__pycache__").exists()
