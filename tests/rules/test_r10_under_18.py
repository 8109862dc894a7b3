"""R10: people under 18 are listed only with a second signature."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.watchlist import needs_approval, under_18, watchlist_allows
from tests.desk import NOW, Desk, entry, manifest


@pytest.mark.parametrize(
    ("born", "on", "minor"),
    [
        (date(2013, 5, 6), date(2031, 5, 6), False),
        (date(2013, 5, 7), date(2031, 5, 6), True),
        (date(2013, 6, 1), date(2031, 5, 31), True),
        (date(2013, 4, 30), date(2031, 5, 1), False),
        (date(2008, 2, 29), date(2026, 2, 28), True),
        (date(2008, 2, 29), date(2026, 3, 1), False),
        (date(2012, 12, 31), date(2030, 12, 30), True),
        (date(2012, 12, 31), date(2030, 12, 31), False),
        (date(2031, 5, 6), date(2031, 5, 6), True),
        (date(1900, 1, 1), date(2031, 5, 6), False),
    ],
)
def test_the_eighteenth_birthday_is_the_line(born: date, on: date, minor: bool) -> None:
    assert under_18(born, on) is minor


@given(born=st.dates(date(1900, 1, 1), date(2031, 1, 1)), days=st.integers(0, 20_000))
def test_once_adult_always_adult(born: date, days: int) -> None:
    on = born + timedelta(days=days)
    if not under_18(born, on):
        assert not under_18(born, on + timedelta(days=1))
        assert on >= born.replace(year=born.year + 18, day=min(born.day, 28))


def test_one_minor_makes_the_list_need_a_second_signature(desk: Desk) -> None:
    rows = (*(entry(n) for n in range(5)), entry(9, under_18=True))
    listed = manifest(rows)
    assert listed.under_18 == 1
    assert needs_approval(listed)
    with pytest.raises(SafeguardError, match="independent approver"):
        watchlist_allows(listed, desk.authority(), desk.profile, approved=False, now=NOW)
    watchlist_allows(listed, desk.authority(), desk.profile, approved=True, now=NOW)
    assert not needs_approval(manifest(rows[:5]))
