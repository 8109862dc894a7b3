"""The published record as `record.json` holds it; docs/record.md says what each figure means (R30).

No field has room for a person: an officer appears by role and key, a list by counts, an alert in a count.
A figure that nobody can know is null and is explained in `not_known`; it is never made up.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edgeagent.documents.keys import Role
from edgeagent.safeguards.authority import DeploymentId, Kind, Sha256, UnitName
from edgeagent.safeguards.categories import UseCase
from edgeagent.safeguards.profile import StrictModel

LIVE_FORMAT, TEST_FORMAT = "edgeagent-record/1", "edgeagent-record-of-a-test/1"
"""R33: a program that takes live records does not take a bench's."""

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
TEXT_LIMIT = 400
Text = Annotated[str, Field(max_length=TEXT_LIMIT)]


class Rate(StrictModel):
    """Events in trials, with the exact (Clopper-Pearson) interval at 95 % confidence."""

    events: Count
    trials: Count
    rate: Share
    low: Share
    high: Share


class Cells(StrictModel):
    """Every alert in exactly one cell.

    Attributes:
        true_confirmed: an officer established that it was the listed person.
        true_unconfirmed: the operator thought so; officers could not find the person.
        false_confirmed: an officer established that it was somebody else.
        false_unconfirmed: operator or officer thought not, and nobody was asked.
        undecided: the operator did not decide, and no officer established it.
        not_judged: the log holds no judgement.
    """

    true_confirmed: Count
    true_unconfirmed: Count
    false_confirmed: Count
    false_unconfirmed: Count
    undecided: Count
    not_judged: Count

    @property
    def total(self) -> int:
        """All alerts."""
        return self.true + self.false + self.open

    @property
    def true(self) -> int:
        """Held to be the listed person."""
        return self.true_confirmed + self.true_unconfirmed

    @property
    def false(self) -> int:
        """Held to be somebody else."""
        return self.false_confirmed + self.false_unconfirmed

    @property
    def open(self) -> int:
        """Nobody has said."""
        return self.undecided + self.not_judged


class Published(StrictModel):
    """The columns that forces publish already, test subjects left out (R32).

    Attributes:
        first_opened, last_closed: of the camera; null if it was never open.
        camera_open_s: how long any camera of the deployment was open.
        watchlist_size: entries of the longest list used, test subjects left out.
        threshold: the lowest that was used.
        faces_seen: people who walked past, about: tracks, less the test subjects' passes if these are known.
        false_alert_rate: of `faces_seen`; null if nobody walked past.
        false_alert_rate_at_most: the same if every alert that nobody decided was false.
    """

    location: Text
    date: str
    first_opened: AwareDatetime | None
    last_closed: AwareDatetime | None
    camera_open_s: Seconds
    use_case: UseCase
    watchlist_size: Count
    threshold: float
    faces_seen: Count
    alerts: Cells
    false_alert_rate: Rate | None
    false_alert_rate_at_most: Rate | None
    arrests: Count
    other_disposals: Count
    no_action: Count


class BlueList(StrictModel):
    """Consenting test subjects (R32).

    Attributes:
        listed: entries of them.
        subjects, passes: who walked past and how often; null without the control room's return.
        alerts: alerts of their entries.
        false_alerts: those of them that turned out to be of somebody else.
        tpir: alerts that were right, of passes; null without a return.
    """

    listed: Count
    subjects: Count | None
    passes: Count | None
    alerts: Count
    false_alerts: Count
    tpir: Rate | None


class Decisions(StrictModel):
    """What operators made of alerts, test subjects left out; times in seconds from alert to decision."""

    engaged: Count
    rejected: Count
    no_decision: Count
    timed: Count
    median_s: Seconds | None
    p95_s: Seconds | None


class ListComposition(StrictModel):
    """Entries by category; null where the count is withheld.

    Attributes:
        withheld_below: a count above 0 and below this is withheld, and others with it as far as it could be
            reckoned from them.
    """

    categories: dict[str, Count | None]
    under_18: Count | None
    withheld_below: Count


class Period(StrictModel):
    """One time in which a unit's camera was open.

    Attributes:
        ended: how it ended: closed, lost (a fault of the device), or unknown (the log stops).
        clock_trusted: whether somebody vouched for the clock; the length does not depend on it.
    """

    unit: UnitName
    start: AwareDatetime
    seconds: Seconds
    ended: Literal["closed", "lost", "unknown"]
    clock_trusted: bool


class Gap(StrictModel):
    """The unit stopped without saying so, as when power fails, and started again, or did not."""

    unit: UnitName
    last_word: AwareDatetime
    back: AwareDatetime | None
    camera_was_open: bool


class Faces(StrictModel):
    """The ledger of R1, in detections (one a face and picture), and comparisons with the list (R25)."""

    detected: Count
    deleted: Count
    in_alerts: Count
    balanced: bool
    comparisons: Count


class Suspension(StrictModel):
    """The guard of the false alert rate stopped matching (R17)."""

    unit: UnitName
    at: AwareDatetime
    false_alerts: Count
    faces: Count
    bound: Share
    limit: Share
    reviewed_at: AwareDatetime | None
    reviewed_by: tuple[Role, ...]


class Signature(StrictModel):
    """Who signed: by role and key, not by name.

    Attributes:
        key: begin of the key's thumbprint, the same in every record, so that one person's signatures can be
            counted; only whoever has the trust store can say whose it is.
    """

    role: Role
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,16}$")]


class System(StrictModel):
    """What did the recognising, and under which documents; more than one value if they were replaced."""

    versions: tuple[str, ...]
    model_packs: tuple[Sha256, ...]
    certificates: tuple[Sha256, ...]
    authorities: tuple[Sha256, ...]
    watchlists: tuple[Sha256, ...]
    thresholds: tuple[float, ...]
    margins: tuple[float, ...]
    agreeing_frames: tuple[Count, ...]


class LogVerdict(StrictModel):
    """Whether a unit's log is whole and genuine, in the words of its verification."""

    unit: str
    entries: Count
    verified: bool
    verdict: Text


class Authorised(StrictModel):
    """For when, how, and by whom."""

    start: AwareDatetime
    end: AwareDatetime
    urgent: bool
    retention_h: Annotated[float, Field(gt=0)]
    signatures: tuple[Signature, ...]


class Series(StrictModel):
    """Counts for plots, by quarter of an hour and by score; too coarse to tell one person's passing.

    Attributes:
        quarters: begin of each quarter of an hour.
        faces, alerts: in it.
        scores: lower edge of each band of scores, `band` wide.
        true, false, open: alerts in it, by what was decided.
    """

    quarters: tuple[AwareDatetime, ...]
    faces: tuple[Count, ...]
    alerts: tuple[Count, ...]
    band: Annotated[float, Field(gt=0)]
    scores: tuple[float, ...]
    true: tuple[Count, ...]
    false: tuple[Count, ...]
    open: tuple[Count, ...]


class DeploymentRecord(StrictModel):
    """One deployment.

    Attributes:
        kind: `bench` is a test on pictures of test subjects, and nobody was filmed (R33).
        officer_hours: officers on the ground times how long; from the return if it says so, else from leases.
        longest_lapse_to_closed_ms: longest time from a lease's lapse to the camera being closed (R16).
        undelivered_alerts: alerts that left a unit without having been received.
        refused: documents and messages refused, by rule.
        contradictions: what in log and return cannot both be right.
        not_known: what this record cannot say.
    """

    deployment: DeploymentId
    kind: Kind
    units: tuple[UnitName, ...]
    verified: bool
    logs: tuple[LogVerdict, ...]
    published: Published
    blue_list: BlueList
    decisions: Decisions
    outcomes: dict[str, Count]
    composition: ListComposition
    authorised: Authorised
    system: System
    officer_hours: Annotated[float, Field(ge=0)]
    officer_hours_from: Literal["leases", "return"]
    camera: tuple[Period, ...]
    longest_lapse_to_closed_ms: Annotated[float, Field(ge=0)] | None
    gaps: tuple[Gap, ...]
    faces: Faces
    undelivered_alerts: Count
    suspensions: tuple[Suspension, ...]
    refused: dict[str, Count]
    series: Series
    contradictions: tuple[Text, ...]
    not_known: tuple[Text, ...]


class Record(StrictModel):
    """Records of one kind, in the order of their start."""

    format: Literal["edgeagent-record/1", "edgeagent-record-of-a-test/1"]
    test: bool
    verified: bool
    deployments: Annotated[tuple[DeploymentRecord, ...], Field(min_length=1)]
