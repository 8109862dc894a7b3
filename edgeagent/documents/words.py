"""What each kind of document says, label by label, in words for a supervisor or a lawyer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from edgeagent.audit.checkpoint import Checkpoint
from edgeagent.documents.deployment_key import DeploymentKey
from edgeagent.documents.deployment_return import DeploymentReturn
from edgeagent.documents.enrol_approval import Enrolment
from edgeagent.documents.health import Health
from edgeagent.documents.messages import Alert, Decision, Rate, Receipt, Revocation, UnitState, Verdict
from edgeagent.documents.trust import TrustStoreContent
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.binomial import clopper_pearson
from edgeagent.safeguards.certificate import (
    Certificate,
    Floor,
    GroupResult,
    group_findings,
)
from edgeagent.safeguards.lease import Lease
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.watchlist import Manifest, needs_approval

Lines = list[tuple[str, str]]
"""Label and text, in the order in which a person wants to know them."""


def moment(at: datetime, now: datetime) -> str:
    """A time in words, and how far it is from now."""
    seconds = (at - now).total_seconds()
    distance = span(abs(seconds))
    away = "now" if abs(seconds) < 1 else f"in {distance}" if seconds > 0 else f"{distance} ago"
    utc = at.astimezone(now.tzinfo)
    return f"{utc:%A} {utc.day} {utc:%B %Y, %H:%M:%S} UTC ({away})"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(whole.days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)


def plain(text: str) -> str:
    """Text that somebody chose, safe to show: nothing that moves the cursor or hides."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _words(value: str) -> str:
    return value.replace("_", " ")


def _digest(value: str) -> str:
    return f"{value[:16]}… (SHA-256)"


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


# --- what each says -----------------------------------------------------------------------------------------


def says(body: StrictModel, now: datetime) -> Lines:
    """What a document says, label by label, in plain words."""
    for model, describe in _DESCRIPTIONS:
        if isinstance(body, model):
            return [(label, plain(text)) for label, text in describe(body, now)]
    raise TypeError(f"no description of {type(body).__name__}")


def _authority(body: Authority, now: datetime) -> Lines:
    bench = "a bench: generated or recorded pictures of test subjects, no camera"
    return [
        ("kind", "live: a camera in a public place" if body.kind is Kind.LIVE else bench),
        ("deployment", f"{body.deployment}, authority number {body.sequence}"),
        ("where", body.site),
        ("units", ", ".join(body.units)),
        ("what for", _words(body.use_case)),
        ("necessity", body.necessity),
        ("proportionality", body.proportionality),
        ("assembly or protest", "YES (refused)" if body.is_assembly_or_protest else "no"),
        ("signs are up", _yes(body.signage_confirmed)),
        ("urgent", "yes" if body.urgent else "no"),
        ("signed at", moment(body.issued_at, now)),
        ("from", moment(body.start, now)),
        ("until", f"{moment(body.end, now)}: {span((body.end - body.start).total_seconds())} in all"),
        ("watchlist", _digest(body.watchlist_sha256)),
        ("model pack", _digest(body.model_pack_sha256)),
        (
            "threshold",
            f"{body.threshold:g} (cosine similarity), {body.margin:g} above the next person, "
            f"in {body.agreeing_frames} frames",
        ),
        (
            "alerts",
            f"dropped if not delivered in {span(body.alert_ttl_s)}; the same person again after "
            f"{span(body.realert_s)}; kept at most {body.retention_h:g} h",
        ),
        ("lease", f"camera closes {span(body.lease_max_s)} or less after the last lease"),
        ("pictures are sealed to", f"the key {body.alert_key.x[:12]}…"),
    ]


def _manifest(body: Manifest, now: datetime) -> Lines:
    counts = ", ".join(f"{number} {_words(category)}" for category, number in sorted(body.counts.items()))
    approval = "yes" if needs_approval(body) else "no"
    return [
        ("deployment", f"{body.deployment}, list number {body.sequence}"),
        ("entries", f"{body.entries}: {counts}"),
        ("under 18", str(body.under_18) if body.under_18 else "none"),
        ("needs an approver", approval),
        (
            "lawful retention",
            "attested for every entry" if body.lawful_retention_attested else "NOT attested",
        ),
        ("made", moment(body.created_at, now)),
        ("valid from", moment(body.not_before, now)),
        ("valid until", moment(body.not_after, now)),
        ("model pack", _digest(body.model_pack_sha256)),
        ("sealed to", ", ".join(sealed.unit for sealed in body.sealed_keys)),
        ("who is listed", "sealed; not opened"),
    ]


def _certificate(body: Certificate, now: datetime) -> Lines:
    return [
        ("model pack", _digest(body.model_pack_sha256)),
        ("issued", moment(body.issued_at, now)),
        ("expires", moment(body.expires_at, now)),
        *((f"lists up to {floor.entries}", _floor(floor, body.confidence)) for floor in body.floors),
        ("longer lists", "not covered"),
        ("measured on", f"{body.dataset}; {body.people:,} people"),
        ("left out by hand", _excluded(body)),
        ("measured with", f"{body.runtime}, on {body.machine}; seed {body.seed}"),
        *(("groups", finding) for finding in group_findings(body)),
        *((f"group {group.label}", _group(group, body.confidence)) for group in body.groups_tested),
        ("report", _digest(body.report_sha256)),
    ]


def _excluded(body: Certificate) -> str:
    """Pictures that the evaluator's own list took out; never left unsaid."""
    left = body.excluded
    return f"{left.pictures:,} pictures of {left.people:,} people" if left.pictures else "nothing"


def _floor(floor: Floor, confidence: float) -> str:
    found = "" if floor.tpir is None else f"; found: {floor.tpir:.1%} of {floor.sought:,} who were listed"
    return (
        f"threshold at least {floor.threshold:g}: a false alert for at most {floor.fpir * 100:.3g} % of "
        f"those not listed ({floor.falsely_matched:,} of {floor.people:,}, {confidence:.0%} interval){found}"
    )


def _group(group: GroupResult, confidence: float) -> str:
    most = clopper_pearson(group.falsely_matched, group.people, confidence).high
    return (
        f"{group.falsely_matched:,} of {group.people:,} people falsely matched: at most {most:.2%}; "
        f"{group.tpir:.1%} of {group.sought:,} who were listed were found; "
        f"no face to compare in {group.failure_to_acquire:.1%} of their pictures"
    )


def _revocation(body: Revocation, now: datetime) -> Lines:
    return [
        ("deployment", f"{body.deployment} is over, for good"),
        ("units", ", ".join(body.units)),
        ("signed at", moment(body.issued_at, now)),
        ("reason", body.reason),
    ]


def _lease(body: Lease, now: datetime) -> Lines:
    release = "0 s: releases the camera at once"
    return [
        ("unit", body.unit),
        ("deployment", body.deployment),
        ("officers on the ground", str(body.officers)),
        ("length", span(body.duration_s) if body.duration_s else release),
        ("signed at", moment(body.issued_at, now)),
        ("number", f"{body.sequence}, in answer to challenge {body.challenge}"),
    ]


def _receipt(body: Receipt, now: datetime) -> Lines:
    return [("alert", body.alert), ("unit", body.unit), ("received", moment(body.received_at, now))]


def _alert(body: Alert, now: datetime) -> Lines:
    test = "a TEST on a bench: nobody was filmed"
    return [
        ("kind", "live" if body.kind is Kind.LIVE else test),
        ("alert", body.alert),
        ("unit", body.unit),
        ("deployment", body.deployment),
        ("list's entry", f"{body.entry} ({_words(body.category)}); only the control room knows who it is"),
        (
            "similarity",
            f"{body.score:.2f} when decided, {body.best_score:.2f} at best; threshold {body.threshold:g}, "
            f"{body.agreeing_frames} frames agreed",
        ),
        ("seen", moment(body.captured_at, now)),
        ("made", moment(body.made_at, now)),
        ("expires", moment(body.expires_at, now)),
        ("under lease", f"number {body.lease_sequence}"),
        ("authority", _digest(body.authority_sha256)),
        ("watchlist", _digest(body.watchlist_sha256)),
        ("picture", f"sealed ({len(body.crop) * 3 // 4:,} octets); not opened"),
        ("what to do", "nothing by itself: an operator decides, then an officer"),
    ]


def _state(body: UnitState, now: datetime) -> Lines:
    faces, alerts = body.faces, body.alerts
    why = f"{body.reason} [{body.rule}]" if body.rule else body.reason
    return [
        ("unit", f"{body.unit}, start {body.boot}, message {body.sequence}"),
        ("at", moment(body.at, now)),
        ("state", f"{body.state}: {why}"),
        ("problem", body.problem or "none"),
        ("deployment", f"{body.deployment} ({body.kind})" if body.deployment else "none"),
        ("camera", f"{body.camera}; buffers {'wiped' if body.buffers_wiped else 'in use'}"),
        (
            "faces",
            f"{faces.processed} processed, {faces.deleted} deleted, {faces.in_live_alerts} in live alerts",
        ),
        (
            "alerts",
            f"{alerts.made} made, {alerts.pending} pending, {alerts.received} received, "
            f"{alerts.expired} expired, {alerts.displaced} displaced, {alerts.discarded} discarded",
        ),
        ("false alert rate", "no deployment" if body.rate is None else _rate(body.rate)),
        ("audit log", f"line {body.audit_sequence}, {_digest(body.audit_sha256)}"),
        ("asks for a lease", f"yes, challenge {body.challenge}" if body.challenge else "no"),
    ]


def _health(body: Health, now: datetime) -> Lines:
    """Every number that is known, by the name of its field."""
    said = body.model_dump(mode="json", exclude={"unit", "boot", "sequence", "at"}, exclude_none=True)
    numbers = [(name.replace("_", " "), str(value)) for name, value in said.items()]
    return [
        ("unit", f"{body.unit}, start {body.boot}, health message {body.sequence}"),
        ("at", moment(body.at, now)),
        *numbers,
    ]


def _rate(rate: Rate) -> str:
    """How the guard of the false alert rate stands (R17)."""
    return (
        f"{'SUSPENDED; ' if rate.suspended else ''}{rate.false_alerts} false or overdue of {rate.alerts} "
        f"alerts, {rate.awaiting} awaiting a verdict, {rate.passed} people passed; surely above "
        f"{rate.bound:.2g}, limit {rate.limit:g}"
    )


def _decision(body: Decision, now: datetime) -> Lines:
    return [
        ("kind", "live" if body.kind is Kind.LIVE else "a TEST on a bench"),
        ("alert", f"{body.alert} of {body.unit}, deployment {body.deployment}"),
        ("operator decided", body.choice),
        ("about a test subject", "yes" if body.test_subject else "no"),
        ("alert made", moment(body.made_at, now)),
        ("decided", moment(body.decided_at, now)),
    ]


def _verdict(body: Verdict, now: datetime) -> Lines:
    return [
        ("finding", _words(body.finding)),
        ("outcome", _words(body.outcome)),
        ("concluded", moment(body.concluded_at, now)),
        ("operator's decision", "signed, inside; verify it by itself to read it"),
    ]


def _review(body: RateReview, now: datetime) -> Lines:
    return [
        ("unit", body.unit),
        ("deployment", body.deployment),
        ("covers", f"the first {body.alerts} alerts"),
        ("suspension", body.suspension),
        ("signed at", moment(body.reviewed_at, now)),
        ("reason", body.reason),
    ]


def _checkpoint(body: Checkpoint, now: datetime) -> Lines:
    return [
        ("unit", f"{body.unit}, start {body.boot}"),
        ("at", moment(body.at, now) + ("" if body.clock_trusted else ", by a clock that nobody vouched for")),
        ("vouches for", f"its audit log up to line {body.sequence}, {_digest(body.sha256)}"),
        ("checkpoint before", _digest(body.previous) if body.previous.strip("0") else "none"),
    ]


def _deployment_return(body: DeploymentReturn, now: datetime) -> Lines:
    hours = "as the leases say" if body.officer_hours is None else f"{body.officer_hours:g} h"
    return [
        ("deployment", body.deployment),
        ("signed at", moment(body.issued_at, now)),
        ("test subjects", f"{body.subjects} walked past, {body.passes} times in all"),
        ("officer hours", hours),
    ]


def _deployment_key(body: DeploymentKey, now: datetime) -> Lines:
    return [
        ("unit", body.unit),
        ("deployment", body.deployment),
        ("made", moment(body.made_at, now)),
        ("key", f"{body.kid[:12]}…; its private half stays on the unit and is destroyed at the close"),
    ]


def _enrolment(body: Enrolment, now: datetime) -> Lines:
    return [
        ("unit", body.unit),
        ("request", _digest(body.request)),
        ("approved", moment(body.approved_at, now)),
        ("TLS certificate", _digest(body.certificate_sha256)),
        ("TLS authority", _digest(body.authority_sha256)),
        ("trust store", _digest(body.trust_store_sha256)),
    ]


def _trust_store(body: TrustStoreContent, now: datetime) -> Lines:
    limits = body.profile
    lines: Lines = [
        ("number", str(body.sequence)),
        ("signed at", moment(body.issued_at, now)),
        ("profile", limits.name),
        (
            "limits",
            f"list at most {limits.watchlist_max_entries} entries and {limits.watchlist_max_age_h:g} h old; "
            f"deployment at most {limits.deployment_max_h:g} h, urgent {limits.urgent_max_h:g} h; "
            f"lease at most {limits.lease_max_s:g} s; alerts kept at most {limits.retention_max_h:g} h; "
            f"threshold at least {limits.threshold_min:g}, below {limits.threshold_usual:g} if approved; "
            f"certified for live use at a false positive rate of at most {limits.certified_fpir_max:g}",
        ),
        ("independent approval", "required" if limits.independent_approval else "not required"),
        (
            "false alerts",
            f"matching stops above {limits.false_alert_limit:g} of people who passed at "
            f"{limits.false_alert_confidence:.2%} confidence, above {limits.false_alerts_most} in all, "
            f"or above {limits.overdue_alerts_most} without a verdict in time; "
            f"an alert without a verdict after {span(limits.verdict_within_s)} counts as false",
        ),
    ]
    for key in body.keys:
        state = "REVOKED" if key.revoked else f"until {moment(key.not_after, now)}"
        if not key.revoked and now < key.not_before:
            state = f"from {moment(key.not_before, now)}"
        lines.append((_words(key.role), f"{key.name}, key {key.kid[:12]}…, {state}"))
    return lines


_DESCRIPTIONS: tuple[tuple[type[StrictModel], Callable[[Any, datetime], Lines]], ...] = (
    (Authority, _authority),
    (Manifest, _manifest),
    (Certificate, _certificate),
    (Revocation, _revocation),
    (Lease, _lease),
    (Receipt, _receipt),
    (Alert, _alert),
    (UnitState, _state),
    (Health, _health),
    (Decision, _decision),
    (Verdict, _verdict),
    (RateReview, _review),
    (Checkpoint, _checkpoint),
    (DeploymentKey, _deployment_key),
    (DeploymentReturn, _deployment_return),
    (Enrolment, _enrolment),
    (TrustStoreContent, _trust_store),
)
