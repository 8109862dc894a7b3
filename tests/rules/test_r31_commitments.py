"""R31: when the list is gone, whoever holds its salt can say who was on it, and cannot lie about it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.controlroom.commitments import ListFiles
from edgeagent.documents.commitments import (
    Commitments,
    Committed,
    Proof,
    answer,
    check,
    commit,
    commit_all,
    salt_hash,
)
from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.table import WATCHLIST, sign
from edgeagent.documents.watchlist_file import pack, split
from edgeagent.errors import DocumentError, EnrolmentError
from tests.desk import DEPLOYMENT, NOW, Desk, at, entry, manifest, one_time, templates, terms

YEAR_S = 365 * 24 * 3600
PERSONS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class Kept:
    """What is left of a list of p0 to p7."""

    committed: Committed
    manifest: bytes
    content: bytes

    @property
    def salt(self) -> bytes:
        return unbase64url(json.loads(self.committed.salt)["salt"])


def keep(desk: Desk) -> Kept:
    entries = tuple(entry(n) for n in range(8))
    committed = commit_all(DEPLOYMENT, {row.person for row in entries})
    said, officer = terms(entries), desk[Role.WATCHLIST_OFFICER]
    rows, keys = templates(8), [one_time().public]
    content = pack(said, entries, rows, keys, officer, commitments_sha256=committed.sha256)
    return Kept(committed, split(content)[0], content)


@pytest.fixture(scope="module")
def kept() -> Kept:
    return keep(Desk())


def ask(kept: Kept, desk: Desk, person: str) -> Proof:
    return answer(person, kept.manifest, kept.committed.commitments, kept.committed.salt, desk.trust, NOW)


@pytest.mark.parametrize(("person", "present"), [("p0", True), ("p7", True), ("p8", False), ("P0", False)])
def test_presence_and_absence_are_proved_to_a_stranger(
    person: str, present: bool, kept: Kept, desk: Desk
) -> None:
    proof = ask(kept, desk, person)
    assert proof.present is present
    again = Proof.model_validate_json(
        proof.model_dump_json()
    )  # all that the stranger has, and the trust store
    assert check(again, desk.trust, NOW).deployment == DEPLOYMENT


def test_the_commitment_is_what_the_description_says(kept: Kept) -> None:
    said = b"edgeagent commitment 1\0" + DEPLOYMENT.encode() + b"\0p3"
    assert (
        hmac.digest(kept.salt, said, "sha256").hex() in json.loads(kept.committed.commitments)["commitments"]
    )


@given(st.sets(PERSONS, min_size=1, max_size=20), PERSONS)
def test_exactly_those_listed_are_found(persons: set[str], other: str) -> None:
    committed = commit_all(DEPLOYMENT, persons)
    salt = unbase64url(json.loads(committed.salt)["salt"])
    listed = Commitments.model_validate_json(committed.commitments).commitments
    assert list(listed) == sorted(listed)
    assert all(commit(salt, DEPLOYMENT, person) in listed for person in persons)
    assert (commit(salt, DEPLOYMENT, other) in listed) == (other in persons)


def test_without_the_salt_the_file_names_nobody(kept: Kept) -> None:
    """Hashes of identifiers could be tried one by one; these cannot, and differ from list to list."""
    listed = json.loads(kept.committed.commitments)
    for guess in (commit(bytes(32), DEPLOYMENT, "p0"), hashlib.sha256(b"p0").hexdigest()):
        assert guess not in listed["commitments"]
    again = json.loads(commit_all(DEPLOYMENT, {f"p{n}" for n in range(8)}).commitments)
    assert not set(again["commitments"]) & set(listed["commitments"])
    assert b"p0" not in kept.committed.commitments


def test_the_unit_gets_no_salt(kept: Kept) -> None:
    salt = json.loads(kept.committed.salt)["salt"].encode()
    assert kept.salt not in kept.content
    assert salt not in kept.content
    assert salt not in kept.manifest
    assert salt not in kept.committed.commitments


# --- lies ---------------------------------------------------------------------------------------------------

Lie = Callable[[Kept], dict[str, Any]]


def _another_salt(kept: Kept) -> dict[str, Any]:
    """With it everybody would seem absent."""
    return {"salt": base64url(bytes(32)), "present": False}


def _one_taken_out(kept: Kept) -> dict[str, Any]:
    listed = json.loads(kept.committed.commitments)
    listed["commitments"].remove(commit(kept.salt, DEPLOYMENT, "p0"))
    return {"commitments": json.dumps(listed), "present": False}


def _another_list(kept: Kept) -> dict[str, Any]:
    other = commit_all(DEPLOYMENT, {"p1"})
    salt = json.loads(other.salt)["salt"]
    return {"commitments": other.commitments.decode(), "salt": salt, "present": False}


def _another_manifest(kept: Kept) -> dict[str, Any]:
    return {"manifest": keep(Desk()).manifest.decode()}


def _manifest_by_strangers(kept: Kept) -> dict[str, Any]:
    return {"manifest": keep(Desk(seed=1)).manifest.decode()}


LIES: dict[str, tuple[Lie, str]] = {
    "says absent": (lambda kept: {"present": False}, "the answer is not what"),
    "another person": (lambda kept: {"person": "p9"}, "the answer is not what"),
    "another salt": (_another_salt, "the salt is not the list's"),
    "one taken out": (_one_taken_out, "not those that the signed manifest names"),
    "another list": (_another_list, "not those that the signed manifest names"),
    "another list's manifest": (_another_manifest, "not those that the signed manifest names"),
    "strangers' manifest": (_manifest_by_strangers, "not in the trust store"),
    "another deployment": (lambda kept: {"deployment": "another-street"}, "different deployments"),
    "no manifest": (lambda kept: {"manifest": ""}, "not JSON"),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_passes(lie: str, kept: Kept, desk: Desk) -> None:
    changes, says = LIES[lie]
    proof = ask(kept, desk, "p0").model_copy(update=changes(kept))
    with pytest.raises(DocumentError, match=says) as refusal:
        check(proof, desk.trust, NOW)
    assert refusal.value.next_step


def test_the_holder_is_told_at_once_when_the_files_do_not_belong_together(kept: Kept, desk: Desk) -> None:
    other = keep(desk)
    with pytest.raises(DocumentError, match="salt"):
        answer("p0", kept.manifest, kept.committed.commitments, other.committed.salt, desk.trust, NOW)


def test_years_later_the_proof_still_holds_but_not_with_a_revoked_key(kept: Kept, desk: Desk) -> None:
    """The officer's key has run out by then; what counts is that it was valid when the list was made."""
    proof, later = ask(kept, desk, "p0"), at(6 * YEAR_S)
    assert check(proof, desk.trust, later)
    with pytest.raises(DocumentError, match="revoked"):
        check(proof, desk.trust_changing(Role.WATCHLIST_OFFICER, revoked=True), later)
    new = desk.trust_changing(Role.WATCHLIST_OFFICER, not_before=at(-60).wall)
    with pytest.raises(DocumentError, match="was not valid when the list was made"):
        check(proof, new, later)


def test_an_officer_may_not_sign_for_another_salt_afterwards(desk: Desk) -> None:
    """The salt is bound by the file, and the file by the signature."""
    committed = commit_all(DEPLOYMENT, {"p0"})
    head = sign(WATCHLIST, manifest(commitments_sha256=committed.sha256), desk[Role.WATCHLIST_OFFICER])
    assert json.loads(committed.commitments)["salt_sha256"] == salt_hash(
        unbase64url(json.loads(committed.salt)["salt"])
    )
    assert answer("p0", head, committed.commitments, committed.salt, desk.trust, NOW).present


# --- the files ----------------------------------------------------------------------------------------------


def test_the_files_are_written_beside_the_list_and_the_salt_for_its_holder_only(
    kept: Kept, tmp_path: Path
) -> None:
    files = ListFiles(tmp_path / "street.edgelist")
    files.refuse_existing()
    files.write(kept.content, kept.committed)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "street.edgelist",
        "street.edgelist.commitments.json",
        "street.edgelist.manifest.json",
        "street.edgelist.salt.json",
    ]
    assert files.salt.stat().st_mode & 0o777 == 0o600
    assert files.manifest.read_bytes() == kept.manifest


@pytest.mark.parametrize("left", ["street.edgelist", "street.edgelist.manifest.json"])
def test_an_earlier_lists_salt_is_never_written_over(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_text("an earlier list")
    with pytest.raises(EnrolmentError, match="exists already") as refusal:
        ListFiles(tmp_path / "street.edgelist").refuse_existing()
    assert refusal.value.rule == "R31"
