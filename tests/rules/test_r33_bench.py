"""R33: a bench and a live deployment cannot be exchanged: not the key, not the type, not the list."""

from __future__ import annotations

from itertools import product

import pytest

from edgeagent.agent.deployment import load_deployment
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import AUTHORITY, BENCH_AUTHORITY, DocumentType
from edgeagent.errors import EdgeAgentError, SafeguardError
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.watchlist import Entry, only_test_subjects, watchlist_allows
from tests.desk import NOW, Desk, Folder, entry, manifest, profile, raw_document, test_subject

CAMERA, SCENE, PICTURES = "v4l2:/dev/video0", "scene:/srv/scene.toml", "pictures:/srv/faces"
SUBJECTS = tuple(test_subject(n) for n in range(3))
MIXED = (*SUBJECTS, entry(7))
WANTED = tuple(entry(n) for n in range(3))
LISTS = {"subjects": SUBJECTS, "mixed": MIXED, "wanted": WANTED}


def put_raw(
    folder: Folder, kind: DocumentType[Authority], signer: Role, said: Kind, rows: tuple[Entry, ...]
) -> None:
    """Genuine files, whose authority is of any type, signer and kind."""
    folder.put(entries=rows)
    watchlist = (folder.path / "list.edgelist").read_bytes()
    folder.put(watchlist=watchlist)
    genuine = folder.path / "authority.json"
    from hashlib import sha256

    body = folder.desk.authority(kind=said, watchlist_sha256=sha256(watchlist).hexdigest())
    genuine.write_bytes(raw_document(kind, body.model_dump_json().encode(), folder.desk[signer]))


COMBINATIONS = list(
    product(
        (AUTHORITY, BENCH_AUTHORITY),
        (Role.AUTHORISING_OFFICER, Role.BENCH),
        Kind,
        LISTS,
        (CAMERA, SCENE, PICTURES),
    )
)
ALLOWED = {
    *((AUTHORITY.typ, Role.AUTHORISING_OFFICER, Kind.LIVE, rows, CAMERA) for rows in LISTS),
    *((BENCH_AUTHORITY.typ, Role.BENCH, Kind.BENCH, "subjects", source) for source in (SCENE, PICTURES)),
}


@pytest.mark.parametrize(("kind", "signer", "said", "rows", "source"), COMBINATIONS)
def test_every_combination(
    kind: DocumentType[Authority], signer: Role, said: Kind, rows: str, source: str, folder: Folder
) -> None:
    """Of document type, signing role, kind said, list and source: 72, of which five are lawful."""
    put_raw(folder, kind, signer, said, LISTS[rows])
    seen = HighWater(folder.path / "seen.json")
    if (kind.typ, signer, said, rows, source) in ALLOWED:
        assert load_deployment(folder.unit(source=source), seen, NOW).authority.kind is said
        return
    with pytest.raises(EdgeAgentError):
        load_deployment(folder.unit(source=source), seen, NOW)


def test_the_lawful_combinations_are_among_them() -> None:
    assert len(COMBINATIONS) == 72
    assert len(ALLOWED & {(kind.typ, *rest) for kind, *rest in COMBINATIONS}) == 5


def test_a_kind_that_contradicts_its_type_is_named(folder: Folder) -> None:
    put_raw(folder, AUTHORITY, Role.AUTHORISING_OFFICER, Kind.BENCH, SUBJECTS)
    with pytest.raises(SafeguardError, match="signed as a bench, or the reverse") as refusal:
        load_deployment(folder.unit(source=SCENE), HighWater(folder.path / "seen.json"), NOW)
    assert refusal.value.rule == "R33"


@pytest.mark.parametrize("rows", list(LISTS))
def test_a_bench_takes_test_subjects_only(rows: str, desk: Desk) -> None:
    listed = manifest(LISTS[rows])
    assert only_test_subjects(listed) is (rows == "subjects")
    watchlist_allows(listed, desk.authority(), desk.profile, approved=False, now=NOW)
    if rows == "subjects":
        watchlist_allows(listed, desk.bench_authority(), desk.profile, approved=False, now=NOW)
        return
    with pytest.raises(SafeguardError, match="test subjects only") as refusal:
        watchlist_allows(listed, desk.bench_authority(), desk.profile, approved=False, now=NOW)
    assert refusal.value.rule == "R33"


def test_no_count_is_not_a_list_of_test_subjects() -> None:
    assert not only_test_subjects(manifest(counts={}))
    assert only_test_subjects(manifest(counts={Category.TEST_SUBJECT: 1}))


def test_a_bench_needs_no_independent_approver(folder: Folder) -> None:
    strict = Desk(profile=profile(independent_approval=True))
    put_raw(folder, BENCH_AUTHORITY, Role.BENCH, Kind.BENCH, SUBJECTS)
    unit = folder.unit(source=SCENE, trust=strict.trust)
    load_deployment(unit, HighWater(folder.path / "seen.json"), NOW)
