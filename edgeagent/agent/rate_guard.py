"""The unit's guard of its own false alert rate: what it decides is pure, this keeps it over restarts (R17).

One file a deployment, written all or nothing at every alert, verdict, suspension and review, and each minute
for the people who passed: what a power cut takes of them makes the rate look higher, never lower.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeagent.documents.keys import Role
from edgeagent.documents.messages import Rate
from edgeagent.documents.parse import parse
from edgeagent.documents.table import Verified
from edgeagent.documents.verdict import Judgement
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.alert_rate import (
    AlertRate,
    RateReview,
    alert_made,
    guarded,
    judged,
    people_passed,
    reviewed,
    standing_of,
    time_passed,
)
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.gate import Event, MatchingReviewed, MatchingSuspended, Why
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.people import all_differ
from edgeagent.safeguards.profile import Profile
from edgeagent.system.files import read_bounded, write_atomic

FOLDER = "alert-rate"
LIMIT = 16_000_000
LOOK_EVERY_NS = SECOND
SAVE_EVERY_NS = 60 * SECOND
ASKED_AT_ONCE = 16


def rate_file(data: Path, deployment: str) -> Path:
    """Where the guard keeps its count; a deployment's name cannot lead out of the folder."""
    return data / FOLDER / f"{AlertRate(deployment=deployment).deployment}.json"


def rate_files(data: Path) -> list[Path]:
    """The counts of all deployments that were in use here and have not ended."""
    return sorted((data / FOLDER).glob("*.json"))


@dataclass(slots=True)
class RateGuard:
    """Counts for the deployment in use; every method returns what the gate must learn, mostly nothing."""

    unit: str
    profile: Profile
    data: Path
    rate: AlertRate | None = None
    _kind: Kind = Kind.LIVE
    _over: bool = False
    _saved: AlertRate | None = None
    _look_at_ns: int = 0
    _save_at_ns: int = 0
    _asked: int = 0

    def open(self, authority: Authority) -> tuple[Event, ...]:
        """Take up the count of this deployment where the last start of the daemon left it.

        Raises:
            DocumentError: a file is damaged; matching does not start on a count that nobody knows.
            SafeguardError: R17, another deployment is suspended here; a new one must not shed that.
        """
        file = rate_file(self.data, authority.deployment)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rate = AlertRate(deployment=authority.deployment)
        if file.exists():
            rate = parse(AlertRate, read_bounded(file, LIMIT), str(file))
            if rate.deployment != authority.deployment:
                raise DocumentError("is another deployment's", where=str(file), next_step="deploy anew")
        for other in sorted(set(rate_files(self.data)) - {file}):
            _not_suspended(parse(AlertRate, read_bounded(other, LIMIT), str(other)))
        self.rate, self._kind, self._saved, self._over = None, authority.kind, None, False
        events = self._next(rate)
        return (MatchingSuspended(Why("R17", rate.suspended)),) if rate.suspended else events

    def passed(self, people: int) -> None:
        """So many people passed since the last call; kept in memory until the next `look`."""
        if self.rate is not None:
            self.rate = people_passed(self.rate, people)

    def made(self, alert: str, at: datetime) -> None:
        """An alert is about to be handed to the outbox."""
        if self.rate is not None:
            self._next(alert_made(self.rate, alert, at))

    def judge(self, judgement: Judgement, write: Callable[[], None]) -> tuple[Event, ...]:
        """Two people's verdict; `write` puts it into the audit log if it is news, before it is kept (R25).

        Raises:
            SafeguardError: R17, not about an alert that this deployment made here, or judged before.
            AuditError: R25, it could not be written; nothing has changed.
        """
        said = judgement.decision
        rate = self._rate_of(said.unit, said.deployment)
        if said.kind is not self._kind:
            raise _elsewhere("verdict")  # R33
        after = judged(rate, said.alert, standing_of(judgement.was))
        if after != rate:
            write()
        return self._next(after)

    def review(self, review: Verified[RateReview], write: Callable[[], None]) -> tuple[Event, ...]:
        """A signed review; on a bench no independent signature is asked for, as for its authority.

        `write` puts it into the audit log before the suspension is lifted (R25).

        Raises:
            SafeguardError: R17, not about this suspension; R27, a second signature lacks.
            AuditError: R25, it could not be written; matching stays suspended.
        """
        rate = self._rate_of(review.body.unit, review.body.deployment)
        approval_of_review(review, self.profile, self._kind)
        after = reviewed(rate, review.body, self.unit)
        write()
        return (*self._next(after), MatchingReviewed())

    def unwritten(self) -> Rate | None:
        """The report of a suspension that the audit log has no line about, perhaps since before a crash."""
        rate = self.rate
        return self.report() if rate is not None and rate.suspended and not rate.written else None

    def wrote(self) -> None:
        """The audit log has the suspension's line."""
        if self.rate is not None:
            self._next(self.rate.model_copy(update={"written": True}))

    def look(self, now: Instant, *, trusted: bool) -> tuple[Event, ...]:
        """Once a second: alerts that wait too long, by a clock that is vouched for; the count to disk."""
        if self.rate is None or self._over or now.monotonic_ns < self._look_at_ns:
            return ()
        self._look_at_ns = now.monotonic_ns + LOOK_EVERY_NS
        if now.monotonic_ns >= self._save_at_ns:
            self._save_at_ns = now.monotonic_ns + SAVE_EVERY_NS
            self._save(self.rate)
        return self._next(time_passed(self.rate, self.profile, now.wall)) if trusted else ()

    def end(self) -> None:
        """The deployment is over for good; verdicts are still taken, but nothing is kept of them here."""
        self._over = True

    def report(self) -> Rate | None:
        """For the unit's state, with the next few alerts whose verdict is asked for."""
        rate = self.rate
        if rate is None:
            return None
        open_ = rate.unjudged
        start = self._asked % len(open_) if open_ else 0
        self._asked = start + ASKED_AT_ONCE
        return Rate(
            passed=rate.passed,
            alerts=len(rate.alerts),
            false_alerts=rate.false_alerts,
            awaiting=len(open_),
            bound=rate.bound(self.profile),
            limit=self.profile.false_alert_limit,
            suspended=bool(rate.suspended),
            suspension=rate.suspension,
            unjudged=(*open_[start:], *open_[:start])[:ASKED_AT_ONCE],
        )

    def _rate_of(self, unit: str, deployment: str) -> AlertRate:
        if self.rate is None or (unit, deployment) != (self.unit, self.rate.deployment):
            raise _elsewhere("verdict or review")
        return self.rate

    def _next(self, rate: AlertRate) -> tuple[Event, ...]:
        """Guarded, and on disk before anybody is told."""
        name = secrets.token_hex(16)  # nobody can sign a review before it is drawn
        before, after = self.rate, rate if self._over else guarded(rate, self.profile, name)
        if self._saved is None or after.model_copy(update={"passed": 0}) != self._saved:
            self._save(after)
        self.rate = after
        if after.suspended and not (before or rate).suspended:
            return (MatchingSuspended(Why("R17", after.suspended)),)
        return ()

    def _save(self, rate: AlertRate) -> None:
        if not self._over:
            write_atomic(rate_file(self.data, rate.deployment), rate.model_dump_json().encode(), mode=0o600)
        self._saved = rate.model_copy(update={"passed": 0})


def approval_of_review(review: Verified[RateReview], profile: Profile, kind: Kind) -> None:
    """Refuse a review without the independent signature that it needs (R27).

    Raises:
        SafeguardError: R27 without one, or of one person.
    """
    needed = profile.independent_approval and kind is Kind.LIVE
    if needed and not review.signed_by(Role.INDEPENDENT_APPROVER):
        raise SafeguardError(
            "lacks the independent approver's signature",
            where="review",
            next_step="have it approved with: edgeagent rate approve",
            rule="R27",
        )
    if not all_differ(key.name for key in review.signers):
        raise SafeguardError(
            "is approved by the person who signed it",
            where="review",
            next_step="have somebody else approve it",
            rule="R27",
        )


def _not_suspended(other: AlertRate) -> None:
    if other.suspended:
        raise SafeguardError(
            f"deployment {other.deployment} is suspended on this unit",
            where="false alert rate",
            next_step="install it again and have it reviewed, or have it revoked; or wait for its end",
            rule="R17",
        )


def _elsewhere(what: str) -> SafeguardError:
    return SafeguardError(
        "is about another unit, deployment or kind", where=what, next_step="check the address", rule="R17"
    )
