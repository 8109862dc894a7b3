"""R17 on the unit's disk: the count outlives a restart, damage is not taken for a clean start."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeagent.agent.rate_guard import SAVE_EVERY_NS, RateGuard, rate_file
from edgeagent.documents.keys import Role
from edgeagent.documents.table import DECISION, REVIEW, VERDICT, sign, verify
from edgeagent.documents.verdict import Judgement, judgement
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.gate import MatchingReviewed, MatchingSuspended
from edgeagent.safeguards.instant import SECOND
from edgeagent.safeguards.verdict import Choice, Finding, Result
from tests.desk import DEPLOYMENT, NOW, UNIT, Desk, at, decision, profile, review, verdict

DESK = Desk()
LIMITS = profile(false_alerts_most=1)


def guard(data: Path, **authority: Any) -> RateGuard:
    """A unit that has taken a deployment into use."""
    made = RateGuard(UNIT, LIMITS, data)
    made.open(DESK.authority(**authority))
    return made


def name(number: int) -> str:
    return f"{number:032x}"


def rejection(number: int, **said: Any) -> Judgement:
    decided = sign(DECISION, decision(alert=name(number), choice=Choice.REJECT, **said), DESK[Role.OPERATOR])
    body = verdict(decided, finding=Finding.NOT_ENGAGED, outcome=Result.NO_ACTION)
    ended = sign(VERDICT, body, DESK[Role.OPERATOR])
    return judgement(verify(VERDICT, ended, DESK.trust, NOW), DESK.trust, NOW)


def suspended(data: Path, **authority: Any) -> RateGuard:
    """Two of three alerts were false."""
    made = guard(data, **authority)
    made.passed(1000)
    for number in range(3):
        made.made(name(number), NOW.wall, test_subject=False)
    said = {"kind": authority["kind"]} if "kind" in authority else {}
    assert made.judge(rejection(0, **said)) == ()
    (event,) = made.judge(rejection(1, **said))
    assert isinstance(event, MatchingSuspended)
    return made


def test_a_suspension_outlives_a_restart_and_a_newer_authority(tmp_path: Path) -> None:
    first = suspended(tmp_path)
    for authority in (DESK.authority(), DESK.authority(sequence=9, threshold=0.9)):
        again = RateGuard(UNIT, LIMITS, tmp_path)
        (event,) = again.open(authority)
        assert isinstance(event, MatchingSuspended)
        assert again.rate is not None
        assert again.rate == first.rate
        assert event.why.rule == "R17"


def test_another_deployment_has_a_count_of_its_own(tmp_path: Path) -> None:
    suspended(tmp_path)
    other = RateGuard(UNIT, LIMITS, tmp_path)
    assert other.open(DESK.authority(deployment="another-one")) == ()
    with pytest.raises(SafeguardError, match="another unit, deployment or kind"):
        other.judge(rejection(2))
    assert other.open(DESK.authority()) != (), "and coming back lifts nothing"


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b'{"deployment": "other-street", "passed": 0}'])
def test_a_damaged_count_starts_nothing(content: bytes, tmp_path: Path) -> None:
    suspended(tmp_path)
    rate_file(tmp_path, DEPLOYMENT).write_bytes(content)
    with pytest.raises(DocumentError):
        guard(tmp_path)


def test_people_are_kept_each_minute_and_alerts_at_once(tmp_path: Path) -> None:
    made = guard(tmp_path)
    made.look(NOW, trusted=True)
    made.passed(10)
    made.look(at(30), trusted=True)
    assert guard(tmp_path).rate.passed == 0  # type: ignore[union-attr]
    made.look(at(SAVE_EVERY_NS / SECOND), trusted=True)
    assert guard(tmp_path).rate.passed == 10  # type: ignore[union-attr]
    made.passed(5)
    made.made(name(1), NOW.wall, test_subject=False)
    kept = guard(tmp_path).rate
    assert kept is not None
    assert (kept.passed, len(kept.alerts)) == (15, 1)


@pytest.mark.parametrize("trusted", [True, False])
def test_late_alerts_are_told_by_a_clock_that_is_vouched_for_only(trusted: bool, tmp_path: Path) -> None:
    made = guard(tmp_path)
    for number in range(2):
        made.made(name(number), NOW.wall, test_subject=False)
    events = made.look(at(LIMITS.verdict_within_s + 1), trusted=trusted)
    assert bool(events) is trusted


@pytest.mark.parametrize(("kind", "counts"), [(Kind.LIVE, False), (Kind.BENCH, True)])
def test_test_subjects_count_on_a_bench_only(kind: Kind, counts: bool, tmp_path: Path) -> None:
    made = guard(tmp_path, kind=kind)
    for number in range(2):
        made.made(name(number), NOW.wall, test_subject=True)
    events = [event for number in range(2) for event in made.judge(rejection(number, kind=kind))]
    assert bool(events) is counts


def test_a_verdict_of_a_bench_is_none_of_a_live_deployments(tmp_path: Path) -> None:
    """R33."""
    made = guard(tmp_path)
    made.made(name(0), NOW.wall, test_subject=False)
    with pytest.raises(SafeguardError, match="kind"):
        made.judge(rejection(0, kind=Kind.BENCH))


def test_the_unit_asks_for_every_verdict_in_turn(tmp_path: Path) -> None:
    made = guard(tmp_path)
    for number in range(40):
        made.made(name(number), NOW.wall, test_subject=False)
    asked: set[str] = set()
    for _ in range(3):
        report = made.report()
        assert report is not None
        assert len(report.unjudged) == 16
        asked |= set(report.unjudged)
    assert asked == {name(number) for number in range(40)}


# --- reviews ------------------------------------------------------------------------------------------------


def reviewed_by(*roles: Role, **changes: Any) -> Any:
    document = sign(REVIEW, review(**changes), *(DESK[role] for role in roles))
    return verify(REVIEW, document, DESK.trust, NOW)


def test_a_review_is_kept_before_it_is_told(tmp_path: Path) -> None:
    made = suspended(tmp_path)
    assert made.review(reviewed_by(Role.AUTHORISING_OFFICER)) == (MatchingReviewed(),)
    again = RateGuard(UNIT, LIMITS, tmp_path)
    assert again.open(DESK.authority()) == ()
    with pytest.raises(SafeguardError, match="nothing is suspended"):
        again.review(reviewed_by(Role.AUTHORISING_OFFICER))


@pytest.mark.parametrize("kind", list(Kind))
def test_the_profile_may_want_a_second_signature(kind: Kind, tmp_path: Path) -> None:
    made = suspended(tmp_path, kind=kind)
    made.profile = profile(false_alerts_most=1, independent_approval=True)
    if kind is Kind.LIVE:
        with pytest.raises(SafeguardError, match="independent approver") as refused:
            made.review(reviewed_by(Role.AUTHORISING_OFFICER))
        assert refused.value.rule == "R27"
    made.review(reviewed_by(Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER))


@pytest.mark.parametrize("changes", [{"deployment": "another-one"}, {"unit": "unit-2"}, {"alerts": 2}])
def test_a_review_of_something_else_lifts_nothing(changes: dict[str, Any], tmp_path: Path) -> None:
    made = suspended(tmp_path)
    with pytest.raises(SafeguardError):
        made.review(reviewed_by(Role.AUTHORISING_OFFICER, **changes))
    assert made.rate is not None
    assert made.rate.suspended


def test_after_the_end_verdicts_are_taken_and_nothing_is_kept(tmp_path: Path) -> None:
    made = guard(tmp_path)
    made.made(name(0), NOW.wall - timedelta(minutes=1), test_subject=False)
    made.end()
    rate_file(tmp_path, DEPLOYMENT).unlink()
    assert made.awaits(name(0))
    made.judge(rejection(0))
    assert not made.awaits(name(0))
    assert made.look(at(100_000), trusted=True) == ()
    assert not rate_file(tmp_path, DEPLOYMENT).exists()
