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


def unlogged() -> None:
    """A log that takes everything."""


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
        made.made(name(number), NOW.wall)
    said = {"kind": authority["kind"]} if "kind" in authority else {}
    assert made.judge(rejection(0, **said), unlogged) == ()
    (event,) = made.judge(rejection(1, **said), unlogged)
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
    first = guard(tmp_path)
    first.passed(1000)
    first.made(name(2), NOW.wall)
    other = RateGuard(UNIT, LIMITS, tmp_path)
    assert other.open(DESK.authority(deployment="another-one")) == ()
    with pytest.raises(SafeguardError, match="another unit, deployment or kind"):
        other.judge(rejection(2), unlogged)
    other.open(DESK.authority())
    assert other.judge(rejection(2), unlogged) == ()


def test_a_new_deployment_does_not_shed_a_suspension(tmp_path: Path) -> None:
    first = suspended(tmp_path)
    other = RateGuard(UNIT, LIMITS, tmp_path)
    with pytest.raises(SafeguardError, match=f"deployment {DEPLOYMENT} is suspended") as refused:
        other.open(DESK.authority(deployment="another-one"))
    assert refused.value.rule == "R17"
    assert not rate_file(tmp_path, "another-one").exists()
    first.review(reviewed_by(first, Role.AUTHORISING_OFFICER), unlogged)
    assert other.open(DESK.authority(deployment="another-one")) == ()


def test_a_damaged_count_of_another_deployment_is_not_taken_for_one_that_goes_on(tmp_path: Path) -> None:
    suspended(tmp_path)
    rate_file(tmp_path, DEPLOYMENT).write_bytes(b"")
    with pytest.raises(DocumentError):
        guard(tmp_path, deployment="another-one")


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
    made.made(name(1), NOW.wall)
    kept = guard(tmp_path).rate
    assert kept is not None
    assert (kept.passed, len(kept.alerts)) == (15, 1)


@pytest.mark.parametrize("trusted", [True, False])
def test_late_alerts_are_told_by_a_clock_that_is_vouched_for_only(trusted: bool, tmp_path: Path) -> None:
    made = guard(tmp_path)
    for number in range(2):
        made.made(name(number), NOW.wall)
    events = made.look(at(LIMITS.verdict_within_s + 1), trusted=trusted)
    assert bool(events) is trusted


@pytest.mark.parametrize("kind", list(Kind))
def test_a_false_alert_about_a_test_subject_is_about_a_passer_by(kind: Kind, tmp_path: Path) -> None:
    """R32: the volunteer was not there; somebody else was taken for them."""
    made = guard(tmp_path, kind=kind)
    made.made(name(0), NOW.wall)
    made.made(name(1), NOW.wall)
    said = {"kind": kind, "test_subject": True}
    events = [event for number in range(2) for event in made.judge(rejection(number, **said), unlogged)]
    assert len(events) == 1


def test_a_verdict_of_a_bench_is_none_of_a_live_deployments(tmp_path: Path) -> None:
    """R33."""
    made = guard(tmp_path)
    made.made(name(0), NOW.wall)
    with pytest.raises(SafeguardError, match="kind"):
        made.judge(rejection(0, kind=Kind.BENCH), unlogged)


def test_the_unit_asks_for_every_verdict_in_turn(tmp_path: Path) -> None:
    made = guard(tmp_path)
    for number in range(40):
        made.made(name(number), NOW.wall)
    asked: set[str] = set()
    for _ in range(3):
        report = made.report()
        assert report is not None
        assert len(report.unjudged) == 16
        asked |= set(report.unjudged)
    assert asked == {name(number) for number in range(40)}


# --- reviews ------------------------------------------------------------------------------------------------


def reviewed_by(guard: RateGuard, *roles: Role, **changes: Any) -> Any:
    said = {"suspension": guard.rate.suspension, **changes} if guard.rate else changes
    document = sign(REVIEW, review(**said), *(DESK[role] for role in roles))
    return verify(REVIEW, document, DESK.trust, NOW)


def test_a_review_is_kept_before_it_is_told(tmp_path: Path) -> None:
    made = suspended(tmp_path)
    used = reviewed_by(made, Role.AUTHORISING_OFFICER)
    assert made.review(used, unlogged) == (MatchingReviewed(),)
    again = RateGuard(UNIT, LIMITS, tmp_path)
    assert again.open(DESK.authority()) == ()
    with pytest.raises(SafeguardError, match="nothing is suspended"):
        again.review(used, unlogged)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_profile_may_want_a_second_signature(kind: Kind, tmp_path: Path) -> None:
    made = suspended(tmp_path, kind=kind)
    made.profile = profile(false_alerts_most=1, independent_approval=True)
    if kind is Kind.LIVE:
        with pytest.raises(SafeguardError, match="independent approver") as refused:
            made.review(reviewed_by(made, Role.AUTHORISING_OFFICER), unlogged)
        assert refused.value.rule == "R27"
    made.review(reviewed_by(made, Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER), unlogged)


@pytest.mark.parametrize(
    "changes",
    [{"deployment": "another-one"}, {"unit": "unit-2"}, {"alerts": 2}, {"suspension": "5a" * 16}],
)
def test_a_review_of_something_else_lifts_nothing(changes: dict[str, Any], tmp_path: Path) -> None:
    made = suspended(tmp_path)
    with pytest.raises(SafeguardError):
        made.review(reviewed_by(made, Role.AUTHORISING_OFFICER, **changes), unlogged)
    assert made.rate is not None
    assert made.rate.suspended


# --- the audit log, and a crash between two writes ----------------------------------------------------------


class PowerCutError(Exception):
    """What a test has instead of one."""


def cut() -> None:
    raise PowerCutError


def test_what_the_log_does_not_take_is_not_taken(tmp_path: Path) -> None:
    """R25: neither a verdict nor a review changes anything before its line is written."""
    made = suspended(tmp_path)
    before, kept = made.rate, rate_file(tmp_path, DEPLOYMENT).read_bytes()
    with pytest.raises(PowerCutError):
        made.judge(rejection(2), cut)
    with pytest.raises(PowerCutError):
        made.review(reviewed_by(made, Role.AUTHORISING_OFFICER), cut)
    assert made.rate == before
    assert rate_file(tmp_path, DEPLOYMENT).read_bytes() == kept


def test_what_is_refused_or_no_news_is_not_logged(tmp_path: Path) -> None:
    made = suspended(tmp_path)
    made.judge(rejection(1), cut)
    with pytest.raises(SafeguardError):
        made.judge(rejection(77), cut)
    with pytest.raises(SafeguardError):
        made.review(reviewed_by(made, Role.AUTHORISING_OFFICER, alerts=2), cut)


def test_a_suspension_without_its_line_is_still_known_after_a_restart(tmp_path: Path) -> None:
    suspended(tmp_path)
    again = guard(tmp_path)
    assert again.unwritten() is not None
    again.wrote()
    assert again.unwritten() is None
    third = guard(tmp_path)
    assert third.unwritten() is None
    third.review(reviewed_by(third, Role.AUTHORISING_OFFICER), unlogged)
    assert third.unwritten() is None, "nothing is suspended"


def test_after_the_end_verdicts_are_taken_and_nothing_is_kept(tmp_path: Path) -> None:
    made = guard(tmp_path)
    made.made(name(0), NOW.wall - timedelta(minutes=1))
    made.end()
    rate_file(tmp_path, DEPLOYMENT).unlink()
    made.judge(rejection(0), unlogged)
    made.judge(rejection(0), cut)
    assert made.look(at(100_000), trusted=True) == ()
    assert not rate_file(tmp_path, DEPLOYMENT).exists()
