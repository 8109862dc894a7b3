"""One genuine document of each kind, and who may sign it: written down a second time on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeagent.documents.keys import Role
from edgeagent.documents.table import (
    ALERT,
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    LEASE,
    RECEIPT,
    REVOCATION,
    STATE,
    WATCHLIST,
    DocumentType,
)
from edgeagent.safeguards.profile import StrictModel
from tests.desk import Desk, certificate, lease, manifest, raw_document, receipt, revocation, state


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
_APPROVER = frozenset({Role.INDEPENDENT_APPROVER})

SAMPLES = {
    sample.kind.typ: sample
    for sample in (
        _sample(AUTHORITY, _DESK.authority(), Role.AUTHORISING_OFFICER, may=_APPROVER),
        _sample(BENCH_AUTHORITY, _DESK.bench_authority(), Role.BENCH),
        _sample(WATCHLIST, manifest(), Role.WATCHLIST_OFFICER, may=_APPROVER),
        _sample(CERTIFICATE, certificate(), Role.EVALUATOR),
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
    )
}
