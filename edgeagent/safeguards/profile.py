"""The limits in force, as one signed value.

Policy is reviewed yearly, so each figure is a field of the profile inside the signed trust store and none is
a literal in the code that applies it. The bounds here are only what no profile may go beyond.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_ENTRIES = 20_000
"""No profile may allow a longer list (R9)."""
MOST_CERTIFIED_FPIR = 0.001
"""No profile may allow live use on a certificate that promises less: one false alert in 1,000 (R17, R18)."""


class StrictModel(BaseModel):
    """Base of every document model: unknown fields refused, no coercion, immutable."""

    # Deferred: a program builds the tables of the documents that it reads, not of all that there are.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class Profile(StrictModel):
    """Limits that one force or operator has set itself, within the law's.

    Attributes:
        name: what the profile is called in records.
        watchlist_max_age_h: oldest list that may start a deployment (R6).
        watchlist_max_entries: cap on the list's size (R9).
        deployment_max_h: longest authority (R14).
        urgent_max_h: longest urgent authority (R14).
        lease_max_s: longest lease (R16).
        clock_step_s: how far the wall clock may drift from the monotonic one between two looks (R16).
        clock_skew_s: how far the control room's signed time may differ from the unit's (R16).
        retention_max_h: longest retention of an alert (R3).
        threshold_min: lowest threshold whatever a certificate says (R18).
        threshold_usual: a live authority below it needs an independent signature in any case (R19).
        certified_fpir_max: largest false positive rate that a certificate may promise for live use (R18).
        alert_ttl_max_s: longest time for which an alert may wait to be delivered.
        independent_approval: whether an authority needs an independent signature (R27).
        false_alert_limit: false alerts over people who passed that may not be exceeded (R17).
        false_alert_confidence: how sure it must be, one-sided, that the limit is exceeded (R17).
        false_alerts_most: more false alerts in one deployment suspend it, whoever passed (R17).
        overdue_alerts_most: more alerts without a verdict in time suspend it too (R17, R29).
        verdict_within_s: an alert without a verdict for so long counts as false (R17, R29).
    """

    name: Annotated[str, Field(min_length=3, max_length=80)]
    watchlist_max_age_h: Annotated[float, Field(gt=0, le=24)]
    watchlist_max_entries: Annotated[int, Field(ge=1, le=MOST_ENTRIES)]
    deployment_max_h: Annotated[float, Field(gt=0, le=168)]
    urgent_max_h: Annotated[float, Field(gt=0, le=24)]
    lease_max_s: Annotated[float, Field(ge=2, le=30)]
    clock_step_s: Annotated[float, Field(ge=0.5, le=5)]
    clock_skew_s: Annotated[float, Field(ge=0.5, le=5)]
    retention_max_h: Annotated[float, Field(gt=0, le=744)]
    threshold_min: Annotated[float, Field(ge=0.3, le=0.99)]
    threshold_usual: Annotated[float, Field(ge=0.3, le=0.99)]
    certified_fpir_max: Annotated[float, Field(gt=0, le=MOST_CERTIFIED_FPIR)]
    alert_ttl_max_s: Annotated[float, Field(ge=1, le=600)]
    independent_approval: bool
    false_alert_limit: Annotated[float, Field(gt=0, le=0.001)]
    false_alert_confidence: Annotated[float, Field(ge=0.9, le=0.9999)]
    false_alerts_most: Annotated[int, Field(ge=1, le=1000)]
    overdue_alerts_most: Annotated[int, Field(ge=0, le=100)]
    verdict_within_s: Annotated[float, Field(gt=0, le=14_400)]
