"""R13: what a camera may be deployed for comes from a closed list; assemblies and protests are refused."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, authority_allows
from edgeagent.safeguards.categories import UseCase
from tests.desk import NOW, UNIT, Desk, as_dict


def test_the_list_of_uses_is_closed() -> None:
    assert {str(use) for use in UseCase} == {
        "hotspot",
        "missing_person",
        "critical_infrastructure",
        "event",
        "specific_intelligence",
    }


@pytest.mark.parametrize("other", ["protest", "assembly", "demonstration", "other", "", "EVENT", None, 1])
def test_any_other_use_is_refused(other: object, desk: Desk) -> None:
    with pytest.raises(ValidationError, match="use_case"):
        Authority.model_validate_json(json.dumps(as_dict(desk.authority()) | {"use_case": other}))


@pytest.mark.parametrize("use_case", list(UseCase))
def test_a_protest_is_refused_whatever_it_is_called(use_case: UseCase, desk: Desk) -> None:
    authority = desk.authority(use_case=use_case, is_assembly_or_protest=True)
    with pytest.raises(SafeguardError, match="protests are refused") as refusal:
        authority_allows(authority, desk.profile, unit=UNIT, now=NOW)
    assert refusal.value.rule == "R13"
    authority_allows(desk.authority(use_case=use_case), desk.profile, unit=UNIT, now=NOW)


@pytest.mark.parametrize("value", [None, "no", 0, ""])
def test_the_question_must_be_answered(value: object, desk: Desk) -> None:
    said = as_dict(desk.authority()) | {"is_assembly_or_protest": value}
    with pytest.raises(ValidationError, match="is_assembly_or_protest"):
        Authority.model_validate_json(json.dumps(said))
