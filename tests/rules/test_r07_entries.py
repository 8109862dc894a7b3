"""R7: every entry has all its facts, and a list is what its signed manifest says, or is refused whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.watchlist import Entry, body_matches
from tests.desk import as_dict, entry, manifest, test_subject

ROWS = tuple(entry(n) for n in range(3))


@pytest.mark.parametrize("name", ["entry", "person", "category", "image_basis", "image_taken_on", "under_18"])
def test_each_fact_is_mandatory(name: str) -> None:
    said = as_dict(entry(1))
    assert name in said
    del said[name]
    with pytest.raises(ValidationError, match=name):
        Entry.model_validate_json(json.dumps(said))


def test_there_is_no_other_fact() -> None:
    """No name, birth date or free text reaches a unit."""
    assert set(Entry.model_fields) == {
        "entry",
        "person",
        "category",
        "image_basis",
        "image_taken_on",
        "under_18",
    }
    with pytest.raises(ValidationError, match="name"):
        Entry.model_validate_json(json.dumps(as_dict(entry(1)) | {"name": "somebody"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entry", ""),
        ("entry", "a b"),
        ("entry", "../x"),
        ("entry", "x" * 65),
        ("entry", "x\n"),
        ("person", ""),
        ("image_taken_on", "yesterday"),
        ("image_taken_on", 20_000),
        ("image_taken_on", "2030-02-30"),
        ("under_18", 0),
        ("under_18", "false"),
        ("under_18", None),
    ],
)
def test_each_fact_is_what_it_should_be(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Entry.model_validate_json(json.dumps(as_dict(entry(1)) | {name: value}))


def test_a_body_as_the_manifest_counts_it_is_taken() -> None:
    mixed = (*ROWS, test_subject(8), entry(9, under_18=True))
    body_matches(manifest(mixed), mixed)


@pytest.mark.parametrize(
    "body",
    [
        ROWS[:2],
        (*ROWS, entry(9)),
        (),
        (*ROWS[:2], ROWS[1]),
        (*ROWS[:2], entry(2, under_18=True)),
        (*ROWS[:2], entry(2, category=Category.WITNESS)),
        (*ROWS[:2], test_subject(2)),
    ],
    ids=["one less", "one more", "none", "one twice", "a minor", "a witness", "a test subject"],
)
def test_a_body_that_the_manifest_does_not_count_is_refused(body: tuple[Entry, ...]) -> None:
    with pytest.raises(SafeguardError, match="manifest") as refusal:
        body_matches(manifest(ROWS), body)
    assert refusal.value.rule == "R7"


def test_why_an_image_is_held_comes_from_a_closed_list() -> None:
    for basis in ImageBasis:
        entry(1, image_basis=basis)
    for other in ("social_media", "scraped", "camera", "", None):
        with pytest.raises(ValidationError, match="image_basis"):
            Entry.model_validate_json(json.dumps(as_dict(entry(1)) | {"image_basis": other}))
