"""The published schemas and the table of signers are the program's own, and genuine documents fit them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from edgeagent.documents.deployment_key import DEPLOYMENT_KEY
from edgeagent.documents.schemas import MODELS, files, schema
from edgeagent.documents.trust import TYP
from edgeagent.safeguards.profile import StrictModel
from tests.desk import Desk, as_dict, one_time
from tests.document_samples import SAMPLES

DOCS = Path(__file__).parents[1] / "docs"
KINDS = pytest.mark.parametrize("typ", list(MODELS))


def body(typ: str, desk: Desk) -> StrictModel:
    """A genuine body of a kind."""
    if typ == TYP:
        return desk.trust_content()
    return one_time().public if typ == DEPLOYMENT_KEY.typ else SAMPLES[typ].body


def fits(typ: str, said: dict[str, Any]) -> bool:
    """Whether the schema takes the body."""
    try:
        Draft202012Validator(schema(typ)).validate(said)
    except ValidationError:
        return False
    return True


def test_they_are_up_to_date() -> None:
    stale = [file.name for file, text in files(DOCS).items() if not file.exists() or file.read_text() != text]
    assert not stale, "run: make schemas"
    assert {file.stem for file in (DOCS / "schemas").glob("*")} == set(MODELS)


@KINDS
def test_each_is_a_schema_that_says_what_it_describes(typ: str) -> None:
    made = schema(typ)
    Draft202012Validator.check_schema(made)
    assert made["$id"] == f"urn:edgeagent:schema:{typ}:1"
    assert made["title"]
    assert made["description"]
    assert made["additionalProperties"] is False
    assert "Attributes" not in json.dumps(made)


@KINDS
def test_a_genuine_body_fits_and_an_altered_one_does_not(typ: str, desk: Desk) -> None:
    said = as_dict(body(typ, desk))
    assert fits(typ, said)
    assert not fits(typ, said | {"extra": 1})
    for name in said:
        assert not fits(typ, {key: value for key, value in said.items() if key != name}), name
        assert not fits(typ, said | {name: {"another": "type"}}), name


def test_the_fields_docstrings_are_in() -> None:
    fields = schema("edgeagent-authority")["properties"]
    assert "less intrusive" in fields["necessity"]["description"]
    assert fields["alert_ttl_s"]["description"].endswith("dropped and counted.")


def test_no_document_leads_to_a_host() -> None:
    for file in (DOCS / "schemas").glob("*.json"):
        hosts = set(re.findall(r"https?://([^/\"]+)", file.read_text()))
        assert hosts <= {"json-schema.org"}  # the name of the dialect
