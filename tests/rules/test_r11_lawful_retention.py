"""R11: images of people never convicted are not used; lawful retention is attested, or nothing is taken."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.categories import ImageBasis
from edgeagent.safeguards.watchlist import Manifest, watchlist_allows
from tests.desk import NOW, Desk, as_dict, manifest


def test_a_list_whose_retention_is_not_attested_is_refused(desk: Desk) -> None:
    listed = manifest(lawful_retention_attested=False)
    with pytest.raises(SafeguardError, match="not attested") as refusal:
        watchlist_allows(listed, desk.authority(), desk.profile, approved=True, now=NOW)
    assert refusal.value.rule == "R11"


@pytest.mark.parametrize("value", [None, "yes", 1, "true", []])
def test_an_attestation_is_a_plain_yes_or_no(value: object) -> None:
    said = as_dict(manifest()) | {"lawful_retention_attested": value}
    with pytest.raises(ValidationError, match="lawful_retention_attested"):
        Manifest.model_validate_json(json.dumps(said))


def test_no_basis_stands_for_custody_without_conviction() -> None:
    assert {str(basis) for basis in ImageBasis} == {
        "custody_convicted",
        "custody_proceedings_open",
        "supplied_by_family",
        "supplied_by_court",
        "investigation_material",
        "consented",
    }
