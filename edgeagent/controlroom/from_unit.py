"""Messages that come from units: genuine, and of the unit on whose topic they came."""

from __future__ import annotations

from typing import TypeVar

from edgeagent.alerts.received import message_name, received
from edgeagent.alerts.topics import Topics, split_topic
from edgeagent.documents.health import Health
from edgeagent.documents.messages import Alert, UnitState
from edgeagent.documents.table import DocumentType
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import ConfigError, DocumentError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.instant import Instant

Body = TypeVar("Body", Alert, UnitState, Health)


def from_unit(
    kind: DocumentType[Body], topic: str, message: bytes, trust: TrustStore, now: Instant
) -> tuple[Body, Topics]:
    """The verified message and the topics of the unit that sent it.

    Raises:
        DocumentError: malformed, forged, on another unit's topic, or a bench's on a live topic (R33).
    """
    verified = received(kind, message, trust, now)
    body = verified.body
    topics = unit_topics(topic)
    name = message_name(kind)
    if not body.unit == topics.unit == verified.signers[0].name:
        raise DocumentError("is not of the unit on whose topic it came", where=name, next_step="find out why")
    if body.kind is not None and topics.bench != (body.kind is Kind.BENCH):  # R33
        raise DocumentError(
            f"a bench {name} on a live topic, or the reverse", where=name, next_step="drop it"
        )
    return body, topics


def unit_topics(topic: str) -> Topics:
    """The topics of the unit on whose topic a message came.

    Raises:
        DocumentError: not a unit's topic; whoever may publish could send one, so it must not end a watch.
    """
    try:
        return split_topic(topic)[0]
    except ConfigError as cause:
        raise DocumentError("came on no unit's topic", where="topic", next_step=cause.next_step) from cause
