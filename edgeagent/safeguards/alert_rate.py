"""How often alerts are wrong, and when that stops matching (R17). Pure: counts in, a decision out.

The rate is false alerts over people who passed. Matching is suspended as soon as the *lower* bound of that
rate's Clopper-Pearson interval is above the limit: then the rate is too high beyond reasonable doubt. (The
upper bound would suspend at once, when nobody has passed yet.) The bound can only rise at a false alert, so
it is looked at once for each; how much those repeated looks cost is measured by `make alert-rate`.

An alert whose verdict does not come in time counts as false: nobody stood up for it. One whose person nobody
found is neither true nor false and not part of the rate, but the cap on false alerts is for both together.
Alerts about test subjects count like others: a false one was about a passer-by (R32). A suspension stays
until a signed review, whatever is judged later, and the count starts anew with the review.

Protects against: going on while alerts are wrong; a restart, a lease or an authority lifting that; verdicts
that are withheld or say nothing; a review used twice or signed before the suspension, whose random name it
must repeat. Does not protect against: an operator who signs what is not true.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import DeploymentId, UnitName
from edgeagent.safeguards.binomial import clopper_pearson
from edgeagent.safeguards.profile import Profile, StrictModel
from edgeagent.safeguards.verdict import Class

AlertId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SuspensionId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
_NEEDED = "a signed review is needed"


class Standing(StrEnum):
    """What is known of an alert."""

    AWAITED = "awaited"
    OVERDUE = "overdue"
    TRUE = "true"
    FALSE = "false"
    NOT_FOUND = "not_found"


class MadeAlert(StrictModel):
    """One alert of this deployment."""

    alert: AlertId
    made_at: AwareDatetime
    standing: Standing = Standing.AWAITED


class AlertRate(StrictModel):
    """Everything the guard knows of one deployment on one unit; the functions below make the next one.

    Attributes:
        passed: people who passed since the last review.
        alerts: every alert of the deployment, in the order in which they were made.
        reviewed: how many of them the last review has dealt with.
        suspended: why matching is suspended; empty while it is not.
        suspension: random name of that suspension, drawn when it began.
        written: the audit log has its line.
    """

    deployment: DeploymentId
    passed: Count = 0
    alerts: tuple[MadeAlert, ...] = ()
    reviewed: Count = 0
    suspended: Annotated[str, Field(max_length=300)] = ""
    suspension: SuspensionId | Literal[""] = ""
    written: bool = False

    @property
    def counted(self) -> tuple[MadeAlert, ...]:
        """Alerts since the last review."""
        return self.alerts[self.reviewed :]

    @property
    def false_alerts(self) -> int:
        """Those judged false, and those that nobody judged in time."""
        return sum(alert.standing in (Standing.FALSE, Standing.OVERDUE) for alert in self.counted)

    @property
    def overdue(self) -> int:
        """Those among them that nobody judged in time."""
        return sum(alert.standing is Standing.OVERDUE for alert in self.counted)

    @property
    def not_found(self) -> int:
        """Those whose person nobody found: no evidence either way."""
        return sum(alert.standing is Standing.NOT_FOUND for alert in self.counted)

    @property
    def unjudged(self) -> tuple[AlertId, ...]:
        """Every alert whose verdict has not come, the late ones too."""
        open_ = (Standing.AWAITED, Standing.OVERDUE)
        return tuple(alert.alert for alert in self.alerts if alert.standing in open_)

    def bound(self, profile: Profile) -> float:
        """The rate that is surely exceeded, at the profile's one-sided confidence; 0 without false alerts."""
        false, confidence = self.false_alerts, 2 * profile.false_alert_confidence - 1
        return clopper_pearson(false, max(self.passed, false), confidence).low


class RateReview(StrictModel):
    """An authorising officer's word that a suspension was looked into and matching may go on.

    Attributes:
        alerts: how many alerts the unit had made.
        suspension: random name of the suspension, in the unit's state; nobody knows it before (R17).
        reason: what was found and changed.
    """

    unit: UnitName
    deployment: DeploymentId
    alerts: Annotated[int, Field(ge=1, le=2**53)]
    suspension: SuspensionId
    reviewed_at: AwareDatetime
    reason: Annotated[str, Field(min_length=20, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]


def people_passed(rate: AlertRate, people: int) -> AlertRate:
    """So many more people passed and could have been matched."""
    return rate.model_copy(update={"passed": rate.passed + people}) if people else rate


def alert_made(rate: AlertRate, alert: str, at: datetime) -> AlertRate:
    """An alert was made and waits for its verdict."""
    return rate.model_copy(update={"alerts": (*rate.alerts, MadeAlert(alert=alert, made_at=at))})


def standing_of(was: Class) -> Standing:
    """What a verdict is to the guard; the published records call one without evidence true, this does not."""
    if was is Class.TRUE_UNCONFIRMED:
        return Standing.NOT_FOUND
    return Standing.FALSE if was.is_false else Standing.TRUE


def judged(rate: AlertRate, alert: str, standing: Standing) -> AlertRate:
    """A verdict came; the same one again changes nothing.

    Raises:
        SafeguardError: R17, no such alert, or it has another verdict already.
    """
    known = next((one for one in rate.alerts if one.alert == alert), None)
    if known is None:
        raise _refuse(
            "is about an alert that this deployment has not made", "verdict", "find out who sent it"
        )
    if known.standing not in (Standing.AWAITED, Standing.OVERDUE):
        if known.standing is not standing:
            raise _refuse(f"was judged {known.standing} before", "verdict", "the first verdict stands")
        return rate
    return _standing(rate, {alert: standing})


def time_passed(rate: AlertRate, profile: Profile, wall: datetime) -> AlertRate:
    """Alerts that have waited too long for a verdict count as false; `wall` must be vouched for."""
    since = wall - timedelta(seconds=profile.verdict_within_s)
    late = [one.alert for one in rate.alerts if one.standing is Standing.AWAITED and one.made_at <= since]
    return _standing(rate, dict.fromkeys(late, Standing.OVERDUE)) if late else rate


def guarded(rate: AlertRate, profile: Profile, name: SuspensionId) -> AlertRate:
    """The same, suspended by this random name if it has to be; only `reviewed` undoes that."""
    why = "" if rate.suspended else _too_many(rate, profile)
    return rate.model_copy(update={"suspended": why, "suspension": name}) if why else rate


def reviewed(rate: AlertRate, review: RateReview, unit: str) -> AlertRate:
    """The count starts anew: the alerts so far are dealt with, and nobody has passed yet.

    Raises:
        SafeguardError: R17, not about this suspension.
    """
    if (review.unit, review.deployment) != (unit, rate.deployment):
        raise _refuse("is about another unit or deployment", "review", "check the address")
    if not rate.suspended:
        raise _refuse("comes while nothing is suspended", "review", "sign it after a suspension")
    if review.alerts != len(rate.alerts):
        what = f"is about the first {review.alerts} alerts, {len(rate.alerts)} were made"
        raise _refuse(what, "review field alerts", "look at all of them, then sign anew")
    if review.suspension != rate.suspension:
        next_step = "take it from the unit's state, look into it, then sign anew"
        raise _refuse("is about another suspension", "review field suspension", next_step)
    anew = {"suspended": "", "suspension": "", "written": False, "passed": 0, "reviewed": len(rate.alerts)}
    return rate.model_copy(update=anew)


def _too_many(rate: AlertRate, profile: Profile) -> str:
    false, late = rate.false_alerts, rate.overdue
    count = f"{false} false alerts, {late} of them without a verdict in time; {rate.passed} people passed"
    if false > profile.false_alerts_most:
        return f"{count}: more than {profile.false_alerts_most}, whatever the rate; {_NEEDED}"
    if false + rate.not_found > profile.false_alerts_most:
        with_them = f"with {rate.not_found} whom nobody found"
        return f"{count}: {with_them} more than {profile.false_alerts_most}; {_NEEDED}"
    if late > profile.overdue_alerts_most:  # R29
        return f"{count}: more than {profile.overdue_alerts_most} without a verdict; {_NEEDED}"
    bound, sure = rate.bound(profile), profile.false_alert_confidence
    if bound > profile.false_alert_limit:
        above = f"above {bound:.2g} at {sure:.2%} confidence, limit {profile.false_alert_limit:g}"
        return f"{count}: {above}; {_NEEDED}"
    return ""


def _standing(rate: AlertRate, changes: dict[str, Standing]) -> AlertRate:
    alerts = tuple(
        one.model_copy(update={"standing": changes[one.alert]}) if one.alert in changes else one
        for one in rate.alerts
    )
    return rate.model_copy(update={"alerts": alerts})


def _refuse(what: str, where: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where=where, next_step=next_step, rule="R17")
