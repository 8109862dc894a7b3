"""The first steps with every message that arrives: length, envelope, signature, role, fields."""

from __future__ import annotations

from typing import TypeVar

from edgeagent.alerts.envelope import OVERHEAD, unwrap
from edgeagent.documents.table import DocumentType, Verified, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import StrictModel

Body = TypeVar("Body", bound=StrictModel)


def received(kind: DocumentType[Body], message: bytes, trust: TrustStore, now: Instant) -> Verified[Body]:
    """The verified content of a message of one kind.

    Raises:
        DocumentError: too long, no envelope of this kind, or the first step of `verify` that fails.
    """
    name = kind.typ.removeprefix("edgeagent-")
    if len(message) > kind.limit + OVERHEAD:
        raise DocumentError("is too long", where=name, next_step="find out who sent it")
    return verify(kind, unwrap(message, name), trust, now)
