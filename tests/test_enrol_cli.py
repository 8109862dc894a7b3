"""The commands of an enrolment, from the desk's first key to a daemon that would start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeagent.cli import enrol
from edgeagent.cli.main import main
from edgeagent.documents import enrol_code

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "deploy/profile-example.toml"
PLACEHOLDER = "PASTE-THE-43-CHARACTERS-THAT-THE-ROOT-HOLDER-READS-OUT"
Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command; its output, or with `code` its error."""

    def go(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        return said.err if code else said.out

    return go


@pytest.fixture
def office(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control room as docs/enrolment.md makes it; also the current folder."""
    monkeypatch.setattr(enrol_code, "_COST", 1 << 4)
    monkeypatch.setattr(enrol, "CARD", ())
    monkeypatch.chdir(tmp_path)
    run("keys", "new", "root", "root", "--out", "root.key")
    run("keys", "new", "control_room", "control-room", "--out", "desk.key")
    run("keys", "public", "desk.key", "--out", "desk.public.json")
    signing = ("--root", "root.key", "--profile", PROFILE, "--sequence", "1")
    root = run("keys", "trust", *signing, "desk.public.json", "--out", "trust.json").split()[-1]
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("five random words or more\n")
    passphrase.chmod(0o600)
    run("keys", "ca", "init", "--folder", "ca", "--passphrase-file", passphrase)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/ca.crt").write_bytes((tmp_path / "ca/ca.crt").read_bytes())
    text = (ROOT / "deploy/desk-example.toml").read_text()
    (tmp_path / "desk.toml").write_text(text.replace(PLACEHOLDER, root))
    return tmp_path


CONFIG = ("--config", "desk.toml")
UNIT = ("--folder", "unit")
AUTHORITY = ("--ca-folder", "ca", "--passphrase-file", "passphrase")


def test_an_enrolment_from_the_card_to_a_daemon_that_would_start(office: Path, run: Run) -> None:
    refused = run("run", "--config", "unit/edgeagent.toml", code=2)
    assert "edgeagent enrol status" in refused
    assert "edgeagent enrol begin" in run("enrol", "status", *UNIT)
    run("enrolment", "invite", "unit-07", *CONFIG, "--out", "enrolment.toml")
    assert (office / "enrolment.toml").stat().st_mode & 0o077 == 0

    shown = run("enrol", "begin", *UNIT, "--enrolment", "enrolment.toml", "--out", "request.json")
    assert run("enrol", "status", *UNIT) == shown
    status = json.loads(run("enrol", "status", *UNIT, "--json"))
    code = status["code"]
    assert code in shown
    assert "edgeagent enrol status" in run("run", "--config", "unit/edgeagent.toml", code=2)

    # The desk never shows the code: it can only come from the unit.
    seen = run("enrolment", "show", "request.json", *CONFIG)
    as_json = run("enrolment", "show", "request.json", *CONFIG, "--json")
    wrong = run("enrolment", "approve", "request.json", *CONFIG, *AUTHORITY, "--code", "0" * 12, code=2)
    for text in (seen, as_json, wrong):
        assert code not in text
        assert code.replace("-", "") not in text
    said = ("enrolment", "approve", "request.json", *CONFIG, *AUTHORITY, "--code", code.lower(), "--json")
    made = json.loads(run(*said))
    assert made["revoked"] == []

    run("enrol", "finish", made["folder"], *UNIT, "--owner", "", "--drop-ins", "drop-ins")
    assert "unit-07" in run("validate-config", "--config", "unit/edgeagent.toml")
    assert json.loads(run("enrol", "status", *UNIT, "--json"))["stage"] == "enrolled"
    # At the next boot the first-boot service finds nothing to do.
    assert "is enrolled" in run("enrol", "begin", *UNIT, "--enrolment", "enrolment.toml")
    rows = json.loads(run("enrolment", "list", *CONFIG, "--json"))
    assert [row["event"] for row in rows] == ["invited", "code_differed", "approving", "approved"]
    assert "code_differed" in run("enrolment", "list", *CONFIG)

    # The root's holder adds the unit's line, and its documents count.
    signing = ("--root", "root.key", "--profile", PROFILE, "--sequence", "2")
    run("keys", "trust", *signing, "desk.public.json", made["key"], "--out", "trust.json")
    root = json.loads((office / "trust.json").read_text())
    assert root


def test_refusing_a_request_spends_its_token(office: Path, run: Run) -> None:
    run("enrolment", "invite", "unit-07", *CONFIG, "--out", "enrolment.toml")
    run("enrol", "begin", *UNIT, "--enrolment", "enrolment.toml", "--out", "request.json")
    refusing = ("enrolment", "refuse", "request.json", *CONFIG, "--because", "code_differs")
    assert "refused" in run(*refusing)
    assert "was refused already" in run(*refusing, code=2)
    assert "was refused already" in run("enrolment", "show", "request.json", *CONFIG, code=2)


ERRORS: dict[str, tuple[tuple[str, ...], str]] = {
    "no card": (("enrol", "begin", "--folder", "unit"), "ConfigError: enrolment.toml: there is none"),
    "a card of nonsense": (
        ("enrol", "begin", "--folder", "unit", "--enrolment", "desk.toml"),
        "ConfigError: desk.toml: ",
    ),
    "finish before begin": (("enrol", "finish", "ca", "--folder", "unit", "--owner", ""), "approval.json"),
    "a user who is not there": (
        ("enrol", "finish", "ca", "--folder", "unit", "--owner", "nobody-here"),
        "there is no user 'nobody-here'",
    ),
    "no request": (("enrolment", "show", "no.json", "--config", "desk.toml"), "no.json: cannot be read"),
    "no such name": (
        ("enrolment", "invite", "Unit 7", "--config", "desk.toml", "--out", "x"),
        "ConfigError: unit: ",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_mistake_is_named_with_what_to_do(name: str, office: Path, run: Run) -> None:
    words, message = ERRORS[name]
    said = run(*words, code=2)
    assert message in said
    assert " — " in said
    assert "Traceback" not in said


def test_an_error_of_a_card_never_repeats_its_token(office: Path, run: Run) -> None:
    run("enrolment", "invite", "unit-07", *CONFIG, "--out", "enrolment.toml")
    card = office / "enrolment.toml"
    token = next(line.split('"')[1] for line in card.read_text().splitlines() if line.startswith("token"))
    card.write_text(card.read_text().replace(token, f"{token}1"))
    said = run("enrol", "begin", *UNIT, "--enrolment", "enrolment.toml", code=2)
    assert "enrolment.toml: token" in said
    assert token not in said
