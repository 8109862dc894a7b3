"""The examples in `deploy/` are taken by the programs that read such files, and they are plainly examples."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from edgeagent.cli.keys import read_profile
from edgeagent.config import load_config, load_desk_config
from edgeagent.controlroom.enrolment_csv import Row, read_rows
from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role, new_identity, save_identity
from edgeagent.documents.trust import trusted
from edgeagent.errors import ConfigError
from edgeagent.safeguards.authority import Authority, authority_allows
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
PLACEHOLDER = "PASTE-THE-43-CHARACTERS-THAT-THE-ROOT-HOLDER-READS-OUT"


def edgeagent(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeagent", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def sign_terms(folder: Path, terms: Path) -> subprocess.CompletedProcess[str]:
    """`authority sign` with new keys; the file of terms is all that matters here."""
    now = SystemClock().now().wall
    save_identity(new_identity(Role.AUTHORISING_OFFICER, "an authorising officer"), folder / "officer.key")
    desk = new_identity(Role.CONTROL_ROOM, "control room")
    line = trusted(desk, not_before=now, not_after=now + timedelta(days=1))
    (folder / "desk.pub").write_text(line.model_dump_json())
    (folder / "list").write_bytes(b"a list")
    options = ["--key", "officer.key", "--watchlist", "list", "--alert-key", "desk.pub", "--out", "signed"]
    return edgeagent(folder, "authority", "sign", "--from", str(terms), *options)


def pasted(name: str, folder: Path) -> Path:
    """The example with a root's thumbprint in place of the words that ask for one."""
    text = (DEPLOY / name).read_text()
    assert text.count(PLACEHOLDER) == 1
    file = folder / name
    file.write_text(text.replace(PLACEHOLDER, "a" * 43))
    return file


def test_the_list_of_whom_to_enrol_is_taken() -> None:
    file = DEPLOY / "watchlist-example.csv"
    with file.open(newline="") as stream:
        assert next(csv.reader(stream)) == list(Row.model_fields), "columns in the order of the manual"
    rows = read_rows(file)
    today = SystemClock().now().wall.date()
    entries = [row.to_entry(today) for row in rows]
    assert len({entry.person for entry in entries}) < len(entries), "two pictures of one person are shown"
    assert any(row.under_18_rationale for row in rows), "so is a rationale"
    assert all(row.entry.startswith("example-") and "EXAMPLE" in row.image_reference for row in rows)


def test_the_configurations_are_taken(tmp_path: Path) -> None:
    assert load_config(pasted("edgeagent-example.toml", tmp_path)).unit.name == "unit-07"
    assert load_desk_config(pasted("desk-example.toml", tmp_path)).desk.name == "control-room"


def test_the_terms_of_an_authority_are_signed_as_they_are_and_fit_the_example_profile(tmp_path: Path) -> None:
    done = sign_terms(tmp_path, DEPLOY / "authority-example.toml")
    assert done.returncode == 0, done.stderr
    assert "live authority for example-street-2031-05-06" in done.stdout
    body = _body(tmp_path / "signed")
    at = Instant(0, body.start, synchronised=True)
    profile = read_profile(DEPLOY / "profile-example.toml")
    assert authority_allows(body, profile, unit="unit-07", now=at).end == body.end
    assert body.threshold >= profile.threshold_usual
    assert "EXAMPLE" in body.necessity
    assert "EXAMPLE" in body.proportionality


def _body(file: Path) -> Authority:
    payload = json.loads(file.read_bytes())["payload"]
    return Authority.model_validate_json(unbase64url(payload))


@pytest.mark.parametrize("content", ["", "\n# nothing yet\n"])
def test_an_empty_file_says_so_and_what_to_write(content: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"is empty — write its sections \[unit\], \[trust\], .*deploy/"):
        load_config(file)
    with pytest.raises(ConfigError, match=r"is empty — write its sections \[desk\], \[trust\], \[broker\]"):
        load_desk_config(file)
    with pytest.raises(ConfigError, match=r"is empty — copy deploy/profile-example\.toml"):
        read_profile(file)


def test_empty_terms_of_an_authority_say_which_example_to_copy(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    told = sign_terms(tmp_path, Path("empty.toml"))
    assert told.returncode == 2
    assert told.stderr.startswith("ConfigError: empty.toml: is empty — copy deploy/authority-example.toml")
    assert len(told.stderr.splitlines()) == 1
