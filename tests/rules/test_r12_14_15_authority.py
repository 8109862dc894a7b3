"""R12, R14, R15: without a written, signed, timely authority for this unit, list and model: no capture."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from edgeagent.agent.deployment import Deployment, load_deployment
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import AUTHORITY
from edgeagent.errors import DocumentError, EdgeAgentError, SafeguardError
from edgeagent.safeguards.authority import Grant, authority_allows
from edgeagent.safeguards.gate import Action, AuthorityAccepted, Gate, LeaseAccepted, State, Tick, step
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.lease import HeldLease
from tests.desk import (
    DEPLOYMENT,
    END,
    NOW,
    PACK_SHA256,
    START,
    UNIT,
    Desk,
    Folder,
    as_dict,
    at,
    profile,
    raw_document,
)

HOUR = timedelta(hours=1)


def allows(desk: Desk, now: Instant = NOW, limits: dict[str, Any] | None = None, **changes: Any) -> Grant:
    """`authority_allows` with something changed."""
    return authority_allows(desk.authority(**changes), profile(**(limits or {})), unit=UNIT, now=now)


def load(folder: Folder, now: Instant = NOW) -> Deployment:
    """What the daemon does with the files."""
    return load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), now)


def test_a_good_authority_grants_its_own_time_and_no_more(desk: Desk) -> None:
    given = allows(desk)
    assert (given.deployment, given.start, given.end) == (DEPLOYMENT, START, END)
    assert (given.lease_max_s, given.clock_step_s, given.clock_skew_s) == (10.0, 2.0, 2.0)


def test_the_shorter_lease_of_authority_and_profile_counts(desk: Desk) -> None:
    assert allows(desk, lease_max_s=3.0).lease_max_s == 3.0
    assert allows(desk, limits={"lease_max_s": 10.0}).lease_max_s == 10.0


@pytest.mark.parametrize(
    ("changes", "rule", "field"),
    [
        ({"units": ("unit-2",)}, "R12", "units"),
        ({"units": ("unit-11", "unit")}, "R12", "units"),
        ({"is_assembly_or_protest": True}, "R13", "is_assembly_or_protest"),
        ({"signage_confirmed": False}, "R22", "signage_confirmed"),
        ({"end": START}, "R14", "end"),
        ({"end": START - HOUR}, "R14", "end"),
        ({"start": NOW.wall - 3 * HOUR, "end": NOW.wall}, "R14", "end"),
        ({"start": NOW.wall - 3 * HOUR, "end": NOW.wall - HOUR}, "R14", "end"),
        ({"issued_at": NOW.wall + timedelta(seconds=2.1), "urgent": True}, "R14", "issued_at"),
        ({"issued_at": START + timedelta(microseconds=1)}, "R14", "issued_at"),
        ({"end": START + 12 * HOUR + timedelta(microseconds=1)}, "R14", "end"),
        ({"end": START + 24.1 * HOUR, "urgent": True}, "R14", "end"),
        ({"retention_h": 24.1}, "R3", "retention_h"),
        ({"lease_max_s": 10.1}, "R16", "lease_max_s"),
        ({"alert_ttl_s": 120.1}, "R12", "alert_ttl_s"),
        ({"threshold": 0.399}, "R18", "threshold"),
    ],
)
def test_each_thing_that_an_authority_may_not_say(
    changes: dict[str, Any], rule: str, field: str, desk: Desk
) -> None:
    with pytest.raises(SafeguardError) as refusal:
        allows(desk, **changes)
    assert refusal.value.rule == rule
    assert refusal.value.where == f"authority field {field}"
    assert refusal.value.next_step


@pytest.mark.parametrize(
    "changes",
    [
        {"issued_at": START},
        {"issued_at": START + timedelta(minutes=5), "urgent": True},
        {"issued_at": NOW.wall + timedelta(seconds=2), "urgent": True},
        {"end": START + 12 * HOUR},
        {"end": START + 24 * HOUR, "urgent": True},
        {"start": START + HOUR},
        {"retention_h": 24.0},
        {"alert_ttl_s": 120.0},
        {"threshold": 0.4},
        {"units": (UNIT,)},
    ],
)
def test_what_it_may_say_up_to_the_limit(changes: dict[str, Any], desk: Desk) -> None:
    allows(desk, **changes)


def test_an_early_authority_is_taken_and_opens_nothing_before_its_start(desk: Desk) -> None:
    early = Instant(0, START - HOUR, synchronised=True)
    gate, _ = step(Gate.locked(early), AuthorityAccepted(allows(desk, early)), early)
    gate, _ = step(gate, LeaseAccepted(HeldLease(1, 6_000_000_000, 4)), early)
    assert (gate.state, gate.why.rule) == (State.LOCKED, "R12")


def test_at_its_end_the_gate_closes_for_good_whatever_the_lease(desk: Desk) -> None:
    last = Instant(0, END - timedelta(seconds=1), synchronised=True)
    gate, _ = step(Gate.locked(last), AuthorityAccepted(allows(desk, last)), last)
    gate, _ = step(gate, LeaseAccepted(HeldLease(1, 5 * SECOND, 4)), last)
    assert gate.state is State.LIVE
    gate, actions = step(gate, Tick(), Instant(SECOND, END, synchronised=True))
    assert (gate.state, gate.why.rule) == (State.CLOSED, "R14")
    assert {Action.CLOSE_CAMERA, Action.WIPE_BUFFERS, Action.DESTROY_KEYS} <= set(actions)


# --- the files together -------------------------------------------------------------------------------------


def test_the_right_files_load(folder: Folder) -> None:
    folder.put()
    loaded = load(folder)
    assert loaded.authority.deployment == DEPLOYMENT
    assert len(loaded.entries) == len(loaded.gallery) == 8
    assert [document.name for document in loaded.numbered] == [
        f"authority {DEPLOYMENT}",
        f"watchlist {DEPLOYMENT}",
        f"certificate of model pack {PACK_SHA256[:16]}",
    ]
    assert not (folder.path / "seen.json").exists(), "loading alone remembers nothing"


def test_one_persons_images_have_one_number(folder: Folder, desk: Desk) -> None:
    from tests.desk import entry

    rows = [entry(1, person="p"), entry(2, person="q"), entry(3, person="p")]
    folder.put(entries=rows)
    one, two, three = load(folder).gallery.persons
    assert one == three != two


@pytest.mark.parametrize("name", ["authority.json", "list.edgelist", "certificate.json"])
def test_a_missing_empty_or_altered_file_refuses_everything(name: str, folder: Folder) -> None:
    folder.put()
    file = folder.path / name
    content = file.read_bytes()
    damaged = [b"", content[: len(content) // 2], content[:60] + b"A" + content[61:], content + content]
    for octets in damaged:
        file.write_bytes(octets)
        with pytest.raises(EdgeAgentError):
            load(folder)
    file.unlink()
    with pytest.raises(DocumentError, match="cannot be read"):
        load(folder)


def test_another_list_than_the_one_named_is_refused(folder: Folder, desk: Desk) -> None:
    """Made by the right officer with the right fields at the same minute, but not the one authorised."""
    folder.put()
    (folder.path / "list.edgelist").write_bytes(desk.watchlist())
    with pytest.raises(SafeguardError, match="not the list that the authority names") as refusal:
        load(folder)
    assert refusal.value.rule == "R12"


def test_another_model_pack_than_the_one_named_is_refused(folder: Folder, desk: Desk) -> None:
    other = "00" * 32
    folder.put(watchlist=desk.watchlist(model_pack_sha256=other), model_pack_sha256=other)
    with pytest.raises(SafeguardError, match="is installed") as refusal:
        load(folder)
    assert refusal.value.rule == "R18"


def test_another_units_authority_is_refused(folder: Folder) -> None:
    folder.put(units=("unit-2",))
    with pytest.raises(SafeguardError, match="not named"):
        load(folder)


def test_a_list_that_is_not_sealed_to_this_unit_is_refused(folder: Folder, desk: Desk) -> None:
    folder.put(watchlist=desk.watchlist(units=[desk.other_unit]))
    with pytest.raises(DocumentError, match="not sealed to this unit"):
        load(folder)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.AUTHORISING_OFFICER])
def test_nobody_but_an_authorising_officer_authorises(role: Role, folder: Folder, desk: Desk) -> None:
    """R15."""
    folder.put()
    payload = desk.authority().model_dump_json().encode()
    (folder.path / "authority.json").write_bytes(raw_document(AUTHORITY, payload, desk[role]))
    with pytest.raises(DocumentError):
        load(folder)


def test_an_older_authority_never_comes_back(folder: Folder) -> None:
    seen = HighWater(folder.path / "seen.json")
    folder.put(sequence=3)
    for document in load_deployment(folder.unit(), seen, NOW).numbered:
        seen.accept(document)
    content = (folder.path / "list.edgelist").read_bytes()
    folder.put(watchlist=content, sequence=2)
    with pytest.raises(DocumentError, match="3 was seen before"):
        load_deployment(folder.unit(), seen, NOW)


def test_an_authority_is_refused_after_its_end(folder: Folder) -> None:
    folder.put()
    load(folder, at((END - NOW.wall).total_seconds() - 1))
    with pytest.raises(SafeguardError, match="ended at"):
        load(folder, at((END - NOW.wall).total_seconds()))


def test_an_authority_cannot_be_silent_about_anything(desk: Desk) -> None:
    assert set(as_dict(desk.authority())) >= {
        "site",
        "use_case",
        "necessity",
        "proportionality",
        "is_assembly_or_protest",
        "signage_confirmed",
        "issued_at",
        "start",
        "end",
        "watchlist_sha256",
        "model_pack_sha256",
        "threshold",
        "retention_h",
    }
    assert not any(field.default is None for field in type(desk.authority()).model_fields.values())
    assert all(field.is_required() for field in type(desk.authority()).model_fields.values())
