"""`edgeagent record` on logs that the product's own journal signed: verified, altered, cut, bench."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.audit.chain import encode
from edgeagent.cli.main import edgeagent, main
from edgeagent.controlroom.record.log import read_log
from edgeagent.documents.keys import Role, save_identity
from edgeagent.errors import EdgeAgentError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from tests.bench_unit import Office
from tests.desk import DEPLOYMENT
from tests.record_log import Story, alert, evening, tally

OFFICE = Office()


@dataclass
class Room:
    """A folder with a trust store and a unit's log."""

    path: Path

    def log(self, story: Story | None = None, *, seed: int = 0) -> Path:
        from tests import desk

        story = story or evening()
        signer = desk.identity(Role.UNIT, story.unit, seed)
        return story.write(self.path / f"{story.unit}-{seed}", signer)

    def run(self, *arguments: str | Path) -> Result:
        trust = ("--trust", self.path / "trust.json", "--root", OFFICE.root)
        return CliRunner().invoke(edgeagent, ["record", *map(str, (*arguments, *trust))])


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    (tmp_path / "trust.json").write_bytes(OFFICE.trust_document())
    save_identity(OFFICE[Role.CONTROL_ROOM], tmp_path / "desk.key")
    monkeypatch.chdir(tmp_path)
    return Room(tmp_path)


@pytest.fixture
def story() -> Story:
    """Of the unit that the office trusts."""
    told = evening()
    told.unit = "unit-01"
    return told


def test_a_verified_log_in_each_form(room: Room, story: Story) -> None:
    log = room.log(story)
    page = room.run(log, "--out", "record.html", "--zone", "Europe/London")
    assert page.exit_code == 0, page.output
    html = (room.path / "record.html").read_text()
    assert "verified: complete and unaltered" in html
    assert "13:05" in html, "summer time"
    made = json.loads(room.run(log, "--format", "json").stdout)
    assert made["verified"] is True
    assert made["deployments"][0]["published"]["alerts"]["true_confirmed"] == 6
    (row,) = csv.DictReader(io.StringIO(room.run(log, "--format", "csv").stdout))
    assert (row["total_alerts"], row["log_verified"]) == ("12", "yes")


def test_a_return_gives_the_miss_rate(room: Room, story: Story) -> None:
    log = room.log(story)
    signing = [
        "record",
        "return",
        "--key",
        "desk.key",
        "--deployment",
        DEPLOYMENT,
        "--subjects",
        "6",
        "--passes",
        "6",
    ]
    done = CliRunner().invoke(edgeagent, [*signing, "--officer-hours", "23.5", "--out", "return.json"])
    assert done.exit_code == 0, done.output
    made = json.loads(room.run(log, "--format", "json", "--return", "return.json").stdout)["deployments"][0]
    assert made["blue_list"]["tpir"]["events"] == 5
    assert (made["officer_hours"], made["officer_hours_from"]) == (23.5, "return")
    forged = (room.path / "return.json").read_bytes().replace(b"signature", b"Signature")
    (room.path / "forged.json").write_bytes(forged)
    refused = room.run(log, "--return", "forged.json")
    assert isinstance(refused.exception, EdgeAgentError)


def test_fewer_passes_than_subjects_are_refused(room: Room) -> None:
    signing = [
        "record",
        "return",
        "--key",
        "desk.key",
        "--deployment",
        DEPLOYMENT,
        "--subjects",
        "6",
        "--passes",
        "5",
    ]
    done = CliRunner().invoke(edgeagent, [*signing, "--out", "return.json"])
    assert isinstance(done.exception, EdgeAgentError)
    assert not (room.path / "return.json").exists()


def _alter(log: Path) -> None:
    file = next(log.glob("*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"confirmed_no_match", b"confirmed_match", 1))


def _drop(log: Path) -> None:
    file = next(log.glob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for number, line in enumerate(lines) if number != 40))


def _garble(log: Path) -> None:
    file = next(log.glob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[30] = b"\xff\xfe" * 60_000 + b"\n"
    file.write_bytes(b"".join(lines))


@pytest.mark.parametrize("spoil", [_alter, _drop, _garble])
def test_a_log_that_does_not_verify_gives_a_page_that_says_so_and_exit_1(
    spoil: Any, room: Room, story: Story
) -> None:
    """R25, R30: the public is told, rather than shown nothing."""
    log = room.log(story)
    spoil(log)
    done = room.run(log, "--out", "record.html")
    assert done.exit_code == 1, done.output
    html = (room.path / "record.html").read_text()
    assert html.index("Do not rely on this page") < html.index("<h1>")
    assert "does NOT verify" in html
    assert str(room.path) not in html, "where it was kept is nobody's business"
    assert json.loads(room.run(log, "--format", "json").stdout)["verified"] is False


def test_a_log_of_a_stranger_does_not_verify(room: Room, story: Story) -> None:
    assert room.run(room.log(story, seed=9), "--format", "csv").exit_code == 1


def test_a_half_written_end_is_said_and_verifies(room: Room, story: Story) -> None:
    """As a power cut leaves it."""
    log = room.log(story)
    with next(log.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"unit":"unit-01","sequ')
    done = room.run(log, "--format", "json")
    assert done.exit_code == 0, done.output
    assert "half written" in json.loads(done.stdout)["deployments"][0]["logs"][0]["verdict"]


def test_a_benchs_record_says_so(room: Room) -> None:
    """R33."""
    told = Story(unit="unit-01").begin(kind=Kind.BENCH, counts={Category.TEST_SUBJECT: 3}, under_18=0).up(0)
    told.tell(9, alert(1, category=Category.TEST_SUBJECT), tally(30)).down(60)
    done = room.run(room.log(told), "--format", "csv")
    assert done.stdout.startswith("test,test_deployment,")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "is no audit log"),
        (["."], "is no audit log"),
        (["trust.json"], "is no audit log"),
        (["LOG", "--zone", "Moon/Sea"], "is no time zone"),
        (["LOG", "--return", "trust.json"], "longer than 4096"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    arguments: list[str], says: str, room: Room, story: Story
) -> None:
    log = room.log(story)
    done = room.run(*(str(log) if each == "LOG" else each for each in arguments))
    assert isinstance(done.exception, EdgeAgentError)
    assert says in str(done.exception)


def test_it_is_a_command_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["record", "--help"], ["record", "return", "--help"], ["retention", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
    assert "published record" in capsys.readouterr().out


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 200))
def test_no_octets_in_a_log_are_an_error_without_a_name(junk: list[bytes], number: int) -> None:
    """Anything may stand in a log that is to be published as unverified."""
    lines = [encode(entry) for entry in evening().log().entries[:20]]
    lines[number % 20 : number % 20] = [each + b"\n" for each in junk]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "audit-000001.jsonl"
        file.write_bytes(b"".join(lines))
        log = read_log([file], OFFICE.trust(), progress=lambda _: None)
        assert not log.verified  # it is not signed
        assert len(log.entries) == 20
