"""R6: a list is made for one deployment, at most a day before it, and is used at no other time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from edgeagent.agent.deployment import load_deployment
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.gate import AuthorityAccepted, Gate, LeaseAccepted, State, Tick, step
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import HeldLease
from edgeagent.safeguards.watchlist import watchlist_allows, within_list
from tests.desk import END, NOW, START, Desk, Folder, at, grant, manifest, profile

HOUR = timedelta(hours=1)


def allows(desk: Desk, now: Instant = NOW, limits: dict[str, Any] | None = None, **changes: Any) -> None:
    """`watchlist_allows` with something changed."""
    authority = desk.authority()
    watchlist_allows(manifest(**changes), authority, profile(**(limits or {})), approved=False, now=now)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"created_at": START - 24 * HOUR},
        {"created_at": START},
        {"created_at": NOW.wall + timedelta(seconds=2)},
        {"not_before": NOW.wall},
        {"not_after": NOW.wall + timedelta(microseconds=1)},
        {"not_before": START - HOUR, "not_after": START + 11 * HOUR},
    ],
)
def test_a_list_in_its_time_is_taken(changes: dict[str, Any], desk: Desk) -> None:
    allows(desk, **changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"created_at": START - 24 * HOUR - timedelta(microseconds=1)}, "older than 24 h"),
        ({"created_at": START - 400 * 24 * HOUR}, "older than 24 h"),
        ({"created_at": NOW.wall + timedelta(seconds=2.1)}, "future"),
        ({"not_after": NOW.wall}, "valid only until"),
        ({"not_before": NOW.wall + timedelta(microseconds=1)}, "valid only until"),
        ({"not_before": NOW.wall + HOUR, "not_after": NOW.wall - HOUR}, "valid only until"),
        ({"not_before": START - 2 * HOUR, "not_after": START + 10.1 * HOUR}, "longer than 12 h"),
        ({"deployment": "another-deployment"}, "made for deployment"),
    ],
)
def test_a_list_out_of_its_time_or_place_is_refused(changes: dict[str, Any], what: str, desk: Desk) -> None:
    with pytest.raises(SafeguardError, match=what) as refusal:
        allows(desk, **changes)
    assert refusal.value.rule == "R6"


def test_a_profile_may_ask_for_a_younger_list(desk: Desk) -> None:
    with pytest.raises(SafeguardError, match="older than 2 h"):
        allows(desk, limits={"watchlist_max_age_h": 2.0})


def test_a_list_of_another_model_pack_is_refused(desk: Desk) -> None:
    with pytest.raises(SafeguardError) as refusal:
        allows(desk, model_pack_sha256="00" * 32)
    assert refusal.value.rule == "R18"


def test_a_list_that_ends_first_ends_the_deployment() -> None:
    """Its time is signed, so it holds for as long as the gate may be open and not only when it is loaded."""
    given = within_list(grant(), manifest(not_after=NOW.wall + HOUR, not_before=START + HOUR / 12))
    assert (given.start, given.end) == (START + HOUR / 12, NOW.wall + HOUR)
    assert within_list(grant(), manifest()) == grant()
    gate, _ = step(Gate.locked(NOW), AuthorityAccepted(given), NOW)
    gate, _ = step(gate, LeaseAccepted(HeldLease(1, at(6).monotonic_ns, 4)), NOW)
    assert gate.state is State.LIVE
    assert step(gate, Tick(), at(3600))[0].state is State.CLOSED


def test_a_loaded_deployment_ends_with_its_list(folder: Folder, desk: Desk) -> None:
    folder.put(watchlist=desk.watchlist(not_after=NOW.wall + HOUR))
    loaded = load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), NOW)
    assert loaded.grant.end == NOW.wall + HOUR < END


def test_a_deployment_that_is_over_never_starts_again(folder: Folder) -> None:
    seen = HighWater(folder.path / "seen.json")
    folder.put()
    load_deployment(folder.unit(), seen, NOW)
    seen.close(folder.desk.authority().deployment)
    with pytest.raises(SafeguardError, match="is over") as refusal:
        load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), NOW)
    assert refusal.value.rule == "R6"
    folder.put(sequence=99)
    with pytest.raises(SafeguardError, match="is over"):
        load_deployment(folder.unit(), seen, NOW)


def test_an_older_list_never_comes_back(folder: Folder, desk: Desk) -> None:
    """Nor under a newer authority that names it, nor as a twin with the same number."""
    seen = HighWater(folder.path / "seen.json")
    folder.put(watchlist=desk.watchlist(sequence=5))
    for document in load_deployment(folder.unit(), seen, NOW).numbered:
        seen.accept(document)
    folder.put(watchlist=desk.watchlist(sequence=4), sequence=2)
    with pytest.raises(DocumentError, match="5 was seen before"):
        load_deployment(folder.unit(), seen, NOW)
    folder.put(watchlist=desk.watchlist(sequence=5), sequence=2)
    with pytest.raises(DocumentError, match="differs from another"):
        load_deployment(folder.unit(), seen, NOW)
    folder.put(watchlist=desk.watchlist(sequence=6), sequence=2)
    load_deployment(folder.unit(), seen, NOW)
