"""The command line: help, one-line errors, JSON, exit codes, and what a person sees of an alert."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeagent.cli import main
from edgeagent.cli.main import edgeagent
from edgeagent.documents.explain import NAMES
from edgeagent.documents.keys import Role, load_identity, save_identity
from tests.bench_unit import Bench, Officers, make_bench

pytest_plugins = ["tests.bench_fixtures"]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    for bench in make_bench(tmp_path_factory.mktemp("cli")):
        bench.put()
        yield bench


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], papers: Bench):
    """Run a command in the bench's folder, in this process."""

    def command(*arguments: str) -> Ran:
        monkeypatch.chdir(papers.path)
        monkeypatch.setattr(sys, "argv", ["edgeagent", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return command


# --- help ---------------------------------------------------------------------------------------------------


def _commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from _commands(command, (*path, name))


COMMANDS = list(_commands(edgeagent))


def test_there_are_all_commands() -> None:
    assert {("run",), ("doctor",), ("lease", "hold"), ("alerts", "watch"), ("keys", "new")} <= set(COMMANDS)


def test_the_first_help_puts_every_command_in_a_group_once(run) -> None:
    groups = re.findall(
        r"^  [A-Z][a-z ]+?  +([a-z].*)$", run("--help").out.split("Options:")[0], re.MULTILINE
    )
    named = [name for line in groups for name in line.split(", ")]
    assert sorted(named) == sorted(edgeagent.list_commands(click.Context(edgeagent)))


def test_verify_names_every_kind_of_document_that_it_takes(run) -> None:
    shown = " ".join(run("documents", "verify", "--help").out.split())
    kinds = [name.split(":")[0].split(" of ")[0].split(" for ")[0] for name in NAMES.values()]
    missing = [kind for kind in kinds if kind.removeprefix("evaluation ").removesuffix(" key") not in shown]
    assert not missing


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...], run) -> None:
    shown = run(*path, "--help")
    assert shown.code == 0
    assert shown.err == ""
    assert re.search(r"^  [A-Z].*", shown.out, re.MULTILINE), "no sentence"
    assert shown.out.startswith(f"Usage: edgeagent {' '.join(path)}".rstrip())
    assert run(*path, "-h").out == shown.out


def test_help_as_a_process_loads_no_network(papers: Bench) -> None:
    done = papers.run_command("--help")
    assert done.returncode == 0
    assert "edgeagent demo" in done.stdout
    code = "import sys, edgeagent.cli.main; sys.exit('cv2' in sys.modules or 'ai_edge_litert' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- errors -------------------------------------------------------------------------------------------------

TRUST = ("--trust", "trust.json", "--root")
ERRORS: dict[str, tuple[tuple[str, ...], str]] = {
    "no configuration": (("run", "--config", "no.toml"), r"ConfigError: no\.toml: cannot be read.* — put"),
    "not TOML": (
        ("validate-config", "--config", "trust.json"),
        r"ConfigError: trust\.json: is not TOML.* — ",
    ),
    "unknown key": (("validate-config", "--config", "typo.toml"), r"typo\.toml: camera\.widht.*mean width\?"),
    "network camera": (("validate-config", "--config", "rtsp.toml"), r"SafeguardError: camera.*\[R24\] — "),
    "desk file for a unit": (("validate-config", "--config", "alerts.toml"), r"alerts\.toml: .* — "),
    "unit file for a desk": (("alerts", "watch", "--config", "unit.toml"), r"unit\.toml: .* — "),
    "key exists": (("keys", "new", "unit", "unit-01", "--out", "unit.key"), r"unit\.key: exists already — "),
    "no folder": (("keys", "new", "bench", "b", "--out", "no/where/b.key"), r"no/where.*No such file.* — "),
    "no name": (("keys", "new", "bench", "", "--out", "b.key"), r"ConfigError: name: .* — correct"),
    "not a key": (("keys", "public", "trust.json", "--out", "x.pub"), r"trust\.json: .* — "),
    "wrong key": (
        ("keys", "trust", "--root", "unit.key", "--profile", "p", "--sequence", "1", "--out", "t"),
        r"KeyFileError: unit\.key: is a unit key, not root — ",
    ),
    "no authority": (("authority", "inspect", "no.json", *TRUST, "x"), r"no\.json: cannot be read.* — "),
    "not an authority": (("authority", "inspect", "unit.toml", *TRUST, "x"), r"DocumentError: .* — "),
    "another root": (
        ("authority", "inspect", "authority.json", *TRUST, "A" * 43),
        r"DocumentError: trust store: is not signed by the root key.* — compare trust\.root",
    ),
    "no watchlist": (("watchlist", "inspect", "no.edgelist", *TRUST, "x"), r"no\.edgelist: cannot be.* — "),
    "a bench is not approved": (
        ("authority", "approve", "authority.json", "--key", "approver.key", "--out", "x"),
        r"DocumentError: authority\.json: is not a live authority — ",
    ),
    "unit key at the desk": (
        ("lease", "hold", "--config", "wrongdesk.toml", "--deployment", "abc", "--officers", "1"),
        r"KeyFileError: .*unit\.key: is a unit key, not control_room — ",
    ),
    "no certificate": (
        ("lease", "hold", "--config", "nocert.toml", "--deployment", "abc", "--officers", "1"),
        r"KeyFileError: .*gone\.crt.* — ",
    ),
}


@pytest.fixture(scope="module")
def flawed(papers: Bench) -> None:
    """Files with one flaw each."""
    unit, desk = papers.config.read_text(), (papers.path / "lease.toml").read_text()
    files = {
        "typo.toml": unit.replace("width", "widht"),
        "rtsp.toml": re.sub(r'source = ".*"', 'source = "rtsp://camera.test/1"', unit),
        "wrongdesk.toml": desk.replace("desk.key", "unit.key"),
        "nocert.toml": re.sub(r'certificate = ".*"', 'certificate = "gone.crt"', desk),
    }
    for name, text in files.items():
        (papers.path / name).write_text(text)
    save_identity(papers.office[Role.INDEPENDENT_APPROVER], papers.path / "approver.key")


@pytest.mark.usefixtures("flawed")
@pytest.mark.parametrize("case", ERRORS)
def test_every_error_is_one_line_with_what_where_and_what_next(case: str, run) -> None:
    arguments, pattern = ERRORS[case]
    told = run(*arguments)
    assert told.code == 2
    assert told.out == ""
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    assert re.search(pattern, lines[0]), lines[0]
    assert " — " in lines[0]


@pytest.mark.usefixtures("flawed")
@pytest.mark.parametrize(
    ("arguments", "error", "rule"),
    [
        (("validate-config", "--config", "no.toml", "--json"), "ConfigError", None),
        (("validate-config", "--config", "rtsp.toml", "--json"), "SafeguardError", "R24"),
        (("authority", "inspect", "no.json", *TRUST, "x", "--json"), "DocumentError", None),
        (("alerts", "watch", "--config", "no.toml", "--json"), "ConfigError", None),
        (("lease", "hold", "--officers", "0", "--deployment", "abc", "--json"), "ConfigError", None),
        (("watchlist", "inspect", "--json"), "ConfigError", None),
    ],
)
def test_errors_for_a_program_are_json(arguments: tuple[str, ...], error: str, rule: str | None, run) -> None:
    told = run(*arguments)
    assert told.code == 2
    said = json.loads(told.err)
    assert (said["error"], said["rule"]) == (error, rule)
    assert said["what"]
    assert said["where"]
    assert said["next_step"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("validate-config", "--config", "scene"),
        ("run", "--no-such-option"),
        ("lease", "hold", "--deployment", "abc", "--officers", "0"),
        ("lease", "hold", "--deployment", "abc", "--officers", "3", "--seconds", "-1"),
        ("keys", "new", "no-such-role", "name", "--out", "x"),
        ("keys", "public", "unit.key", "--days", "99999999", "--out", "x"),
    ],
)
def test_usage_errors_name_the_option_and_the_help(arguments: tuple[str, ...], run) -> None:
    told = run(*arguments)
    assert told.code == 2
    assert "Error: " in told.err
    assert "--help" in told.err or "-h" in told.err
    assert "Traceback" not in told.err


# --- what works ---------------------------------------------------------------------------------------------


def test_a_new_key_is_private_and_never_overwrites_one(run, papers: Bench) -> None:
    file = papers.path / "officer.key"
    made = run("keys", "new", "authorising_officer", "an officer", "--out", "officer.key")
    assert made.code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    identity = load_identity(file)
    assert (identity.role, identity.name) == (Role.AUTHORISING_OFFICER, "an officer")
    assert identity.kid in made.out
    before = file.read_bytes()
    again = run("keys", "new", "authorising_officer", "another", "--out", "officer.key")
    assert again.code == 2
    assert "exists already" in again.err
    assert file.read_bytes() == before


def test_validate_config(run) -> None:
    assert run("validate-config", "--config", "unit.toml").out.startswith("unit.toml: good; unit unit-01")
    said = json.loads(run("validate-config", "--config", "unit.toml", "--json").out)
    assert said["unit"]["name"] == "unit-01"


def test_authority_inspect(run, papers: Bench) -> None:
    options = ("authority", "inspect", "authority.json", *TRUST, papers.office.root)
    said = json.loads(run(*options, "--json").out)
    assert (said["kind"], said["deployment"], said["signed_by"]) == (
        "bench",
        "bench-street",
        ["bench (bench)"],
    )
    table = run(*options)
    assert table.code == 0
    assert re.search(r"^deployment +bench-street$", table.out, re.MULTILINE)


def test_watchlist_inspect_shows_the_manifest_and_nobody(run, papers: Bench) -> None:
    options = ("watchlist", "inspect", "watchlist.edgelist", *TRUST, papers.office.root)
    said = json.loads(run(*options, "--json").out)
    assert (said["entries"], said["counts"], said["units"]) == (1, {"test_subject": 1}, ["unit-01"])
    table = run(*options)
    assert table.code == 0
    assert "blue-0001" not in table.out, "entries stay closed"


def test_an_interruption_ends_with_130_and_no_traceback(papers: Bench) -> None:
    watch = [*papers.command("alerts", "watch", "--config", "alerts.toml", "--bench")]
    process = subprocess.Popen(
        watch, cwd=papers.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    begun = next(line for line in process.stderr if "watching" in line)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, begun + said
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said


# --- what a person sees -------------------------------------------------------------------------------------


def test_a_person_sees_score_threshold_and_that_they_decide(papers: Bench) -> None:
    """On a terminal, with the crop; and the alert is marked as a test (R33)."""
    ours, theirs = pty.openpty()
    watch = papers.command("alerts", "watch", "--config", "alerts.toml", "--bench")
    with papers.unit(), Officers(papers):
        process = subprocess.Popen(
            watch, cwd=papers.path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        try:
            screen = _read_until(ours, b"\xe2\x96\x80", 20)  # the crop's half blocks come last
        finally:
            process.send_signal(signal.SIGINT)
            ended = _drain_until_end(ours, process, 5)
            os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.decode(errors="replace"))
    assert "watching bench units; Ctrl-C ends" in text
    assert re.search(r"unit-01: LIVE, camera open; lease held \[R16\]", text)
    assert "BENCH TEST, NOT A PERSON OF INTEREST  ALERT unit-01 entry blue-0001 (test_subject)" in text
    assert re.search(r"score 0\.\d{3} to 0\.\d{3} over 3 frames, threshold 0\.500; lease \d+; \d+ ms", text)
    assert "Look at both pictures. Decide yourself; then the officer decides." in text
    assert not re.search(r"\b(arrest|stop|detain|engage)\b", text, re.IGNORECASE), "an instruction (R20)"
    assert ended


def _drain_until_end(terminal: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ended; read on meanwhile, or it could not write the rest of its picture."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the far end is gone
                os.read(terminal, 65536)
    if process.poll() is None:
        process.kill()
        process.wait(5)
        return False
    return True


def _read_until(terminal: int, wanted: bytes, seconds: float) -> bytes:
    screen, until = b"", time.monotonic() + seconds
    while wanted not in screen and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            screen += os.read(terminal, 65536)
    assert wanted in screen, screen.decode(errors="replace")
    return screen


def test_files_written_by_a_command_are_private_where_they_hold_keys(papers: Bench) -> None:
    for name in ("unit.key", "desk.key"):
        assert Path(papers.path / name).stat().st_mode & 0o077 == 0
