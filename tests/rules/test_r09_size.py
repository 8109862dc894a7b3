"""R9: a list has a signed cap."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.watchlist import Manifest, watchlist_allows
from tests.desk import NOW, Desk, manifest, profile


def listing(entries: int) -> Manifest:
    """A list of so many wanted people."""
    return manifest(entries=entries, counts={Category.WANTED_ON_WARRANT: entries})


@pytest.mark.parametrize(("entries", "cap"), [(2000, 2000), (1, 1), (20_000, 20_000)])
def test_a_list_at_its_cap_is_taken(entries: int, cap: int, desk: Desk) -> None:
    limits = profile(watchlist_max_entries=cap)
    watchlist_allows(listing(entries), desk.authority(), limits, approved=False, now=NOW)


@pytest.mark.parametrize(("entries", "cap"), [(2001, 2000), (2, 1), (20_000, 19_999)])
def test_a_list_above_its_cap_is_refused(entries: int, cap: int, desk: Desk) -> None:
    limits = profile(watchlist_max_entries=cap)
    with pytest.raises(SafeguardError, match=f"cap {cap}") as refusal:
        watchlist_allows(listing(entries), desk.authority(), limits, approved=False, now=NOW)
    assert refusal.value.rule == "R9"


def test_no_profile_caps_higher_than_twenty_thousand() -> None:
    with pytest.raises(ValidationError, match="watchlist_max_entries"):
        profile(watchlist_max_entries=20_001)
    with pytest.raises(ValidationError, match="entries"):
        listing(20_001)


def test_an_empty_list_is_none() -> None:
    with pytest.raises(ValidationError, match="entries"):
        listing(0)
