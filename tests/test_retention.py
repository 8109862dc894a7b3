"""Retention at the desk: what is found, what is destroyed and when, what a kill leaves, what stays."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.audit.chain import decode
from edgeagent.cli.main import edgeagent
from edgeagent.cli.retention import LOG
from edgeagent.controlroom.receiver import Receiver
from edgeagent.controlroom.retention import new_alert_key, survey
from edgeagent.controlroom.retention_erasure import Eraser, ErasureLog
from edgeagent.demo.papers import DESK_TOML
from edgeagent.documents.keys import Identity, Role, load_identity, save_identity
from edgeagent.documents.table import AUTHORITY, sign
from edgeagent.errors import AuditError, ClockError, EdgeAgentError, SafeguardError
from tests.bench_unit import Office
from tests.desk import NOW, UNIT, Desk, identity

DESK = Desk()
OFFICE = Office()
HOUR = timedelta(hours=1)


@dataclass
class Room:
    """A desk's folder with its configuration; deployments are below it."""

    path: Path

    def deployment(
        self,
        name: str,
        ended: timedelta,
        *,
        key: Identity | None = None,
        file: str = "desk.key",
        signer: Identity | None = None,
        **changes: Any,
    ) -> Path:
        """A folder with an authority that ended so long ago, and its alert key."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        mine = key or new_alert_key(OFFICE[Role.CONTROL_ROOM])
        if not (folder / file).exists():
            save_identity(mine, folder / file)
        end = datetime.now(UTC) - ended
        said = {"deployment": name, "start": end - 4 * HOUR, "end": end, "issued_at": end - 9 * HOUR}
        body = DESK.authority(**(said | {"alert_key": mine.seal_key} | changes))
        signed = sign(AUTHORITY, body, signer or OFFICE[Role.AUTHORISING_OFFICER])
        (folder / f"authority-{body.sequence}.json").write_bytes(signed)
        return folder

    def run(self, command: str, *options: str) -> Result:
        config = ("--config", str(self.path / "desk.toml"))
        return CliRunner().invoke(edgeagent, ["retention", command, str(self.path), *config, *options])

    def erased(self) -> list[tuple[str, str]]:
        """The log's lines."""
        if not (self.path / LOG).exists():
            return []
        lines = [decode(line) for line in (self.path / LOG).read_bytes().splitlines(keepends=True)]
        return [(line.body.what, line.body.deployment or "") for line in lines if line.body.event == "erased"]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    places = {"host": "broker.test", "port": 8883, "ca": "c", "certificate": "c", "key": "k"}
    (tmp_path / "desk.toml").write_text(DESK_TOML.format(name="desk", root=OFFICE.root, **places))
    (tmp_path / "trust.json").write_bytes(OFFICE.trust_document())
    return Room(tmp_path)


def expire(room: Room, *options: str) -> Result:
    return room.run("expire", "--clock-checked", *options)


def test_what_is_due_is_destroyed_and_nothing_else(room: Room) -> None:
    old, new = room.deployment("old-one", 25 * HOUR), room.deployment("new-one", 23 * HOUR)
    before = room.run("status")
    assert before.exit_code == 1
    assert "old-one: readable OVERDUE since" in before.output
    assert "new-one: readable until" in before.output
    done = expire(room)
    assert done.exit_code == 0, done.output
    assert not (old / "desk.key").exists()
    assert load_identity(new / "desk.key")
    assert room.erased() == [("alert_key", "old-one")]
    after = room.run("status")
    assert after.exit_code == 0, after.output
    assert "old-one: no key found here" in after.output


def test_it_may_run_as_often_as_a_timer_likes(room: Room) -> None:
    room.deployment("old-one", 25 * HOUR)
    assert [expire(room).exit_code for _ in range(3)] == [0, 0, 0]
    assert room.erased() == [("alert_key", "old-one")]
    assert "nothing is due" in expire(room).output


def test_every_copy_that_is_found_is_destroyed_whatever_its_name_and_rights(room: Room) -> None:
    folder = room.deployment("old-one", 25 * HOUR)
    (folder / "backup").mkdir()
    copy = folder / "backup" / "copy of it.txt"
    copy.write_bytes((folder / "desk.key").read_bytes())
    copy.chmod(0o644)
    assert expire(room).exit_code == 0
    assert not copy.exists()


def test_the_file_is_overwritten_and_not_only_unlinked(room: Room) -> None:
    """A second name of the same file shows what is left on the disk under the first."""
    folder = room.deployment("old-one", 25 * HOUR)
    os.link(folder / "desk.key", room.path.parent / f"{room.path.name}-link")
    link = room.path.parent / f"{room.path.name}-link"
    expire(room)
    assert link.read_bytes() == bytes(link.stat().st_size)


def test_a_key_that_serves_two_deployments_waits_for_both_and_is_shown_overdue(room: Room) -> None:
    shared = new_alert_key(OFFICE[Role.CONTROL_ROOM])
    folder = room.deployment("old-one", 25 * HOUR, key=shared)
    room.deployment("new-one", 1 * HOUR, key=shared)
    done = expire(room)
    assert done.exit_code == 1
    assert "the key also serves new-one" in done.stderr
    assert (folder / "desk.key").exists()
    refused = expire(room, "--deployment", "old-one", "--yes")
    assert isinstance(refused.exception, SafeguardError)
    assert refused.exception.rule == "R3"


def test_early_only_by_name_and_with_a_yes(room: Room) -> None:
    folder = room.deployment("new-one", 1 * HOUR)
    config = ["expire", str(room.path), "--config", str(room.path / "desk.toml"), "--deployment", "new-one"]
    no = CliRunner().invoke(edgeagent, ["retention", *config], input="n\n")
    assert no.exit_code != 0
    assert "early, for good?" in no.output
    assert (folder / "desk.key").exists()
    yes = CliRunner().invoke(edgeagent, ["retention", *config], input="y\n")
    assert yes.exit_code == 0, yes.output
    assert not (folder / "desk.key").exists()
    unknown = expire(room, "--deployment", "another", "--yes")
    assert isinstance(unknown.exception, SafeguardError)


def test_an_untrusted_clock_destroys_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeagent.system.clock.SystemClock._kernel_synchronised", lambda _: False)
    folder = room.deployment("old-one", 25 * HOUR)
    assert isinstance(room.run("expire").exception, ClockError)
    assert (folder / "desk.key").exists()
    monkeypatch.setattr("edgeagent.system.clock.SystemClock._kernel_synchronised", lambda _: True)
    assert room.run("expire").exit_code == 0


def test_the_newest_authority_of_a_deployment_counts(room: Room) -> None:
    """It was given more time; the key must open what comes in it."""
    shared = new_alert_key(OFFICE[Role.CONTROL_ROOM])
    folder = room.deployment("long-one", 25 * HOUR, key=shared)
    room.deployment("long-one", 1 * HOUR, key=shared, sequence=2)
    assert expire(room).exit_code == 0
    assert (folder / "desk.key").exists()


def test_an_authority_that_nobody_here_trusts_neither_ends_a_key_nor_hides_it(room: Room) -> None:
    stranger = identity(Role.AUTHORISING_OFFICER, "stranger", seed=9)
    folder = room.deployment("old-one", 25 * HOUR, signer=stranger)
    done = room.run("status")
    assert done.exit_code == 1
    assert "cannot be relied on" in done.output
    assert expire(room).exit_code == 1
    assert (folder / "desk.key").exists()
    assert "no authority here seals" in done.output


def test_rows_about_received_alerts_go_too(room: Room) -> None:
    folder = room.deployment("old-one", 25 * HOUR)
    mine = load_identity(folder / "desk.key")
    store = folder / "received.sqlite"
    sealed = DESK.alert(alert_key=mine.seal_key, deployment="old-one")
    other = DESK.alert(alert_key=mine.seal_key, deployment="another")
    with Receiver(store, mine, DESK.trust) as receiver:
        for one in (sealed, other):
            receiver.take(f"lfr/v1/{UNIT}/alert", one.message, NOW)
    assert expire(room).exit_code == 0
    with closing(sqlite3.connect(store)) as database:
        for table in ("received", "verdicts"):
            assert database.execute(f"SELECT deployment FROM {table}").fetchall() == [("another",)]
    left = b"".join(path.read_bytes() for path in folder.iterdir())
    assert sealed.alert.alert.encode() not in left
    assert room.erased() == [("alert_key", "old-one"), ("received_alerts", "old-one")]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("where", ["renamed", "overwritten", "logged"])
def test_a_kill_at_any_step_is_finished_by_the_next_run(where: str, room: Room) -> None:
    folder = room.deployment("old-one", 25 * HOUR)

    def stop(step: str) -> None:
        if step == where:
            raise _Killed

    with ErasureLog(room.path / LOG, "desk") as log, pytest.raises(_Killed):
        Eraser(log, stop).key(folder / "desk.key", "old-one", NOW)
    if where != "renamed":
        secret = OFFICE[Role.CONTROL_ROOM].signing.as_dict(private=True)["d"]
        assert str(secret).encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert "not finished" in room.run("status").output
    assert expire(room).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["authority-1.json"]
    assert set(room.erased()) == {("alert_key", "old-one")}
    assert room.run("status").exit_code == 0


def test_an_altered_log_stops_the_erasure(room: Room) -> None:
    room.deployment("old-one", 25 * HOUR)
    room.deployment("older-one", 26 * HOUR)
    expire(room)
    log = room.path / LOG
    log.write_bytes(log.read_bytes().replace(b"older-one", b"olden-one"))
    folder = room.deployment("third-one", 25 * HOUR)
    refused = expire(room)
    assert isinstance(refused.exception, AuditError)
    assert (folder / "desk.key").exists()


def test_a_half_written_line_of_the_log_is_cut_off(room: Room) -> None:
    room.deployment("old-one", 25 * HOUR)
    expire(room)
    with (room.path / LOG).open("ab") as file:
        file.write(b'{"unit":"des')
    room.deployment("third-one", 25 * HOUR)
    assert expire(room).exit_code == 0
    assert room.erased() == [("alert_key", "old-one"), ("alert_key", "third-one")]


def test_a_link_is_not_followed_out_of_the_folder(
    room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "desk.key"
    folder = room.deployment("old-one", 25 * HOUR)
    (folder / "desk.key").rename(outside)
    (folder / "desk.key").symlink_to(outside)
    for done in (room.run("status"), expire(room)):
        assert done.exit_code == 1
        assert f"{folder / 'desk.key'}: a link; what it leads to was not looked at" in done.output
    assert "old-one: no key found here" in room.run("status").output
    assert outside.exists()
    (folder / "desk.key").unlink()
    (folder / "to-nothing").symlink_to(room.path / "nothing")
    (folder / "to-what-was-seen").symlink_to(room.path / "trust.json")
    assert room.run("status").exit_code == 0
    (folder / "folder").symlink_to(outside.parent)
    (folder / "circle").symlink_to(folder / "circle")
    links = json.loads(room.run("status", "--json").stdout)["links"]
    assert [Path(link).name for link in links] == ["circle", "folder"]


def test_every_key_that_an_authority_of_the_deployment_named_ends(room: Room) -> None:
    """It was signed again with another alert key: what was sealed to the first is sealed to it for ever."""
    folder = room.deployment("old-one", 25 * HOUR, file="first.key")
    room.deployment("old-one", 25 * HOUR, file="second.key", sequence=2)
    assert "first.key" in room.run("status").output
    assert expire(room).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["authority-1.json", "authority-2.json"]
    assert room.erased() == [("alert_key", "old-one")] * 2


def test_of_two_keys_only_the_one_that_serves_another_deployment_waits(room: Room) -> None:
    shared = new_alert_key(OFFICE[Role.CONTROL_ROOM])
    folder = room.deployment("old-one", 25 * HOUR, file="first.key")
    room.deployment("old-one", 25 * HOUR, file="second.key", key=shared, sequence=2)
    room.deployment("new-one", 1 * HOUR, key=shared)
    assert expire(room).exit_code == 1
    assert not (folder / "first.key").exists()
    assert (folder / "second.key").exists()


@pytest.mark.parametrize("blanks", [b"\n", b" \t\r\n", b"\n" * 2000])
def test_a_key_that_begins_with_blanks_is_a_key(blanks: bytes, room: Room) -> None:
    key = room.deployment("old-one", 25 * HOUR) / "desk.key"
    key.write_bytes(blanks + key.read_bytes())
    assert load_identity(key)
    assert expire(room).exit_code == 0
    assert not key.exists()


def test_a_key_of_no_authority_here_is_a_finding(room: Room) -> None:
    save_identity(new_alert_key(OFFICE[Role.CONTROL_ROOM]), room.path / "lost.key")
    done = room.run("status")
    assert done.exit_code == 1
    assert "lost.key: a private key to which no authority here seals alerts" in done.output


_FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from edgeagent.controlroom.retention_erasure import Eraser, ErasureLog
from edgeagent.errors import AuditError
from edgeagent.safeguards.instant import Instant
log, key, room = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + room,) * 2)
try:
    with ErasureLog(log, "desk") as opened:
        Eraser(opened).key(key, "old-one", Instant(1, datetime.now(UTC), synchronised=True))
except AuditError as refusal:
    sys.exit(f"{refusal.rule} {refusal}")
"""


@pytest.mark.parametrize("octets", [0, 1, 100])
def test_on_a_full_disk_nothing_is_destroyed(octets: int, room: Room) -> None:
    """R25: an erasure that cannot be logged does not begin; the log stays as it was."""
    room.deployment("older-one", 26 * HOUR)
    expire(room)
    folder = room.deployment("old-one", 25 * HOUR)
    log, key = room.path / LOG, folder / "desk.key"
    before = log.read_bytes()
    command = [sys.executable, "-c", _FULL_DISK, str(log), str(key), str(octets)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("R25 ")
    assert "has no room for a line" in done.stderr
    assert load_identity(key)
    assert log.read_bytes() == before
    assert expire(room).exit_code == 0
    assert room.erased() == [("alert_key", "older-one"), ("alert_key", "old-one")]


def test_what_was_reserved_and_did_not_happen_leaves_nothing(room: Room) -> None:
    """The key is gone meanwhile: another program's work, and its line."""
    log = room.path / LOG
    with ErasureLog(log, "desk") as opened:
        Eraser(opened).key(room.path / "no.key", "a-deployment-with-a-long-name", NOW)
        opened.reserve("alert_key", "old-one", NOW)
        opened.commit()
        opened.reserve("alert_key", "another-one", NOW)
    assert room.erased() == [("alert_key", "old-one")]


def test_rows_of_alerts_are_not_removed_unlogged(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = room.deployment("old-one", 25 * HOUR)
    (folder / "desk.key").unlink()
    mine = new_alert_key(OFFICE[Role.CONTROL_ROOM])
    with Receiver(folder / "received.sqlite", mine, DESK.trust) as receiver:
        sealed = DESK.alert(alert_key=mine.seal_key, deployment="old-one")
        receiver.take(f"lfr/v1/{UNIT}/alert", sealed.message, NOW)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda *_: 0)
        assert isinstance(expire(room).exception, AuditError)
    with closing(sqlite3.connect(folder / "received.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM received").fetchone() == (1,)
    assert expire(room).exit_code == 0
    assert room.erased() == [("received_alerts", "old-one")]


def test_a_program_reads_the_same(room: Room) -> None:
    room.deployment("old-one", 25 * HOUR)
    said = json.loads(room.run("status", "--json").stdout)
    (one,) = said["deployments"]
    assert (one["deployment"], one["readable"], one["overdue"]) == ("old-one", True, True)
    done = json.loads(expire(room, "--json").stdout)
    assert done["erased"] == [{"deployment": "old-one", "what": "alert_key"}]
    assert not done["deployments"][0]["readable"]


def test_a_deployments_key_is_the_desks_but_for_its_sealing_half(room: Room) -> None:
    save_identity(OFFICE[Role.CONTROL_ROOM], room.path / "main.key")
    out = room.path / "high-street.key"
    made = CliRunner().invoke(
        edgeagent,
        ["retention", "key", "high-street", "--from", str(room.path / "main.key"), "--out", str(out)],
    )
    assert made.exit_code == 0, made.output
    first, second = load_identity(room.path / "main.key"), load_identity(out)
    assert (first.kid, first.role, first.name) == (second.kid, second.role, second.name)
    assert first.seal_key != second.seal_key
    assert out.stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(
        edgeagent,
        ["retention", "key", "high-street", "--from", str(room.path / "main.key"), "--out", str(out)],
    )
    assert isinstance(again.exception, EdgeAgentError)


def test_a_folder_full_of_other_things_is_no_trouble(room: Room) -> None:
    (room.path / "big.json").write_bytes(b"{" * 100_000)
    (room.path / "broken.json").write_bytes(b'{"payload": 1}')
    (room.path / "other.sqlite").write_bytes(b"")
    with closing(sqlite3.connect(room.path / "other.sqlite")) as database:
        database.execute("CREATE TABLE other (x)")
    assert survey([room.path], OFFICE.trust(), NOW).kept == ()
    assert room.run("status").exit_code == 0


@given(st.binary(max_size=200))
def test_whatever_is_in_the_logs_place_is_refused_by_name_and_kept(octets: bytes) -> None:
    with TemporaryDirectory() as folder:
        log = Path(folder) / LOG
        log.write_bytes(octets)
        try:
            ErasureLog(log, "desk").__exit__()
        except AuditError:
            assert log.read_bytes() == octets
            return
        assert log.read_bytes() == b""
        assert b'{"unit":'.startswith(octets[:8])
