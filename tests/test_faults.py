"""The fault table in small (every fault that needs no privilege), and proof that it finds what it looks for.

`make faults` plays the same rows with at least 10,000 alerts, and those that need root: docs/faults.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeagent.alerts.outbox import OutboxCounts
from tests.broker_tools import require
from tests.faults import crash_trial, crash_vfs
from tests.faults.account import Account, Books, account
from tests.faults.crash_trial import CrashOrder, cuts
from tests.faults.processes import Child
from tests.faults.run import Result, play_all
from tests.faults.scale import Scale
from tests.faults.show import table
from tests.faults.table import ROWS, Row
from tests.faults.trial import Trial

pytestmark = pytest.mark.timeout(600)
"""All rows are played while the first test waits; a machine with other work may need minutes for them."""

SEED = 1
SMALL = Scale(alerts=8, pace=16.0, outage_s=0.6, times=1, ttl_s=10.0)
AT_ONCE = 8
BY_ANYBODY = [row for row in ROWS if not row.needs_root]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """All rows at once, as far as the machine allows: most of the time they wait."""
    require("mosquitto")
    rows = [row for row in BY_ANYBODY if crash_vfs.library() or "recorded" not in row.how]
    folder = tmp_path_factory.mktemp("faults")
    played = list(play_all(rows, folder, SEED, SMALL, threading.Event(), AT_ONCE))
    print(table(played))
    return {result.row.name: result for result in played}


@pytest.mark.parametrize("row", BY_ANYBODY, ids=lambda row: row.name)
def test_every_alert_is_received_or_counted_and_none_is_late(row: Row, results: dict[str, Result]) -> None:
    if row.name not in results:
        pytest.skip("Python's SQLite is not a shared library here")
    result = results[row.name]
    assert result.good, f"{result.account} {result.trouble}"
    assert result.account is not None
    assert result.account.made == result.account.shown + result.account.expired + result.account.displaced
    assert result.account.made >= SMALL.alerts


# --- the table can fail -----------------------------------------------------------------------------------


def test_a_unit_that_lets_go_on_puback_is_found_out(tmp_path: Path) -> None:
    """What peers do: the broker has it, so it is called delivered. Nobody was subscribed."""
    require("mosquitto")
    with Trial(tmp_path / "t", SEED, SMALL, threading.Event(), ttl_s=10.0) as trial:
        trial.unit(lossy=True)
        trial.until(lambda: trial.told("release") >= SMALL.alerts // 2, "alerts to be let go")
        trial.desk()
        trial.settle()
        found = trial.account()
    assert found.lost >= SMALL.alerts // 2, found
    assert not found.good
    assert "an alert was let go without the control room having it" in found.wrong


def _begin(name: str, ns: int = 0, ttl: float = 1.0) -> list[dict[str, Any]]:
    return [{"e": "begin", "id": name, "ns": ns, "ttl": ttl}, {"e": "kept", "id": name}]


def _shown(name: str, ns: int = 1, *, first: bool = True) -> list[dict[str, Any]]:
    return [{"e": "accepted", "id": name, "first": first, "ns": ns}, {"e": "shown", "id": name}]


def good_books() -> Books:
    """Three alerts: one received twice, one expired, one displaced."""
    unit = [*_begin("a"), *_begin("b"), *_begin("c"), {"e": "release", "id": "a"}]
    unit += [{"e": "expired", "ids": ["b"], "ns": 2_000_000_000}, {"e": "displaced", "ids": ["c"]}]
    desk = [*_shown("a"), *_shown("a", first=False)]
    totals = OutboxCounts(pending=0, made=3, received=1, expired=1, displaced=1, discarded=0)
    return Books(unit, desk, totals, frozenset({"a"}))


def test_good_books_are_good() -> None:
    found = account(good_books())
    assert found.good, found
    assert (found.made, found.shown, found.repeats) == (3, 1, 1)
    assert (found.expired, found.displaced, found.lost, found.late) == (1, 1, 0, 0)


def _totals(books: Books, **changes: int) -> Books:
    return replace(books, totals=replace(books.totals, **changes))


COOKED: dict[str, tuple[Callable[[Books], Books], Callable[[Account], Any]]] = {
    "lost without a word": (
        lambda b: _totals(replace(b, unit=[*b.unit, *_begin("d")]), made=4),
        lambda a: a.lost == 1 and not a.late,
    ),
    "said to have expired, but not counted": (
        lambda b: _totals(b, made=3, received=2, expired=0),
        lambda a: a.lost == 1,
    ),
    "released, but never received": (
        lambda b: replace(b, desk=[], kept_by_desk=frozenset()),
        lambda a: a.lost == 1 and len(a.wrong) >= 2,
    ),
    "committed, released, but shown to nobody": (
        lambda b: replace(b, desk=b.desk[:1]),
        lambda a: a.lost == 1,
    ),
    "late": (
        lambda b: replace(b, desk=[*b.desk, *_shown("a", 1_050_000_000, first=False)]),
        lambda a: a.late == 1 and not a.lost,
    ),
    "received, but never made": (
        lambda b: replace(b, desk=[*b.desk, *_shown("x")], kept_by_desk=frozenset({"a", "x"})),
        lambda a: any("never kept" in what for what in a.wrong),
    ),
    "shown twice": (
        lambda b: replace(b, desk=[*b.desk, *_shown("a")]),
        lambda a: a.shown_again == 1 and a.wrong,
    ),
    "given up early": (
        lambda b: replace(b, unit=[*b.unit, {"e": "expired", "ids": ["b"], "ns": 900_000_000}]),
        lambda a: any("before its end" in what for what in a.wrong),
    ),
    "still pending": (lambda b: _totals(b, pending=1, expired=0), lambda a: a.wrong),
    "made more than it says": (lambda b: _totals(b, made=2, expired=0), lambda a: a.wrong),
    "totals that do not add up": (lambda b: _totals(b, expired=2), lambda a: a.wrong),
    "a process that fell": (
        lambda b: replace(b, unit=[*b.unit, {"e": "crashed", "id": "ended with 1"}]),
        lambda a: a.wrong,
    ),
}


@pytest.mark.parametrize("name", COOKED)
def test_cooked_books_are_found_out(name: str) -> None:
    cook, expected = COOKED[name]
    found = account(cook(good_books()))
    assert not found.good
    assert expected(found), found


# --- power cuts at every write ------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[bool], Path]:
    if crash_vfs.library() is None:
        pytest.skip("Python's SQLite is not a shared library here")

    def record(careless: bool) -> Path:
        child = Child(crash_trial.run, CrashOrder(tmp_path, 2, careless), tmp_path / "log")
        child.wait(60.0)
        assert child.code == 0, (tmp_path / "log").read_text()
        return tmp_path

    return record


def test_a_power_cut_at_any_write_of_the_outbox_loses_no_alert(
    recorded: Callable[[bool], Path],
) -> None:
    """What was not synchronised is lost, kept or torn by sectors of 512 octets, in any order."""
    assert list(cuts(recorded(False), draws=2)) == []


def test_an_outbox_that_does_not_wait_for_the_disk_is_found_out(recorded: Callable[[bool], Path]) -> None:
    wrong = list(cuts(recorded(True), draws=2))
    assert any("lost" in text for text in wrong), wrong[:5]
