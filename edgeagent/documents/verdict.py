"""Two people's signed words about one alert, put together and checked (R20, R21, R29)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from edgeagent.documents.keys import Role
from edgeagent.documents.messages import Decision, Verdict
from edgeagent.documents.table import DECISION, Verified, verify
from edgeagent.documents.trust import TrustedKey, TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.verdict import Choice, Class, classify, consistent, two_people


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict that holds.

    Attributes:
        officer: who signed the verdict; None where the operator rejected, since nobody was engaged.
    """

    decision: Decision
    verdict: Verdict
    operator: TrustedKey
    officer: TrustedKey | None

    @property
    def was(self) -> Class:
        """True or false, confirmed or not."""
        return classify(self.decision.choice, self.verdict.finding)


def judgement(verdict: Verified[Verdict], trust: TrustStore, now: Instant) -> Judgement:
    """The judgement that a verified verdict amounts to.

    1. The operator's decision inside, with its own signature. 2. Who may end it: the same operator a
    rejection, another person who is an officer an engagement. 3. That it can have happened, in that order.

    Raises:
        DocumentError: the decision does not verify, or the wrong role ended it.
        SafeguardError: R21 one person in both parts; R21, R29 it cannot have happened.
    """
    body, signer = verdict.body, verdict.signers[0]
    decided = verify(DECISION, body.decision.encode(), trust, now)
    operator, decision = decided.signers[0], decided.body
    rejected = decision.choice is Choice.REJECT
    wanted = Role.OPERATOR if rejected else Role.OFFICER
    if signer.role is not wanted or (rejected and signer.kid != operator.kid):
        who = "the operator who rejected it" if rejected else "an officer"
        raise DocumentError(
            f"is not signed by {who}", where="verdict", next_step="have the right person sign"
        )
    if not rejected:
        two_people(operator.name, signer.name)
    consistent(decision.choice, body.finding, body.outcome)
    latest = now.wall + timedelta(seconds=trust.profile.clock_skew_s)
    if not decision.made_at <= decision.decided_at <= body.concluded_at <= latest:
        raise DocumentError(
            "says times that cannot be", where="verdict", next_step="check the clocks of unit and desk"
        )
    return Judgement(decision, body, operator, None if rejected else signer)
