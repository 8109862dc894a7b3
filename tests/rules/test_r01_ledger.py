"""R1: every face that was seen was deleted, or is in an alert that still lives; the count must balance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.safeguards.deletion import FaceLedger

FACES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.integers(0, 5)), max_size=30)


def test_an_empty_ledger_balances() -> None:
    assert FaceLedger().balanced


@pytest.mark.parametrize(
    ("seen", "overwritten", "alerted", "balanced"),
    [
        (3, 3, 0, True),
        (3, 2, 1, True),
        (3, 2, 0, False),
        (3, 4, 0, False),
        (3, 3, 1, False),
        (0, 0, 1, False),
    ],
)
def test_a_face_that_is_neither_deleted_nor_alerted_is_missed(
    seen: int, overwritten: int, alerted: int, balanced: bool
) -> None:
    ledger = FaceLedger().seen(seen).overwritten(overwritten)
    for _ in range(alerted):
        ledger = ledger.alerted()
    assert ledger.balanced is balanced


def test_an_alert_that_left_the_unit_counts_as_deleted() -> None:
    ledger = FaceLedger().seen(2).overwritten(1).alerted().alerts_now(1)
    assert (ledger.deleted, ledger.in_live_alerts) == (1, 1)
    ledger = ledger.alerts_now(0)
    assert (ledger.deleted, ledger.in_live_alerts, ledger.balanced) == (2, 0, True)


def test_alerts_of_no_face_are_missed() -> None:
    """An outbox with more alerts than faces were sealed must not be balanced by undoing deletions."""
    ledger = FaceLedger().seen(10).overwritten(10).alerts_now(3)
    assert ledger.deleted == 10
    assert not ledger.balanced


def test_a_restart_carries_the_alerts_that_wait() -> None:
    ledger = FaceLedger.carried(4)
    assert ledger.balanced
    assert ledger.alerts_now(4) == ledger
    assert ledger.alerts_now(1) == FaceLedger(processed=4, deleted=3, in_live_alerts=1)


@given(carried=st.integers(0, 20), frames=FACES, left=st.integers(0, 200))
def test_the_ledger_balances_exactly_when_nothing_is_lost(
    carried: int, frames: list[tuple[int, int, int]], left: int
) -> None:
    ledger = FaceLedger.carried(carried)
    lost = 0
    for deleted, alerted, missed in frames:
        ledger = ledger.seen(deleted + alerted + missed).overwritten(deleted)
        for _ in range(alerted):
            ledger = ledger.alerted()
        ledger = ledger.alerts_now(min(left, ledger.in_live_alerts))
        lost += missed
        assert ledger.balanced is (lost == 0)
    assert ledger.processed == ledger.deleted + ledger.in_live_alerts + lost
