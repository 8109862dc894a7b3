"""The daemon's own things as the audit log says them: without names of entries, without pictures."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from edgeagent.audit.events import AlertMade, DeploymentLoaded, Judged, RateSuspended, Signer
from edgeagent.documents.messages import Alert, Rate
from edgeagent.documents.trust import TrustedKey
from edgeagent.documents.verdict import Judgement

if TYPE_CHECKING:
    from edgeagent.agent.deployment import Deployment


def signer_of(key: TrustedKey) -> Signer:
    """Who signed."""
    return Signer(name=key.name, role=key.role, kid=key.kid)


def alert_made(alert: Alert, age: timedelta) -> AlertMade:
    """An alert by its category; the entry would say who was there. `age` is that of its frame."""
    return AlertMade(
        alert=alert.alert,
        category=alert.category,
        score=alert.score,
        threshold=alert.threshold,
        capture_to_alert_ms=max(age.total_seconds() * 1000, 0.0),
    )


def judged(said: Judgement) -> Judged:
    """What two people made of an alert; who ended it is the officer, or the operator who rejected it."""
    decision, verdict = said.decision, said.verdict
    return Judged(
        alert=decision.alert,
        test_subject=decision.test_subject,
        operator=decision.choice.value,
        officer=verdict.finding.value,
        outcome=verdict.outcome.value,
        decision_s=min((decision.decided_at - decision.made_at).total_seconds(), 86_400.0),
        signer=signer_of(said.officer or said.operator),
    )


def rate_suspended(rate: Rate) -> RateSuspended:
    """The figures for which matching was suspended."""
    return RateSuspended(
        false_alerts=rate.false_alerts, passed=rate.passed, bound=rate.bound, limit=rate.limit
    )


def deployment_loaded(deployment: Deployment) -> DeploymentLoaded:
    """What is taken into use, and who signed it."""
    authority, manifest = deployment.authority, deployment.manifest
    certificate = deployment.papers.certificate
    return DeploymentLoaded(
        kind=authority.kind,
        deployment=authority.deployment,
        site=authority.site,
        use_case=authority.use_case,
        urgent=authority.urgent,
        start=authority.start,
        end=authority.end,
        authority_sha256=deployment.sha256,
        watchlist_sha256=authority.watchlist_sha256,
        model_pack_sha256=authority.model_pack_sha256,
        certificate_sha256=hashlib.sha256(certificate).hexdigest() if certificate else None,
        threshold=authority.threshold,
        margin=authority.margin,
        agreeing_frames=authority.agreeing_frames,
        retention_h=authority.retention_h,
        entries=manifest.entries,
        counts=dict(manifest.counts),
        under_18=manifest.under_18,
        signers=tuple(signer_of(key) for key in deployment.signers),
    )
