"""R8: why somebody is listed comes from a closed list; three reasons need a second signature."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.categories import APPROVAL_NEEDED, Category
from edgeagent.safeguards.watchlist import Entry, needs_approval, watchlist_allows
from tests.desk import NOW, Desk, as_dict, entry, manifest

SECOND_SIGNATURE = {Category.ASSOCIATE, Category.WITNESS, Category.VICTIM}


def test_the_list_of_reasons_is_closed() -> None:
    assert {str(category) for category in Category} == {
        "wanted_on_warrant",
        "suspected_of_offence",
        "breach_of_conditions",
        "missing_at_risk",
        "risk_of_serious_harm",
        "associate",
        "witness",
        "victim",
        "test_subject",
    }
    assert set(APPROVAL_NEEDED) == SECOND_SIGNATURE


@pytest.mark.parametrize("other", ["other", "", "protester", "WITNESS", "witness ", None, 1, ["witness"]])
def test_any_other_reason_is_refused(other: object) -> None:
    with pytest.raises(ValidationError, match="category"):
        Entry.model_validate_json(json.dumps(as_dict(entry(1)) | {"category": other}))


@pytest.mark.parametrize("category", list(Category))
def test_associates_witnesses_and_victims_need_a_second_signature(category: Category, desk: Desk) -> None:
    rows = (entry(1), entry(2, category=category))
    listed = manifest(rows)
    assert needs_approval(listed) is (category in SECOND_SIGNATURE)
    watchlist_allows(listed, desk.authority(), desk.profile, approved=True, now=NOW)
    if category in SECOND_SIGNATURE:
        with pytest.raises(SafeguardError, match="independent approver") as refusal:
            watchlist_allows(listed, desk.authority(), desk.profile, approved=False, now=NOW)
        assert refusal.value.rule == "R8"
    else:
        watchlist_allows(listed, desk.authority(), desk.profile, approved=False, now=NOW)
