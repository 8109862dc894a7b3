"""One genuine document of each kind, and who may sign it: written down a second time on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeagent.documents.deployment_return import DEPLOYMENT_RETURN, DeploymentReturn
from edgeagent.documents.enrol_approval import ENROLMENT, Enrolment
from edgeagent.documents.keys import Role
from edgeagent.documents.table import (
    ALERT,
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    CHECKPOINT,
    DECISION,
    HEALTH,
    LEASE,
    RECEIPT,
    REVIEW,
    REVOCATION,
    STATE,
    VERDICT,
    WATCHLIST,
    DocumentType,
    sign,
)
from edgeagent.safeguards.profile import StrictModel
from tests.desk import (
    DEPLOYMENT,
    NOW,
    UNIT,
    Desk,
    certificate,
    checkpoint,
    decision,
    difference,
    health,
    lease,
    manifest,
    raw_document,
    receipt,
    review,
    revocation,
    state,
    verdict,
)


@dataclass(frozen=True)
class Sample:
    """A kind of document, a body and who signs it.

    Attributes:
        first: signs the sample.
        alone: roles each of which is enough alone.
        may: roles that may sign as well.
    """

    kind: DocumentType[Any]
    body: StrictModel
    first: Role
    alone: frozenset[Role]
    may: frozenset[Role] = frozenset()

    def document(self, desk: Desk) -> bytes:
        """The genuine document."""
        return raw_document(self.kind, self.body.model_dump_json().encode(), desk[self.first])


def _sample(
    kind: DocumentType[Any], body: StrictModel, *alone: Role, may: frozenset[Role] = frozenset()
) -> Sample:
    return Sample(kind, body, alone[0], frozenset(alone), may)


_DESK = Desk()
_RETURN = DeploymentReturn(
    deployment=DEPLOYMENT, issued_at=NOW.wall, subjects=5, passes=9, officer_hours=12.5
)
_ENROLMENT = Enrolment(
    unit=UNIT,
    request="ab" * 32,
    certificate_sha256="cd" * 32,
    authority_sha256="ef" * 32,
    trust_store_sha256="12" * 32,
    approved_at=NOW.wall,
)
_APPROVER = frozenset({Role.INDEPENDENT_APPROVER})
_DECIDED = sign(DECISION, decision(), _DESK[Role.OPERATOR])

SAMPLES = {
    sample.kind.typ: sample
    for sample in (
        _sample(AUTHORITY, _DESK.authority(), Role.AUTHORISING_OFFICER, may=_APPROVER),
        _sample(BENCH_AUTHORITY, _DESK.bench_authority(), Role.BENCH),
        _sample(WATCHLIST, manifest(), Role.WATCHLIST_OFFICER, may=_APPROVER),
        _sample(CERTIFICATE, certificate(differences=(difference(),)), Role.EVALUATOR),
        _sample(
            REVOCATION,
            revocation(),
            Role.AUTHORISING_OFFICER,
            Role.INDEPENDENT_APPROVER,
            Role.CONTROL_ROOM,
        ),
        _sample(LEASE, lease(), Role.CONTROL_ROOM),
        _sample(RECEIPT, receipt(), Role.CONTROL_ROOM),
        _sample(ALERT, _DESK.alert().alert, Role.UNIT),
        _sample(STATE, state(), Role.UNIT),
        _sample(HEALTH, health(), Role.UNIT),
        _sample(DEPLOYMENT_RETURN, _RETURN, Role.CONTROL_ROOM),
        _sample(DECISION, decision(), Role.OPERATOR),
        _sample(VERDICT, verdict(_DECIDED), Role.OFFICER, Role.OPERATOR),
        _sample(REVIEW, review(), Role.AUTHORISING_OFFICER, may=_APPROVER),
        _sample(CHECKPOINT, checkpoint(), Role.UNIT),
        _sample(ENROLMENT, _ENROLMENT, Role.CONTROL_ROOM),
    )
}
