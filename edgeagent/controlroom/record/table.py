"""The record as CSV: one row a deployment, stable column names, described in docs/record.md (R30)."""

from __future__ import annotations

import csv
import io
from datetime import datetime

from edgeagent.controlroom.record.model import DeploymentRecord, Rate, Record
from edgeagent.safeguards.categories import Category

Value = str | int | float | None
WITHHELD = "withheld"


def to_csv(record: Record) -> str:
    """The table. A bench's columns have other names, so that it cannot pass for a live one's (R33)."""
    rows = [row(one) for one in record.deployments]
    if record.test:
        rows = [
            {"test": "TEST, NOT A DEPLOYMENT", **{f"test_{name}": value for name, value in one.items()}}
            for one in rows
        ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows([{name: _safe(value) for name, value in one.items()} for one in rows])
    return text.getvalue()


def _safe(value: Value) -> Value:
    """A text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def row(one: DeploymentRecord) -> dict[str, Value]:
    """Columns in their order: what is published elsewhere, then what is not."""
    return _published(one) | _beyond(one) | _composition(one)


def _published(one: DeploymentRecord) -> dict[str, Value]:
    said, alerts = one.published, one.published.alerts
    return {
        "deployment": one.deployment,
        "location": said.location,
        "date": said.date,
        "start": _time(said.first_opened),
        "end": _time(said.last_closed),
        "duration_min": round(said.camera_open_s / 60, 1),
        "use_case": str(said.use_case),
        "watchlist_size": said.watchlist_size,
        "threshold": said.threshold,
        "faces_seen": said.faces_seen,
        "total_alerts": alerts.total,
        "true_confirmed": alerts.true_confirmed,
        "true_unconfirmed": alerts.true_unconfirmed,
        "false_confirmed": alerts.false_confirmed,
        "false_unconfirmed": alerts.false_unconfirmed,
        "undecided": alerts.undecided,
        "not_judged": alerts.not_judged,
        **_rate("false_alert_rate", said.false_alert_rate),
        "false_alert_rate_at_most": _rounded(said.false_alert_rate_at_most),
        "arrests": said.arrests,
        "other_disposals": said.other_disposals,
        "no_action": said.no_action,
    }


def _beyond(one: DeploymentRecord) -> dict[str, Value]:
    blue, decisions, faces, system = one.blue_list, one.decisions, one.faces, one.system
    return {
        "log_verified": "yes" if one.verified else "NO",
        "test_subjects_listed": blue.listed,
        "test_subject_passes": blue.passes,
        "test_subject_alerts": blue.alerts,
        "test_subject_false_alerts": blue.false_alerts,
        **_rate("tpir", blue.tpir),
        "operator_engaged": decisions.engaged,
        "operator_rejected": decisions.rejected,
        "operator_no_decision": decisions.no_decision,
        "decision_median_s": decisions.median_s,
        "decision_p95_s": decisions.p95_s,
        "officer_hours": round(one.officer_hours, 2),
        "officer_hours_from": one.officer_hours_from,
        "longest_lapse_to_closed_ms": one.longest_lapse_to_closed_ms,
        "faces_detected": faces.detected,
        "faces_deleted": faces.deleted,
        "faces_in_alerts": faces.in_alerts,
        "faces_balanced": "yes" if faces.balanced else "NO",
        "comparisons": faces.comparisons,
        "undelivered_alerts": one.undelivered_alerts,
        "suspensions": len(one.suspensions),
        "suspensions_reviewed": sum(each.reviewed_at is not None for each in one.suspensions),
        "documents_refused": sum(one.refused.values()),
        "gaps": len(one.gaps),
        "contradictions": len(one.contradictions),
        "authorised_by": " ".join(f"{sign.role}:{sign.key}" for sign in one.authorised.signatures),
        "versions": " ".join(system.versions),
        "model_pack_sha256": " ".join(system.model_packs),
        "certificate_sha256": " ".join(system.certificates),
        "authority_sha256": " ".join(system.authorities),
        "watchlist_sha256": " ".join(system.watchlists),
    }


def _composition(one: DeploymentRecord) -> dict[str, Value]:
    counts = one.composition.categories
    columns: dict[str, Value] = {
        f"listed_{category}": _or_withheld(counts[category])
        for category in Category
        if category is not Category.TEST_SUBJECT
    }
    return columns | {"listed_under_18": _or_withheld(one.composition.under_18)}


def _or_withheld(count: int | None) -> Value:
    return WITHHELD if count is None else count


def _time(at: datetime | None) -> Value:
    return None if at is None else at.isoformat(timespec="seconds")


def _rounded(rate: Rate | None) -> Value:
    return None if rate is None else float(f"{rate.rate:.6g}")


def _rate(name: str, rate: Rate | None) -> dict[str, Value]:
    low, high = (None, None) if rate is None else (float(f"{rate.low:.6g}"), float(f"{rate.high:.6g}"))
    return {name: _rounded(rate), f"{name}_low": low, f"{name}_high": high}
