"""The CloudEvents 1.0 JSON envelope around every signed message.

The envelope is for routing; what counts is the signed token inside. A receiver takes nothing from the
envelope but its type, and that is checked again by the token's own `typ`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edgeagent.documents.parse import parse
from edgeagent.errors import DocumentError
from edgeagent.safeguards.profile import StrictModel

OVERHEAD = 1024
"""More octets than an envelope ever adds to its token."""


class Envelope(StrictModel):
    """CloudEvents 1.0 in JSON; `data` is the signed token."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(min_length=1, max_length=128)]
    source: Annotated[str, Field(min_length=1, max_length=128)]
    type: Annotated[str, Field(pattern=r"^edgeagent\.[a-z]+\.v1$")]
    time: AwareDatetime
    datacontenttype: Literal["application/jose"]
    data: Annotated[str, Field(min_length=1, max_length=262_144)]


def wrap(kind: str, token: bytes, *, identifier: str, source: str, time: datetime) -> bytes:
    """The token in its envelope; `kind` is the last word of the MQTT topic."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": identifier,
            "source": source,
            "type": f"edgeagent.{kind}.v1",
            "time": time.isoformat(),
            "datacontenttype": "application/jose",
            "data": token.decode("ascii"),
        }
    ).encode()


def unwrap(message: bytes, kind: str) -> bytes:
    """The token inside; nothing is verified yet.

    Raises:
        DocumentError: not an envelope of this kind.
    """
    envelope = parse(Envelope, message, f"{kind} message")
    if envelope.type != f"edgeagent.{kind}.v1":
        raise DocumentError(
            "is of another type", where=f"{kind} message", next_step="check the sender's topics"
        )
    return envelope.data.encode()
