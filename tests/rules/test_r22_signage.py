"""R22: signs are up before capture."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, authority_allows
from tests.desk import NOW, UNIT, Desk, as_dict


def test_without_signs_there_is_no_grant(desk: Desk) -> None:
    for authority in (desk.authority(signage_confirmed=False), desk.bench_authority(signage_confirmed=False)):
        with pytest.raises(SafeguardError, match="signs are not confirmed") as refusal:
            authority_allows(authority, desk.profile, unit=UNIT, now=NOW)
        assert refusal.value.rule == "R22"


@pytest.mark.parametrize("value", [None, "yes", 1, "true"])
def test_the_confirmation_is_a_plain_yes(value: object, desk: Desk) -> None:
    said = as_dict(desk.authority()) | {"signage_confirmed": value}
    with pytest.raises(ValidationError, match="signage_confirmed"):
        Authority.model_validate_json(json.dumps(said))
