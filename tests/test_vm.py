"""The checker of `make test-vm` itself: its card loses what it must, and falsified books are noticed.

The virtual unit takes an hour; here are the card and the accounting, on a small real file system.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import socket
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.agent.recorder import Recorder
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.outbox import Outbox
from edgeagent.audit.events import AlertReceived
from edgeagent.audit.log import Journal
from edgeagent.documents.keys import Role
from tests.audit_logs import DESK, ROOM, alert_made, started
from tests.desk import at
from tests.vm.books import (
    Account,
    Listed,
    Look,
    Made,
    Told,
    account,
    faults_against,
    faults_of_card,
    faults_since,
)
from tests.vm.card import FLUSH, REQUEST, SECTOR, WRITE, Card
from tests.vm.remains import Papers, look

SIZE = 64 * SECTOR
TTL_S = 60.0
LIST = b"a list"
LIST_SHA256 = hashlib.sha256(LIST).hexdigest()
TOOLS = [tool for tool in ("mke2fs", "e2fsck", "debugfs") if shutil.which(tool) is None]


class Share(random.Random):
    """Draws that keep all of what was not flushed, or nothing."""

    def __init__(self, keep: bool) -> None:
        super().__init__(0)
        self._keep = keep

    def random(self) -> float:
        return 0.0 if self._keep else 1.0

    def choice(self, seq):
        return seq[-1] if self._keep else seq[0]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    file = tmp_path / "card"
    file.write_bytes(bytes(SIZE))
    made = Card(file, tmp_path / "nbd")
    yield made
    made.close()


# --- the card -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flushed", "kept", "left"), [(True, False, True), (False, False, False), (False, True, True)]
)
def test_a_write_survives_a_cut_if_it_was_flushed_or_by_luck(card: Card, flushed, kept, left):
    card.write(0, b"x" * SECTOR, durable=False)
    assert card.read(0, SECTOR) == b"x" * SECTOR, "its guest reads what it wrote"
    if flushed:
        card.flush()
    damage = card.cut(Share(kept))
    assert card.read(0, SECTOR) == (b"x" if left else b"\0") * SECTOR
    assert damage.lost == (0 if left else 1)


def test_a_write_that_was_asked_to_be_durable_survives(card: Card):
    card.write(SECTOR, b"y" * SECTOR, durable=True)
    card.cut(Share(keep=False))
    assert card.read(SECTOR, SECTOR) == b"y" * SECTOR


def test_a_picture_is_what_the_guest_sees(card: Card, tmp_path: Path):
    card.write(SECTOR, b"z" * SECTOR, durable=False)
    card.picture(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes()[SECTOR : 2 * SECTOR] == b"z" * SECTOR
    card.cut(Share(keep=False))
    assert card.read(SECTOR, SECTOR) == bytes(SECTOR)


@settings(max_examples=40, deadline=None)
@given(
    writes=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4), st.booleans()), max_size=12),
    seed=st.integers(0, 1000),
)
def test_each_sector_is_left_in_a_state_that_it_had_since_the_last_flush(tmp_path_factory, writes, seed):
    folder = tmp_path_factory.mktemp("card")
    (folder / "card").write_bytes(bytes(SIZE))
    card = Card(folder / "card", folder / "nbd")
    allowed = {sector: {0} for sector in range(64)}
    for number, (first, many, flush) in enumerate(writes, start=1):
        card.write(first * SECTOR, bytes([number]) * (many * SECTOR), durable=False)
        for sector in range(first, first + many):
            allowed[sector] |= {number}
        if flush:
            card.flush()
            allowed = {sector: {card.read(sector * SECTOR, 1 * SECTOR)[0]} for sector in range(64)}
    card.cut(random.Random(seed))
    for sector, states in allowed.items():
        content = card.read(sector * SECTOR, SECTOR)
        assert content[0] in states
        assert len(set(content)) == 1, "a sector is never torn within"
    card.close()


def test_the_emulator_is_answered_and_its_flush_makes_durable(card: Card):
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as said:
        line.connect(str(card.address))
        assert said.read(18)[:8] == b"NBDMAGIC"
        line.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 8, 0))
        assert struct.unpack(">QIII", said.read(20))[2] >> 31, "it says that it cannot"
        line.sendall(struct.pack(">8sIIIH", b"IHAVEOPT", 7, 6, 0, 0))
        assert struct.unpack_from(">Q", said.read(20 + 12 + 20), 22)[0] == SIZE
        line.sendall(struct.pack(">IHHQQI", REQUEST, 0, WRITE, 1, 0, SECTOR) + b"w" * SECTOR)
        assert said.read(16)[4:8] == bytes(4)
        line.sendall(struct.pack(">IHHQQI", REQUEST, 0, FLUSH, 2, 0, 0))
        assert said.read(16)[4:8] == bytes(4)
    card.cut(Share(keep=False))
    assert card.read(0, SECTOR) == b"w" * SECTOR


# --- the books ----------------------------------------------------------------------------------------------

MADE = tuple(Made(f"{number:032x}", 1, 100.0 + number) for number in range(4))
IDS = [one.alert for one in MADE]
GOOD = Look(
    at=110.0,
    file_system="",
    database="",
    watchlist=Listed.WHOLE,
    made=MADE,
    starts=1,
    repaired=0,
    log="",
    pending={IDS[3]: 163.0},
    totals={"made": 4, "received": 3, "expired": 0, "displaced": 0, "discarded": 0},
)
RECEIVED = frozenset(IDS[:3])
LATER = replace(
    GOOD,
    at=150.0,
    pending={},
    totals={"made": 4, "received": 4, "expired": 0, "displaced": 0, "discarded": 0},
)
ALL = frozenset(IDS)

CARDS = {
    "file system": replace(GOOD, file_system="errors"),
    "database": replace(GOOD, database="malformed"),
    "audit log": replace(GOOD, log="BAD"),
    "watchlist is torn": replace(GOOD, watchlist=Listed.TORN),
    "accounts for 3": replace(GOOD, pending={}),
    "two lines": replace(GOOD, made=(*MADE, MADE[0])),
    "the log 3": replace(GOOD, made=MADE[:3]),
}


def test_good_books_are_good():
    assert not faults_of_card(GOOD)
    assert not faults_since(GOOD, LATER, ALL)
    assert not faults_against(Told(9, 4), GOOD, RECEIVED)
    assert account([GOOD], LATER, ALL, 5, TTL_S) == Account(4, 0, 4, 1, 0, 0, ())


@pytest.mark.parametrize(("said", "falsified"), CARDS.items(), ids=CARDS)
def test_a_bad_card_is_noticed(said, falsified):
    assert any(said in fault for fault in faults_of_card(falsified))


@pytest.mark.parametrize(
    ("said", "later", "received"),
    [
        ("gone from the outbox", LATER, RECEIVED),
        ("gone from the log", replace(LATER, made=MADE[1:]), ALL),
        ("counts fewer made", replace(LATER, totals={**LATER.totals, "made": 3}), ALL),
    ],
)
def test_what_goes_missing_between_two_looks_is_noticed(said, later, received):
    assert any(said in fault for fault in faults_since(GOOD, later, received))


def test_an_alert_that_expired_meanwhile_is_not_missing():
    assert not faults_since(GOOD, replace(LATER, at=170.0), RECEIVED)


def test_a_list_that_was_destroyed_does_not_come_back():
    assert faults_since(replace(GOOD, watchlist=Listed.ABSENT), LATER, ALL) == ["the watchlist came back"]


def test_what_others_know_is_held_against_the_card():
    assert "published 5" in faults_against(Told(9, 5), GOOD, RECEIVED)[0]
    assert "not in the log" in faults_against(Told(), replace(GOOD, made=MADE[1:]), RECEIVED)[0]


def test_an_alert_that_nobody_has_is_lost():
    found = account([GOOD], LATER, RECEIVED, 3, TTL_S)
    assert (found.lost, found.good) == (1, False)


def test_an_alert_that_expired_and_was_counted_is_not_lost():
    expired = {"made": 4, "received": 3, "expired": 1, "displaced": 0, "discarded": 0}
    found = account([GOOD], replace(LATER, at=170.0, totals=expired), RECEIVED, 3, TTL_S)
    assert (found.gone, found.lost, found.good) == (1, 0, True)


def test_an_expiry_that_was_not_due_is_a_loss():
    expired = {"made": 4, "received": 3, "expired": 1, "displaced": 0, "discarded": 0}
    early = account([], replace(LATER, at=120.0, totals=expired), RECEIVED, 3, TTL_S)
    assert early.wrong or early.lost


def test_an_alert_of_the_log_that_never_reached_the_outbox_was_never_made():
    three = {"made": 3, "received": 3, "expired": 0, "displaced": 0, "discarded": 0}
    cut = replace(GOOD, pending={}, totals=three)
    found = account([cut], replace(LATER, totals=three), RECEIVED, 3, TTL_S)
    assert (found.made, found.unmade, found.lost, found.good) == (3, 1, 0, True)


def test_nothing_received_proves_nothing():
    empty = {"made": 0, "received": 0, "expired": 0, "displaced": 0, "discarded": 0}
    assert not account([], replace(LATER, made=(), totals=empty), frozenset(), 0, TTL_S).good


# --- a look at a real file system ---------------------------------------------------------------------------


def _write_books(data: Path) -> None:
    """A unit's outbox and log as the product writes them: three alerts, of which one was received."""
    outbox = Outbox(
        data / "outbox.sqlite", capacity=10, in_flight_cap=4, retry=Backoff(1.0, 15.0), rng=random.Random(1)
    )
    recorder = Recorder(Journal(data, DESK.unit), Still())
    recorder.start(started())
    for number in range(1, 4):
        recorder.write(alert_made(number))
        outbox.add(f"{number:032x}", b"message", at(60).epoch_s, at(0).epoch_s)
    recorder.note(AlertReceived(alert=f"{1:032x}", signer=ROOM))
    outbox.release(f"{1:032x}")
    outbox.close()


class Still:
    """A clock that stands."""

    def now(self):
        return at(0)


@pytest.fixture(scope="module")
def ext4(tmp_path_factory) -> tuple[Path, Papers]:
    """An ext4 file system in a file, with the books of a unit in the places where a unit has them."""
    if TOOLS:
        pytest.skip(f"not installed: {', '.join(TOOLS)} (e2fsprogs)")
    folder = tmp_path_factory.mktemp("ext4")
    data, documents = folder / "root/var/lib/edgeagent/bench", folder / "root/etc/edgeagent/documents"
    data.mkdir(parents=True)
    documents.mkdir(parents=True)
    _write_books(data)
    (documents / "watchlist.edgelist").write_bytes(LIST)
    (folder / "trust.json").write_bytes(DESK.trust_document())
    image = folder / "image"
    image.write_bytes(bytes(16 << 20))
    make = ["mke2fs", "-q", "-t", "ext4", "-F", "-d", str(folder / "root"), str(image)]
    subprocess.run(make, check=True)
    return image, Papers(folder / "trust.json", DESK[Role.ROOT].kid, LIST_SHA256)


Falsify = Callable[[Path], None]


def _debugfs(image: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(["debugfs", "-w", "-R", command, str(image)], check=True, capture_output=True)


def _outbox_with(image: Path, *statements: str) -> None:
    """Change the outbox inside the image, as somebody with the card in a reader would."""
    file, place = image.with_name("outbox"), "/var/lib/edgeagent/bench/outbox.sqlite"
    _debugfs(image, f"dump {place} {file}")
    with closing(sqlite3.connect(file)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _debugfs(image, f"rm {place}", f"write {file} {place}")


def _shorten_log(image: Path) -> None:
    """Take the last lines away, and write the rest anew."""
    file, place = image.with_name("log"), "/var/lib/edgeagent/bench/audit/audit-000001.jsonl"
    _debugfs(image, f"dump {place} {file}")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-3]))
    _debugfs(image, f"rm {place}", f"write {file} {place}")


def _tear_list(image: Path) -> None:
    file = image.with_name("list")
    file.write_bytes(b"a li")
    place = "/etc/edgeagent/documents/watchlist.edgelist"
    _debugfs(image, f"rm {place}", f"write {file} {place}")


ROW = f"DELETE FROM pending WHERE alert_id = '{3:032x}'"
FALSIFIED: dict[str, tuple[str, Falsify]] = {
    "a row deleted": ("accounts for 2", lambda image: _outbox_with(image, ROW)),
    "a row deleted, counted as received": (
        "gone from the outbox",
        lambda image: _outbox_with(image, ROW, "UPDATE totals SET value = 2 WHERE name = 'received'"),
    ),
    "a row deleted, never made": (
        "counts fewer made",
        lambda image: _outbox_with(image, ROW, "UPDATE totals SET value = 2 WHERE name = 'made'"),
    ),
    "the log cut back": ("gone from the log", _shorten_log),
    "a torn list": ("watchlist is torn", _tear_list),
    "a damaged file system": ("file system", lambda image: _debugfs(image, "clri /etc/edgeagent/documents")),
}


def _look(image: Path, folder: Path, papers: Papers, *, verify: bool = False) -> Look:
    card = Card(image, folder / "nbd")
    try:
        return look(card, folder, papers, verify=verify)
    finally:
        card.close()


def test_a_good_card_looks_good_and_its_log_verifies(ext4, tmp_path: Path):
    image, papers = ext4
    found = _look(image, tmp_path, papers, verify=True)
    assert faults_of_card(found) == []
    assert [one.alert for one in found.made] == [f"{number:032x}" for number in (1, 2, 3)]
    assert sorted(found.pending) == [f"{number:032x}" for number in (2, 3)]
    assert found.totals["received"] == 1


@pytest.mark.parametrize(("said", "falsify"), FALSIFIED.values(), ids=FALSIFIED)
def test_a_card_that_somebody_changed_between_cut_and_boot_is_noticed(ext4, tmp_path: Path, said, falsify):
    image, papers = ext4
    before = replace(_look(image, tmp_path, papers), at=at(1).epoch_s)
    copy = tmp_path / "image"
    shutil.copyfile(image, copy)
    falsify(copy)
    after = replace(_look(copy, tmp_path, papers), at=at(2).epoch_s)
    received = frozenset({f"{1:032x}"})
    found = faults_of_card(after) + faults_since(before, after, received)
    assert any(said in fault for fault in found), found
