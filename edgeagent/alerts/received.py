"""The last steps with every message that is sent, and the first with every one that arrives."""

from __future__ import annotations

from typing import TypeVar

from edgeagent.alerts.envelope import OVERHEAD, unwrap, wrap
from edgeagent.documents.keys import Identity
from edgeagent.documents.table import DocumentType, Verified, sign, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import StrictModel

Body = TypeVar("Body", bound=StrictModel)


def signed_message(
    kind: DocumentType[Body], body: Body, identity: Identity, identifier: str, now: Instant
) -> bytes:
    """The message that `received` takes: signed, then in its envelope.

    Raises:
        DocumentError: a role that may not sign this.
    """
    token = sign(kind, body, identity)
    return wrap(message_name(kind), token, identifier=identifier, source=identity.name, time=now.wall)


def received(kind: DocumentType[Body], message: bytes, trust: TrustStore, now: Instant) -> Verified[Body]:
    """The verified content of a message of one kind.

    Raises:
        DocumentError: too long, no envelope of this kind, or the first step of `verify` that fails.
    """
    name = message_name(kind)
    if len(message) > kind.limit + OVERHEAD:
        raise DocumentError("is too long", where=name, next_step="find out who sent it")
    return verify(kind, unwrap(message, name), trust, now)


def message_name(kind: DocumentType[Body]) -> str:
    """Last level of the topic, and middle word of the envelope's type."""
    return kind.typ.removeprefix("edgeagent-")
