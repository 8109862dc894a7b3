"""R17: the arithmetic of the guard, by hand, and that no sequence of events leads out but a review."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.alert_rate import (
    AlertRate,
    RateReview,
    Standing,
    alert_made,
    guarded,
    judged,
    people_passed,
    reviewed,
    standing_of,
    time_passed,
)
from edgeagent.safeguards.profile import Profile
from edgeagent.safeguards.verdict import Choice, Finding, classify
from tests.desk import DEPLOYMENT, NOW, SUSPENSION, UNIT, profile, review

WALL = NOW.wall
LIMITS = profile()


def name(number: int) -> str:
    return f"{number:032x}"


FALSE, TRUE, NOT_FOUND = Standing.FALSE, Standing.TRUE, Standing.NOT_FOUND


def looked_at(made: AlertRate, limits: Profile) -> AlertRate:
    """By the guard; if it suspends, by the name that `review` repeats."""
    return guarded(made, limits, SUSPENSION)


def rate(people: int, false: int, true: int = 0) -> AlertRate:
    """So many people, and alerts that were judged so."""
    made = people_passed(AlertRate(deployment=DEPLOYMENT), people)
    for number in range(false + true):
        made = alert_made(made, name(number), WALL)
        made = judged(made, name(number), FALSE if number < false else TRUE)
    return made


# --- when it suspends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("people", "false", "suspended"),
    [
        (0, 0, False),
        (10_000, 0, False),
        # One false alert: 1 - 0.999^n, at least one in n at the limit itself, is below 0.5 % up to n = 5.
        (5, 1, True),
        (6, 1, False),
        # Two: 1 - 0.999^n - n 0.001 0.999^(n-1) is 0.0049 for n = 103 and 0.0050 for n = 104.
        (103, 2, True),
        (104, 2, False),
        (300, 2, False),  # very early: twice in 300 may still be chance
        (1279, 6, True),  # the median hour
        (1279, 5, False),
        (60_000, 50, False),
        (10_000_000, 51, True),  # the absolute cap, whatever the rate
        (10_000_000, 50, False),
    ],
)
def test_the_numbers_that_suspend(people: int, false: int, suspended: bool) -> None:
    for true in (0, 40):
        assert bool(looked_at(rate(people, false, true), LIMITS).suspended) is suspended


def test_the_confidence_and_the_limit_are_the_profiles() -> None:
    two_in_300 = rate(300, 2)
    assert looked_at(two_in_300, profile(false_alert_confidence=0.95)).suspended
    assert looked_at(two_in_300, profile(false_alert_limit=0.0001)).suspended
    assert looked_at(two_in_300, profile(false_alerts_most=1)).suspended
    assert not looked_at(two_in_300, LIMITS).suspended


def test_the_bound_of_one_in_n_is_the_textbooks() -> None:
    """One of n: the lower bound solves (1 - p)^n = confidence."""
    for people in (1, 5, 100, 12_345):
        assert rate(people, 1).bound(LIMITS) == pytest.approx(1 - 0.995 ** (1 / people), rel=1e-6)
    assert rate(100, 0).bound(LIMITS) == 0.0


def test_the_reason_says_the_figures() -> None:
    why = looked_at(rate(120, 3), LIMITS).suspended
    assert "3 false alerts, 0 of them without a verdict in time; 120 people passed" in why
    assert "limit 0.001" in why


@given(st.integers(0, 20_000), st.integers(0, 60), st.integers(0, 10))
def test_more_people_never_suspend_and_more_false_alerts_never_resume(
    people: int, false: int, more: int
) -> None:
    suspended = bool(looked_at(rate(people, false), LIMITS).suspended)
    if suspended:
        assert looked_at(rate(people, false + more), LIMITS).suspended
    else:
        assert not looked_at(rate(people + 100 * more, false), LIMITS).suspended


# --- verdicts -----------------------------------------------------------------------------------------------


def test_an_alert_without_a_verdict_counts_as_false_once_it_is_late() -> None:
    made = people_passed(AlertRate(deployment=DEPLOYMENT), 50)
    for number in range(2):
        made = alert_made(made, name(number), WALL)
    almost = time_passed(made, LIMITS, WALL + timedelta(seconds=LIMITS.verdict_within_s - 1))
    assert (almost.false_alerts, looked_at(almost, LIMITS).suspended) == (0, "")
    late = time_passed(made, LIMITS, WALL + timedelta(seconds=LIMITS.verdict_within_s))
    assert late.false_alerts == 2
    assert looked_at(late, LIMITS).suspended


def test_verdicts_that_never_come_suspend_whatever_the_rate() -> None:
    """R29: an outcome is mandatory; six late ones of ten million people are too many."""
    made = people_passed(AlertRate(deployment=DEPLOYMENT), 10_000_000)
    for number in range(6):
        made = alert_made(made, name(number), WALL)
    late = time_passed(made, LIMITS, WALL + timedelta(hours=1))
    assert "more than 5 without a verdict" in looked_at(late, LIMITS).suspended
    assert not looked_at(judged(late, name(0), FALSE), LIMITS).suspended


def test_a_late_verdict_settles_what_was_presumed_but_lifts_nothing() -> None:
    made = alert_made(people_passed(AlertRate(deployment=DEPLOYMENT), 5), name(1), WALL)
    late = looked_at(time_passed(made, LIMITS, WALL + timedelta(hours=5)), LIMITS)
    assert late.suspended
    settled = judged(late, name(1), TRUE)
    assert (settled.false_alerts, settled.unjudged) == (0, ())
    assert looked_at(settled, LIMITS).suspended == late.suspended


def test_the_same_verdict_again_changes_nothing_and_another_is_refused() -> None:
    once = rate(10, 1)
    assert judged(once, name(0), FALSE) == once
    with pytest.raises(SafeguardError, match="the first verdict stands") as refused:
        judged(once, name(0), TRUE)
    assert refused.value.rule == "R17"
    with pytest.raises(SafeguardError, match="has not made"):
        judged(once, name(9), FALSE)


def test_whom_nobody_found_is_no_evidence_but_is_capped_with_the_false_ones() -> None:
    """An officer who never finds anybody cannot keep the guard quiet, nor can one mixed with false alerts."""
    most = LIMITS.false_alerts_most
    for false in (0, 1, most):
        made = rate(10_000_000, false)
        for number in range(false, most):
            made = judged(alert_made(made, name(number), WALL), name(number), NOT_FOUND)
        assert (made.false_alerts, made.not_found, made.unjudged) == (false, most - false, ())
        assert looked_at(made, LIMITS).suspended == ""
        one_more = judged(alert_made(made, name(most), WALL), name(most), NOT_FOUND)
        assert f"more than {most}" in looked_at(one_more, LIMITS).suspended
        with pytest.raises(SafeguardError, match="the first verdict stands"):
            judged(one_more, name(most), TRUE)


@pytest.mark.parametrize("choice", list(Choice))
@pytest.mark.parametrize("finding", list(Finding))
def test_only_an_officer_who_spoke_to_the_person_makes_an_alert_true(
    choice: Choice, finding: Finding
) -> None:
    standing = standing_of(classify(choice, finding))
    assert (standing is TRUE) is (finding is Finding.CONFIRMED_MATCH)
    assert (standing is NOT_FOUND) is (finding is Finding.NOT_FOUND and choice is Choice.ENGAGE)


# --- reviews ------------------------------------------------------------------------------------------------


def test_a_review_lifts_it_and_the_count_starts_anew() -> None:
    stopped = looked_at(rate(120, 3), LIMITS)
    resumed = reviewed(stopped, review(alerts=3), UNIT)
    assert (resumed.suspended, resumed.passed, resumed.false_alerts) == ("", 0, 0)
    assert not looked_at(resumed, LIMITS).suspended
    assert len(resumed.alerts) == 3


def test_alerts_under_review_do_not_come_back_as_late_or_false() -> None:
    made = alert_made(looked_at(rate(120, 3), LIMITS), name(7), WALL)
    resumed = reviewed(made, review(alerts=4), UNIT)
    late = time_passed(resumed, LIMITS, WALL + timedelta(hours=9))
    assert (late.false_alerts, late.unjudged) == (0, (name(7),))
    assert judged(late, name(7), FALSE).false_alerts == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deployment": "another-one"}, "another unit or deployment"),
        ({"unit": "unit-2"}, "another unit or deployment"),
        ({"alerts": 2}, "3 were made"),
        ({"alerts": 4}, "3 were made"),
        ({"suspension": "0" * 32}, "another suspension"),
    ],
)
def test_a_review_of_something_else_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SafeguardError, match=message) as refused:
        reviewed(looked_at(rate(120, 3), LIMITS), review(**({"alerts": 3} | changes)), UNIT)
    assert refused.value.rule == "R17"


def test_a_review_is_of_no_use_twice_nor_before() -> None:
    used = review(alerts=3)
    with pytest.raises(SafeguardError, match="nothing is suspended"):
        reviewed(rate(5000, 3), used, UNIT)
    again = reviewed(looked_at(rate(120, 3), LIMITS), used, UNIT)
    with pytest.raises(SafeguardError, match="nothing is suspended"):
        reviewed(again, used, UNIT)
    again = judged(alert_made(again, name(9), WALL), name(9), FALSE)
    again = looked_at(again, LIMITS)
    assert again.suspended
    with pytest.raises(SafeguardError, match="4 were made"):
        reviewed(again, used, UNIT)


def test_a_review_signed_before_the_suspension_was_named_lifts_nothing() -> None:
    """Every number of alerts can be signed for in advance; the name cannot be known."""
    stopped = guarded(rate(120, 3), LIMITS, "c0" * 16)
    for alerts in range(1, 80):
        with pytest.raises(SafeguardError):
            reviewed(stopped, review(alerts=alerts), UNIT)
    resumed = reviewed(stopped, review(alerts=3, suspension="c0" * 16), UNIT)
    assert (resumed.suspension, resumed.written) == ("", False)


def test_a_suspension_keeps_its_name_until_it_is_reviewed() -> None:
    stopped = looked_at(rate(120, 3), LIMITS)
    assert guarded(stopped, LIMITS, "0" * 32) == stopped
    assert guarded(rate(1, 0), LIMITS, "0" * 32).suspension == ""


# --- any sequence -------------------------------------------------------------------------------------------


class AnySequence(RuleBasedStateMachine):
    """Events in any order, over restarts; a second, slower count of the same says what must come out."""

    @initialize(most=st.integers(1, 5), confidence=st.sampled_from([0.9, 0.99, 0.999]))
    def begin(self, most: int, confidence: float) -> None:
        self.profile = profile(false_alerts_most=most, false_alert_confidence=confidence)
        self.rate = AlertRate(deployment=DEPLOYMENT)
        self.wall = WALL
        self.suspended = False
        self.used: list[RateReview] = []

    def _next(self, made: AlertRate) -> None:
        self.rate = looked_at(made, self.profile)
        assert not (self.suspended and not self.rate.suspended), "left a suspension without a review"
        self.suspended = bool(self.rate.suspended)

    @rule(people=st.integers(0, 3000))
    def people(self, people: int) -> None:
        self._next(people_passed(self.rate, people))

    @rule()
    @precondition(lambda self: len(self.rate.alerts) < 40)
    def alert(self) -> None:
        self._next(alert_made(self.rate, name(len(self.rate.alerts)), self.wall))

    @rule(which=st.integers(0, 39), standing=st.sampled_from([FALSE, TRUE, NOT_FOUND]))
    def verdict(self, which: int, standing: Standing) -> None:
        try:
            self._next(judged(self.rate, name(which), standing))
        except SafeguardError:
            known = {one.alert: one.standing for one in self.rate.alerts}
            assert known.get(name(which)) not in (Standing.AWAITED, Standing.OVERDUE)

    @rule(minutes=st.integers(0, 90))
    def time(self, minutes: int) -> None:
        self.wall += timedelta(minutes=minutes)
        self._next(time_passed(self.rate, self.profile, self.wall))

    @rule()
    def restart(self) -> None:
        kept = AlertRate.model_validate_json(self.rate.model_dump_json())
        assert kept == self.rate
        self._next(kept)

    @rule(off=st.integers(-1, 1))
    def review(self, off: int) -> None:
        alerts = len(self.rate.alerts) + off
        if alerts < 1:
            return
        signed = review(alerts=alerts)
        try:
            made = reviewed(self.rate, signed, UNIT)
        except SafeguardError:
            assert off or not self.suspended
            return
        assert off == 0
        assert self.suspended
        assert all(one.alerts != signed.alerts for one in self.used), "a review was of use twice"
        self.used.append(signed)
        self.suspended = False
        self._next(made)
        assert not self.suspended

    @invariant()
    def the_count_is_right(self) -> None:
        if not hasattr(self, "rate"):
            return
        since = self.rate.alerts[self.rate.reviewed :]
        false = [one for one in since if one.standing in (FALSE, Standing.OVERDUE)]
        assert self.rate.false_alerts == len(false)
        if len(false) + sum(one.standing is NOT_FOUND for one in since) > self.profile.false_alerts_most:
            assert self.suspended


TestAnySequence = AnySequence.TestCase
