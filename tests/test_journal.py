"""Log lines as journal entries: fields that a program can ask for, and that no text can forge."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeagent
from edgeagent.errors import SafeguardError
from edgeagent.system.journal import JournalHandler, Line, about, entry, to_journal

WORDS = st.text(st.characters(exclude_categories=["Cs"]))


def read(datagram: bytes) -> dict[str, str]:
    """As the journal reads it: a name alone on its line, eight octets of length, the value."""
    found = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        assert b"=" not in name
        size = int.from_bytes(rest[:8], "little")
        found[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        datagram = rest[9 + size :]
    return found


@given(st.dictionaries(st.from_regex("[A-Z][A-Z_]{0,20}", fullmatch=True), WORDS))
def test_no_text_can_begin_a_field_of_its_own(fields: dict[str, str]) -> None:
    assert read(entry(fields)) == fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "journal"))
        made.settimeout(60)
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    made = logging.Logger("of this test")
    made.setLevel(logging.DEBUG)
    handler = JournalHandler(tmp_path / "journal")
    made.addHandler(handler)
    yield made
    handler.close()


def test_a_refusal_is_an_entry_with_its_rule(journal: socket.socket, log: logging.Logger) -> None:
    refusal = SafeguardError("too old\nEDGEAGENT_RULE=R99", rule="R12")
    log.warning("refused %s", refusal, extra=about(Line.REFUSED, rule=refusal.rule))
    assert read(journal.recv(65536)) == {
        "MESSAGE": f"refused {refusal}",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "edgeagent",
        "EDGEAGENT_EVENT": "refused",
        "EDGEAGENT_RULE": "R12",
    }


def test_a_line_of_a_library_has_no_field_of_ours(journal: socket.socket, log: logging.Logger) -> None:
    log.info("of a library")
    assert set(read(journal.recv(65536))) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}


def test_without_the_journal_the_line_is_not_lost(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.error("the journal is being restarted")
    assert capsys.readouterr().err == "the journal is being restarted\n"


def test_a_journal_that_hangs_makes_nobody_wait(
    journal: socket.socket, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its queue is full; whoever logs may be about to close a camera (R16)."""
    for _ in range(10_000):
        log.info("a flood")
    assert capsys.readouterr().err == ""
    assert read(journal.recv(65536))["MESSAGE"] == "a flood"


def test_only_a_service_logs_to_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable is inherited by whatever a service starts; what counts is where standard error goes."""
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        status = os.fstat(stream.fileno())
        assert to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not to_journal({})


@pytest.mark.parametrize("part", ["agent", "alerts"])
def test_every_line_of_the_daemon_says_what_it_is_about(part: str) -> None:
    calls = []
    for file in (Path(edgeagent.__file__).parent / part).rglob("*.py"):
        calls += re.findall(r"\n *log\.\w+\(.*\n?.*", file.read_text())
    assert calls
    assert [call for call in calls if "extra=" not in call] == []
