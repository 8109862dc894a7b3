"""Verdicts in the control room: who decided what about which alert, and which are still open (R20, R29).

An alert is open from its arrival until its outcome. A unit's signed state says which verdicts it lacks, and
is answered with those that there are, as often as it asks: so none is lost, and nothing is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.desk_file import Again, DeskFile, from_desk
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import Alert, Decision, UnitState, Verdict
from edgeagent.documents.table import DECISION, REVIEW, VERDICT, Verified, sign, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.verdict import Judgement, judgement
from edgeagent.errors import SafeguardError
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.verdict import Choice, Finding, Result

ANSWER_AGAIN_NS = 10 * SECOND
SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    alert TEXT NOT NULL, unit TEXT NOT NULL, deployment TEXT NOT NULL, kind TEXT NOT NULL,
    test_subject INTEGER NOT NULL, made_at TEXT NOT NULL, decision TEXT, verdict TEXT,
    PRIMARY KEY (unit, alert)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reviews (
    unit TEXT NOT NULL, deployment TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (unit, deployment)
) WITHOUT ROWID;
"""
OPEN = (
    "INSERT OR IGNORE INTO verdicts (alert, unit, deployment, kind, test_subject, made_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
"""Opens an alert, in the transaction that takes it: none is received that nobody has to judge (R29)."""
_COLUMNS = "alert, unit, deployment, kind, test_subject, made_at, decision, verdict"


def opening(alert: Alert) -> tuple[str | bool, ...]:
    """The row of `OPEN`."""
    test_subject = alert.category is Category.TEST_SUBJECT
    return alert.alert, alert.unit, alert.deployment, alert.kind, test_subject, alert.made_at.isoformat()


@dataclass(frozen=True, slots=True)
class Known:
    """An alert that arrived, and what was said of it so far; the signed words of each person, or None."""

    alert: str
    unit: str
    deployment: str
    kind: Kind
    test_subject: bool
    made_at: datetime
    decision: str | None
    verdict: str | None

    @property
    def waits_for(self) -> str:
        """Whose turn it is."""
        return "operator" if self.decision is None else "officer" if self.verdict is None else "nobody"


@dataclass(slots=True)
class Verdicts:
    """The file of verdicts; several processes may have it open."""

    path: Path
    trust: TrustStore
    _again: Again = field(default_factory=lambda: Again(ANSWER_AGAIN_NS))

    def __enter__(self) -> Self:
        self._file.prepare(SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        pass  # the file is closed after each use

    @property
    def _file(self) -> DeskFile:
        return DeskFile(self.path)

    def open_alerts(self) -> list[Known]:
        """Alerts without an outcome, oldest first."""
        rows = self._file.run(f"SELECT {_COLUMNS} FROM verdicts WHERE verdict IS NULL ORDER BY made_at", ())  # noqa: S608
        return [_known(row) for row in rows]

    def find(self, prefix: str) -> Known:
        """The alert whose identifier begins so.

        Raises:
            SafeguardError: R20, none or more than one.
        """
        pattern = f"{prefix.lower()}%" if prefix.isalnum() else ""
        rows = self._file.run(f"SELECT {_COLUMNS} FROM verdicts WHERE alert LIKE ? LIMIT 2", (pattern,))  # noqa: S608
        if len(rows) != 1:
            what = "is the beginning of several alerts" if rows else "is no alert that arrived here"
            raise _refuse(what, prefix[:40], "edgeagent alerts open lists them", "R20")
        return _known(rows[0])

    def decide(self, alert: Known, choice: Choice, operator: Identity, now: Instant) -> None:
        """Keep the operator's signed decision; a rejection ends the alert.

        Raises:
            DocumentError: the key does not count.
            SafeguardError: R20, decided before.
        """
        said = Decision(
            alert=alert.alert,
            kind=alert.kind,
            unit=alert.unit,
            deployment=alert.deployment,
            test_subject=alert.test_subject,
            choice=choice,
            made_at=alert.made_at,
            decided_at=max(now.wall, alert.made_at),
        )
        token = sign(DECISION, said, operator)
        verify(DECISION, token, self.trust, now)
        ended = None
        if choice is Choice.REJECT:
            ended = self._ended(token, Finding.NOT_ENGAGED, Result.NO_ACTION, operator, now)
        changed = self._file.run(
            "UPDATE verdicts SET decision = ?, verdict = ? WHERE unit = ? AND alert = ? AND decision IS NULL "
            "RETURNING 1",
            (token.decode(), ended, alert.unit, alert.alert),
        )
        if not changed:
            raise _refuse("is decided already", alert.alert, "the first decision stands", "R20")

    def conclude(
        self, alert: Known, finding: Finding, outcome: Result, officer: Identity, now: Instant
    ) -> Judgement:
        """Keep the officer's signed verdict on an alert that an operator decided to engage on.

        Raises:
            DocumentError: the key does not count, or is not an officer's.
            SafeguardError: R21, no decision yet, rejected, one person in both parts; R29.
        """
        if alert.decision is None:
            raise _refuse("has no operator's decision yet", alert.alert, "an operator decides first", "R21")
        if alert.verdict is not None:
            raise _refuse("has its outcome already", alert.alert, "the first verdict stands", "R21")
        ended = self._ended(alert.decision.encode(), finding, outcome, officer, now)
        changed = self._file.run(
            "UPDATE verdicts SET verdict = ? WHERE unit = ? AND alert = ? AND verdict IS NULL RETURNING 1",
            (ended, alert.unit, alert.alert),
        )
        if not changed:
            raise _refuse("has its outcome already", alert.alert, "the first verdict stands", "R21")
        return judgement(verify(VERDICT, ended.encode(), self.trust, now), self.trust, now)

    def _ended(
        self, decision: bytes, finding: Finding, outcome: Result, signer: Identity, now: Instant
    ) -> str:
        at = max(now.wall, verify(DECISION, decision, self.trust, now).body.decided_at)
        said = Verdict(decision=decision.decode(), finding=finding, outcome=outcome, concluded_at=at)
        token = sign(VERDICT, said, signer)
        judgement(verify(VERDICT, token, self.trust, now), self.trust, now)  # as the unit will
        return token.decode()

    def submit(self, document: bytes, now: Instant) -> Verified[RateReview]:
        """Keep a signed review for the unit that it names.

        Raises:
            DocumentError: it does not verify.
        """
        review = verify(REVIEW, document, self.trust, now)
        said = review.body
        self._file.run(
            "INSERT OR REPLACE INTO reviews (unit, deployment, document) VALUES (?, ?, ?)",
            (said.unit, said.deployment, document.decode()),
        )
        return review

    def answers(self, state: UnitState, now: Instant) -> list[tuple[str, bytes]]:
        """Topics and messages that answer a unit's verified state: verdicts and the review that it lacks."""
        if state.rate is None or state.deployment is None:
            return []
        topics, found = Topics(state.unit, bench=state.kind is Kind.BENCH), []
        for alert in state.rate.unjudged:
            rows = self._file.run(
                "SELECT verdict FROM verdicts WHERE unit = ? AND alert = ? AND deployment = ?",
                (state.unit, alert, state.deployment),
            )
            if rows and rows[0][0] is not None and self._again.due(f"{state.unit} {alert}", now):
                found.append((topics.verdict, from_desk("verdict", rows[0][0], alert, now)))
        if state.rate.suspended:
            rows = self._file.run(
                "SELECT document FROM reviews WHERE unit = ? AND deployment = ?",
                (state.unit, state.deployment),
            )
            if rows and self._again.due(f"{state.unit} review", now):
                found.append((topics.review, from_desk("review", rows[0][0], state.deployment, now)))
        return found


def _known(row: tuple[Any, ...]) -> Known:
    alert, unit, deployment, kind, test_subject, made_at, decision, verdict = row
    at = datetime.fromisoformat(made_at)
    return Known(alert, unit, deployment, Kind(kind), bool(test_subject), at, decision, verdict)


def _refuse(what: str, where: str, next_step: str, rule: str) -> SafeguardError:
    return SafeguardError(what, where=where, next_step=next_step, rule=rule)
