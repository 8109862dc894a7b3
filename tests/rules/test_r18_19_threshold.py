"""R18, R19: no threshold below the certified floor, and no hit below the threshold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeagent.agent.deployment import load_deployment, numbered_certificate
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import CERTIFICATE, sign
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Kind, approval_rule
from edgeagent.safeguards.certificate import threshold_allowed
from edgeagent.safeguards.decide import Hit, Policy, Vote, agrees, decide
from tests.desk import NOW, START, Desk, Folder, certificate, floor, profile

POLICY = Policy(threshold=0.6, margin=0.05, agreeing_frames=3)


def vote(person: int = 0, score: float = 0.7, runner_up: float = 0.2, entry: int | None = None) -> Vote:
    return Vote(person if entry is None else entry, person, score, runner_up)


# --- the floor ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "threshold", "allowed"),
    [
        (1, 0.5, True),
        (100, 0.5, True),
        (100, 0.4999, False),
        (101, 0.5, False),
        (101, 0.6, True),
        (2000, 0.6, True),
        (2000, 0.5999, False),
        (2001, 0.99, False),
    ],
)
def test_the_floor_of_the_next_larger_list_counts(
    entries: int, threshold: float, allowed: bool, desk: Desk
) -> None:
    authority = desk.authority(threshold=threshold)
    if allowed:
        threshold_allowed(authority, certificate(), profile(), entries=entries)
        return
    with pytest.raises(SafeguardError) as refusal:
        threshold_allowed(authority, certificate(), profile(), entries=entries)
    assert refusal.value.rule == "R18"


def test_the_floor_holds_on_a_bench_with_a_certificate(desk: Desk) -> None:
    with pytest.raises(SafeguardError, match="below the certified floor"):
        threshold_allowed(desk.bench_authority(threshold=0.4), certificate(), profile(), entries=50)


@pytest.mark.parametrize(
    ("fpir", "most", "allowed"),
    [
        (0.001, 0.001, True),
        (0.0011, 0.001, False),
        (0.75, 0.001, False),
        (0.001, 0.0005, False),
        (0.0005, 0.0005, True),
    ],
)
def test_a_promise_that_is_none_is_for_benches_only(
    fpir: float, most: float, allowed: bool, desk: Desk
) -> None:
    promised, limits = certificate(floors=(floor(100, 0.5, fpir),)), profile(certified_fpir_max=most)
    threshold_allowed(desk.bench_authority(), promised, limits, entries=50)
    if allowed:
        threshold_allowed(desk.authority(), promised, limits, entries=50)
        return
    with pytest.raises(SafeguardError, match="promises a false positive rate of at most") as refusal:
        threshold_allowed(desk.authority(), promised, limits, entries=50)
    assert refusal.value.rule == "R18"


@pytest.mark.parametrize("most", [0.0, 0.0011, 0.75, 1.0])
def test_no_profile_allows_a_promise_that_is_none(most: float) -> None:
    with pytest.raises(ValidationError, match="certified_fpir_max"):
        profile(certified_fpir_max=most)


# --- the hit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "runner_up", "agrees_"),
    [
        (0.6, 0.5, True),
        (0.5999, -1.0, False),
        (0.7, 0.64, True),
        (0.7, 0.66, False),
        (0.9, 0.9, False),
        (0.7, 0.8, False),
        (float("nan"), 0.0, False),
        (0.7, float("nan"), False),
    ],
)
def test_a_frame_agrees_above_the_threshold_and_clear_of_the_next(
    score: float, runner_up: float, agrees_: bool
) -> None:
    assert agrees(vote(score=score, runner_up=runner_up), POLICY) is agrees_


def test_without_a_margin_a_tie_still_needs_the_threshold() -> None:
    assert agrees(vote(score=0.6, runner_up=0.6), Policy(0.6, 0.0, 2))
    assert not agrees(vote(score=0.59, runner_up=0.0), Policy(0.6, 0.0, 2))


CASES: list[tuple[str, list[Vote], Hit | None]] = [
    ("nothing", [], None),
    ("one frame", [vote()], None),
    ("two frames", [vote()] * 2, None),
    ("three frames", [vote()] * 3, Hit(0, 0, 0.7, 0.7, 3)),
    ("the worst and the best are told", [vote(score=s) for s in (0.8, 0.6, 0.9)], Hit(0, 0, 0.6, 0.9, 3)),
    ("weak frames do not count", [vote(), vote(score=0.5), vote()], None),
    ("weak frames do not hinder", [vote(), vote(score=0.5), vote(), vote()], Hit(0, 0, 0.7, 0.7, 3)),
    ("unclear frames do not count", [vote(), vote(runner_up=0.69), vote()], None),
    ("the present frame must agree itself", [vote()] * 3 + [vote(score=0.5)], None),
    ("the present frame is somebody else, unclear", [vote(0)] * 3 + [vote(1, 0.5)], None),
    ("two people in one track", [vote(0)] * 3 + [vote(1)], None),
    ("two people, many frames", [vote(0)] * 20 + [vote(1)], None),
    (
        "two images of one person",
        [vote(entry=5), vote(entry=6), vote(entry=6, score=0.9)],
        Hit(6, 0, 0.7, 0.9, 3),
    ),
    ("a weak other does not hinder", [vote(0)] * 2 + [vote(1, 0.5), vote(0)], Hit(0, 0, 0.7, 0.7, 3)),
]


@pytest.mark.parametrize(("votes", "hit"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_when_frames_make_a_hit(votes: list[Vote], hit: Hit | None) -> None:
    assert decide(tuple(votes), POLICY) == hit


VOTES = st.lists(
    st.builds(vote, st.integers(0, 3), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 9)), max_size=30
)


@given(votes=VOTES, threshold=st.floats(0.3, 0.99), margin=st.floats(0, 0.5), frames=st.integers(2, 6))
def test_a_hit_is_never_weaker_than_the_policy(
    votes: list[Vote], threshold: float, margin: float, frames: int
) -> None:
    policy = Policy(threshold, margin, frames)
    hit: Any = decide(tuple(votes), policy)
    if hit is None:
        return
    clear = [v for v in votes if v.score >= threshold and v.score - v.runner_up >= margin]
    assert {v.person for v in clear} == {hit.person}
    assert hit.frames == len(clear) >= frames
    assert threshold <= hit.score == min(v.score for v in clear)
    assert hit.best == max(v.score for v in clear)


@given(votes=VOTES, extra=VOTES)
def test_more_frames_never_change_who_is_meant(votes: list[Vote], extra: list[Vote]) -> None:
    first, later = decide(tuple(votes), POLICY), decide((*votes, *extra), POLICY)
    if first is not None and later is not None:
        assert later.person == first.person


# --- lowering it (R19) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "threshold", "policy", "rule"),
    [
        (Kind.LIVE, 0.6, False, None),
        (Kind.LIVE, 0.6, True, "R27"),
        (Kind.LIVE, 0.5999, False, "R19"),
        (Kind.LIVE, 0.5999, True, "R19"),
        (Kind.BENCH, 0.5999, True, None),
    ],
)
def test_what_a_threshold_asks_for(
    kind: Kind, threshold: float, policy: bool, rule: str | None, desk: Desk
) -> None:
    limits = profile(threshold_usual=0.6, independent_approval=policy)
    assert approval_rule(desk.authority(kind=kind, threshold=threshold), limits) == rule


def test_a_lower_threshold_than_usual_needs_a_second_person(folder: Folder) -> None:
    usual = Desk(profile=profile(threshold_usual=0.7))
    folder.put(threshold=0.65)

    def load() -> None:
        load_deployment(folder.unit(trust=usual.trust), HighWater(folder.path / "seen.json"), NOW)

    with pytest.raises(SafeguardError, match=r"for a threshold below 0\.7") as refusal:
        load()
    assert refusal.value.rule == "R19"
    folder.put(threshold=0.65, signers=(Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER))
    load()


def _certified(folder: Folder, *, floor_at: float, days: int, seconds: float = 0) -> None:
    """Put a certificate in place that was issued so long before the deployment."""
    issued = START - timedelta(days=days) + timedelta(seconds=seconds)
    said = certificate(issued_at=issued, floors=(floor(2000, floor_at),), groups_threshold=0.4)
    if not (folder.path / "authority.json").exists():
        folder.put(threshold=0.6)
    (folder.path / "certificate.json").write_bytes(sign(CERTIFICATE, said, folder.desk[Role.EVALUATOR]))


def _use(folder: Folder) -> None:
    """As the daemon does: load, then remember what is taken into use."""
    seen = HighWater(folder.path / "seen.json")
    for document in load_deployment(folder.unit(), seen, NOW).numbered:
        seen.accept(document)


def test_a_lower_floor_needs_a_certificate_that_is_issued_later(folder: Folder) -> None:
    _certified(folder, floor_at=0.7, days=30)
    with pytest.raises(SafeguardError, match=r"threshold 0\.6 is below the certified floor 0\.7") as refusal:
        _use(folder)
    assert refusal.value.rule == "R18"
    _certified(folder, floor_at=0.6, days=20)
    _use(folder)
    _use(folder)  # the same one again


@pytest.mark.parametrize(("days", "seconds"), [(30, 0.0), (20, -1.0), (20, 0.0)])
def test_an_older_certificate_with_a_lower_floor_does_not_come_back(
    days: int, seconds: float, folder: Folder
) -> None:
    """Also not one of the same second that says something else."""
    _certified(folder, floor_at=0.6, days=20)
    _use(folder)
    _certified(folder, floor_at=0.5, days=days, seconds=seconds)
    with pytest.raises(DocumentError, match="certificate of model pack abababababababab"):
        _use(folder)
    _certified(folder, floor_at=0.5, days=20, seconds=1)
    _use(folder)


def test_a_refused_certificate_is_not_remembered(folder: Folder) -> None:
    _certified(folder, floor_at=0.7, days=10)
    with pytest.raises(SafeguardError, match="below the certified floor"):
        _use(folder)
    _certified(folder, floor_at=0.5, days=20)
    _use(folder)


def test_a_certificate_of_another_model_pack_does_not_count_as_newer(folder: Folder) -> None:
    seen = HighWater(folder.path / "seen.json")
    other = certificate(model_pack_sha256="00" * 32, issued_at=START)
    seen.accept(numbered_certificate(other, "11" * 32))
    _certified(folder, floor_at=0.5, days=20)
    _use(folder)
