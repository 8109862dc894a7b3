"""What units and the control room say to each other over MQTT; each is signed as a compact JWS."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.safeguards.alert_rate import AlertId as AlertId
from edgeagent.safeguards.alert_rate import Count as Count
from edgeagent.safeguards.authority import DeploymentId, Kind, Sha256, UnitName
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.verdict import Choice, Finding, Result
from edgeagent.safeguards.watchlist import EntryId

Score = Annotated[float, Field(ge=-1.01, le=1.01)]


class Alert(StrictModel):
    """A hit made publishable. It carries no instruction: an operator decides, then an officer (R20).

    Attributes:
        kind: `bench` marks a test (R33).
        entry: the list's opaque identifier; only the control room can resolve it.
        frame: sequence number of the frame that completed the hit.
        expires_at: after this it is dropped undelivered.
        crop: the matched face only (R2), a JPEG of the aligned 112×112 chip, sealed (HPKE) to the
            deployment's key; base64url.
    """

    alert: AlertId
    kind: Kind
    unit: UnitName
    deployment: DeploymentId
    authority_sha256: Sha256
    watchlist_sha256: Sha256
    model_pack_sha256: Sha256
    entry: EntryId
    category: Category
    score: Score
    best_score: Score
    threshold: Score
    agreeing_frames: Annotated[int, Field(ge=2, le=30)]
    frame: Count
    captured_at: AwareDatetime
    made_at: AwareDatetime
    expires_at: AwareDatetime
    lease_sequence: Annotated[int, Field(ge=1, le=2**53)]
    # The length beside the pattern, not in it: as a counted repetition it costs every process 26 MB.
    crop: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", min_length=64, max_length=65_536)]


class Receipt(StrictModel):
    """The control room's word that it has committed an alert; only this releases it from the outbox."""

    alert: AlertId
    unit: UnitName
    received_at: AwareDatetime


class Decision(StrictModel):
    """What an operator decided after looking at both pictures (R20). It instructs nobody.

    Attributes:
        test_subject: the alert was about a consenting test subject (R32).
        made_at: when the unit made the alert, from the alert itself.
    """

    alert: AlertId
    kind: Kind
    unit: UnitName
    deployment: DeploymentId
    test_subject: bool
    choice: Choice
    made_at: AwareDatetime
    decided_at: AwareDatetime


class Verdict(StrictModel):
    """The end of an alert: the operator's signed decision, the officer's finding, what came of it (R21, R29).

    The operator signs it where the decision was to reject; else an officer does, who is another person.

    Attributes:
        decision: the operator's own signed document, whole.
    """

    decision: Annotated[
        str, Field(max_length=4096, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")
    ]
    finding: Finding
    outcome: Result
    concluded_at: AwareDatetime


class Presence(StrEnum):
    """What a unit is; the gate's states, and `LOST` from the broker when the unit went silent."""

    LOCKED = "LOCKED"
    STANDBY = "STANDBY"
    LIVE = "LIVE"
    CLOSED = "CLOSED"
    LOST = "LOST"


class CameraState(StrEnum):
    """What the camera device is; `UNKNOWN` only in the word of a unit that went silent."""

    CLOSED = "closed"
    OPEN = "open"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


class Faces(StrictModel):
    """The ledger of R1: `processed = deleted + in_live_alerts`."""

    processed: Count
    deleted: Count
    in_live_alerts: Count


class AlertCounts(StrictModel):
    """What became of every alert: `made = pending + received + expired + displaced + discarded`."""

    made: Count
    pending: Count
    received: Count
    expired: Count
    displaced: Count
    discarded: Count


class Rate(StrictModel):
    """The guard of the false alert rate, since the deployment's start or its last review (R17).

    Attributes:
        passed: people who passed and could have been matched.
        alerts: made in the whole deployment; a review names this number.
        false_alerts: judged false, or not judged in time.
        bound: rate that is surely exceeded.
        suspended: matching is, until a signed review.
        suspension: random name of the suspension, which a review must repeat; empty when there is none.
        unjudged: some of the alerts whose verdict the unit asks for; all of them in turn.
    """

    passed: Count
    alerts: Count
    false_alerts: Count
    awaiting: Count
    bound: Annotated[float, Field(ge=0, le=1)]
    limit: Annotated[float, Field(gt=0, le=1)]
    suspended: bool
    suspension: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
    unjudged: Annotated[tuple[AlertId, ...], Field(max_length=16)]


class UnitState(StrictModel):
    """A unit's state, retained on the broker and repeated while a lease could be answered.

    Attributes:
        boot: random number of this start of the daemon.
        birth: counts connections of this boot; 0 in the will, whose `boot` tells which start it is of.
        rule, reason: why the gate is where it is.
        challenge: what a lease must answer (R16); empty when none can be.
        problem: what a technician should know, empty when nothing.
        buffers_wiped: no pixel is left in the daemon's frame slot (R1); true whenever the camera is closed.
        lapse_to_closed_ms: how long after the last lapse of a lease the camera device was closed (R16).
        audit_sequence, audit_sha256: newest durable line of the audit log and its hash, 0 and zeros for none;
            whoever keeps this can tell later if the log was cut back (R25).
        revoked: deployments whose revocation this start of the daemon carried out, newest last (R27).
    """

    unit: UnitName
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    birth: Count
    sequence: Count
    at: AwareDatetime
    state: Presence
    rule: Annotated[str, Field(max_length=8)]
    reason: Annotated[str, Field(max_length=300)]
    problem: Annotated[str, Field(max_length=600)]
    kind: Kind | None
    deployment: DeploymentId | None
    authority_sha256: Sha256 | None
    challenge: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]{22})?$")]
    camera: CameraState
    buffers_wiped: bool
    lapse_to_closed_ms: Annotated[float, Field(ge=0)] | None
    frames: Count
    faces: Faces
    alerts: AlertCounts
    audit_sequence: Count
    audit_sha256: Sha256
    rate: Rate | None
    revoked: Annotated[tuple[DeploymentId, ...], Field(max_length=8)]


class Revocation(StrictModel):
    """Ends a deployment at once (R27); kept on the broker so that a unit that was away learns of it."""

    deployment: DeploymentId
    units: Annotated[tuple[UnitName, ...], Field(min_length=1, max_length=64)]
    issued_at: AwareDatetime
    reason: Annotated[str, Field(min_length=3, max_length=300)]
