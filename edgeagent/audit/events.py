"""What the audit log can say (R25, R26): a closed vocabulary without room for a face, a name or free text.

Each event says which act of DPA 2018 s62 it records; `operation` marks the rest (AI Act art. 12: periods of
use, the data that was compared with, who verified). An entry of the list appears by category only, never by
identifier: whoever reads the log learns that somebody wanted on a warrant was reported, not who.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from edgeagent.documents.keys import Role
from edgeagent.documents.messages import AlertId, CameraState, Count, Score
from edgeagent.safeguards.authority import DeploymentId, Kind, Sha256, UnitName
from edgeagent.safeguards.categories import Category, UseCase
from edgeagent.safeguards.gate import State
from edgeagent.safeguards.profile import StrictModel

Rule = Annotated[str, Field(pattern=r"^(R[0-9]{1,2})?$")]
Text = Annotated[str, Field(max_length=300)]


class Act(StrEnum):
    """Acts of DPA 2018 s62(1), and `operation` for what else must be known of a use."""

    COLLECTION = "collection"
    CONSULTATION = "consultation"
    ALTERATION = "alteration"
    DISCLOSURE = "disclosure"
    ERASURE = "erasure"
    OPERATION = "operation"


class Signer(StrictModel):
    """Who signed a document: a key's holder and role."""

    name: Annotated[str, Field(max_length=80)]
    role: Role
    kid: Annotated[str, Field(max_length=64)]


class Started(StrictModel):
    """The daemon started."""

    act: ClassVar = Act.OPERATION
    event: Literal["started"] = "started"
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    version: Annotated[str, Field(max_length=40)]
    model_pack_sha256: Sha256


class Stopped(StrictModel):
    """The daemon ended in order."""

    act: ClassVar = Act.OPERATION
    event: Literal["stopped"] = "stopped"


class DeploymentLoaded(StrictModel):
    """An authority and its list were taken into use; templates of the list are in memory from here on."""

    act: ClassVar = Act.COLLECTION
    event: Literal["deployment_loaded"] = "deployment_loaded"
    kind: Kind
    deployment: DeploymentId
    site: Annotated[str, Field(max_length=200)]
    use_case: UseCase
    urgent: bool
    start: AwareDatetime
    end: AwareDatetime
    authority_sha256: Sha256
    watchlist_sha256: Sha256
    model_pack_sha256: Sha256
    certificate_sha256: Sha256 | None
    threshold: Score
    margin: Score
    agreeing_frames: Count
    retention_h: Annotated[float, Field(gt=0)]
    entries: Count
    counts: dict[Category, Count]
    under_18: Count
    signers: Annotated[tuple[Signer, ...], Field(max_length=16)]


class Refused(StrictModel):
    """A document or message was refused."""

    act: ClassVar = Act.OPERATION
    event: Literal["refused"] = "refused"
    what: Text
    rule: Rule
    unwritten: Count = 0
    """Refusals since the last one written, left out so that a flood cannot fill the log."""


class GateMoved(StrictModel):
    """The gate's state changed."""

    act: ClassVar = Act.OPERATION
    event: Literal["gate"] = "gate"
    before: State
    after: State
    rule: Rule
    why: Text


class CameraMoved(StrictModel):
    """The camera device was opened, closed or lost; open periods are the periods of use (R26)."""

    act: ClassVar = Act.COLLECTION
    event: Literal["camera"] = "camera"
    state: CameraState
    lapse_to_closed_ms: Annotated[float, Field(ge=0)] | None = None


class LeaseHeld(StrictModel):
    """The first lease of a period; renewals are counted in the tally."""

    act: ClassVar = Act.OPERATION
    event: Literal["lease"] = "lease"
    sequence: Count
    officers: Count
    signer: Signer


class Tally(StrictModel):
    """Faces so far in this boot (R1); written while the camera is open and whenever it closes.

    `processed` counts detections, one a face and frame; `passed` counts tracks, about one for each person who
    walked past, which is what rates are made of; `compared` counts comparisons with the list, each a
    consultation of it.
    """

    act: ClassVar = Act.CONSULTATION
    event: Literal["tally"] = "tally"
    frames: Count
    passed: Count
    processed: Count
    deleted: Count
    in_live_alerts: Count
    compared: Count
    leases: Count


class AlertMade(StrictModel):
    """A hit became an alert; the category only, since the entry would say who was there."""

    act: ClassVar = Act.CONSULTATION
    event: Literal["alert_made"] = "alert_made"
    alert: AlertId
    category: Category
    score: Score
    threshold: Score
    capture_to_alert_ms: Annotated[float, Field(ge=0)]


class AlertReceived(StrictModel):
    """The control room's signed receipt: the alert was disclosed to it."""

    act: ClassVar = Act.DISCLOSURE
    event: Literal["alert_received"] = "alert_received"
    alert: AlertId
    signer: Signer


class AlertsGone(StrictModel):
    """Alerts that left the outbox undelivered."""

    act: ClassVar = Act.ERASURE
    event: Literal["alerts_gone"] = "alerts_gone"
    how: Literal["expired", "displaced", "discarded"]
    count: Count


class Judged(StrictModel):
    """What an operator, then an officer, made of an alert (R20, R21)."""

    act: ClassVar = Act.CONSULTATION
    event: Literal["judged"] = "judged"
    alert: AlertId
    test_subject: bool
    operator: Literal["engage", "reject", "no_decision"]
    officer: Literal["confirmed_match", "confirmed_no_match", "not_engaged", "not_found"]
    outcome: Annotated[str, Field(pattern=r"^[a-z_]{0,40}$")]
    decision_s: Annotated[float, Field(ge=0, le=86_400)] | None
    signer: Signer


class RateSuspended(StrictModel):
    """Matching stopped because false alerts may be too frequent (R17)."""

    act: ClassVar = Act.OPERATION
    event: Literal["rate_suspended"] = "rate_suspended"
    false_alerts: Count
    passed: Count
    bound: Annotated[float, Field(ge=0, le=1)]
    limit: Annotated[float, Field(gt=0, le=1)]


class RateReviewed(StrictModel):
    """A signed review let matching go on (R17)."""

    act: ClassVar = Act.OPERATION
    event: Literal["rate_reviewed"] = "rate_reviewed"
    signers: Annotated[tuple[Signer, ...], Field(min_length=1, max_length=4)]


class Erased(StrictModel):
    """Something was destroyed for good."""

    act: ClassVar = Act.ERASURE
    event: Literal["erased"] = "erased"
    what: Literal["deployment_key", "watchlist_file", "templates", "frames", "alert_key", "received_alerts"]
    deployment: DeploymentId | None
    why: Rule


class Repaired(StrictModel):
    """A line that a power cut left half written was cut off when the daemon started; it was the last."""

    act: ClassVar = Act.ALTERATION
    event: Literal["repaired"] = "repaired"
    cut_octets: Annotated[int, Field(ge=1, le=2**53)]


class LogLost(StrictModel):
    """A line that this unit had signed and made durable is not there any more: the log was cut, or taken."""

    act: ClassVar = Act.ERASURE
    event: Literal["log_lost"] = "log_lost"
    sequence: Count
    sha256: Sha256


class LogRemoved(StrictModel):
    """The oldest files of the log were removed, being old enough; `sequence` is the last line removed."""

    act: ClassVar = Act.ERASURE
    event: Literal["log_removed"] = "log_removed"
    sequence: Count
    sha256: Sha256


class Sealed(StrictModel):
    """A checkpoint: the unit's signature under everything before this line (`checkpoint.Checkpoint`)."""

    act: ClassVar = Act.OPERATION
    event: Literal["checkpoint"] = "checkpoint"
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=4096)]


Event = Annotated[
    Started
    | Stopped
    | DeploymentLoaded
    | Refused
    | GateMoved
    | CameraMoved
    | LeaseHeld
    | Tally
    | AlertMade
    | AlertReceived
    | AlertsGone
    | Judged
    | RateSuspended
    | RateReviewed
    | Erased
    | Repaired
    | LogLost
    | LogRemoved
    | Sealed,
    Field(discriminator="event"),
]


class Entry(StrictModel):
    """One line of the log: who, when, in which order, after what, and what happened.

    Attributes:
        sequence: rises by one from 1, over restarts and rotations.
        clock_trusted: somebody vouched for `at`; `monotonic_ns` orders it in any case within a boot.
        before: SHA-256 of the line before, all zeros for the first line of a unit.
    """

    unit: UnitName
    sequence: Count
    at: AwareDatetime
    clock_trusted: bool
    monotonic_ns: Count
    before: Sha256
    body: Event
