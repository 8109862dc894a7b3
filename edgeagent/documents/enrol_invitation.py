"""What a new unit is told on its card: its name, its broker, whom to trust, and a token that counts once.

The file is on a FAT partition, so whoever holds the card before the first boot can read and change it. Whom
the unit was told to trust is therefore repeated in its request and covered by its code: a control room that
has the code read from the unit itself confirms these lines too.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from edgeagent.config import read_table
from edgeagent.documents.keys import Octets32
from edgeagent.errors import ConfigError
from edgeagent.safeguards.authority import Sha256, UnitName
from edgeagent.safeguards.profile import StrictModel

INVITATION_LIMIT = 4096
_TOKEN_OCTETS = 16


class Invitation(StrictModel):
    """One file `enrolment.toml`.

    Attributes:
        broker: host name or IPv4 address, colon, port.
        token: 128 random bits in base32; the control room takes it once.
        root: thumbprint of the root key that signs trust stores.
        control_room_ca: SHA-256 of the certificate (DER) of the broker's and units' TLS authority.
        control_room_key: the control room's X25519 key, to which the unit proves its own.
    """

    unit: UnitName
    broker: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}:[1-9][0-9]{0,4}$")]
    token: Annotated[str, Field(pattern=r"^[a-z2-7]{25}[aeimquy4]$")]
    root: Octets32
    control_room_ca: Sha256
    control_room_key: Octets32

    @property
    def token_id(self) -> str:
        """Names the token without telling it."""
        return hashlib.sha256(b"edgeagent enrolment token 1\0" + self.secret).hexdigest()

    @property
    def secret(self) -> bytes:
        """The token's 16 octets."""
        return base64.b32decode(self.token.upper() + "======")

    @property
    def broker_host(self) -> str:
        """The broker's name or address."""
        return self.broker.rpartition(":")[0]

    @property
    def broker_port(self) -> int:
        """The broker's port."""
        return int(self.broker.rpartition(":")[2])


def new_token() -> str:
    """A fresh token from the system's random source."""
    return base64.b32encode(secrets.token_bytes(_TOKEN_OCTETS)).decode().rstrip("=").lower()


def invitation_text(invitation: Invitation) -> bytes:
    """The file; every value is of an alphabet that needs no escaping."""
    lines = [f'{name} = "{value}"' for name, value in invitation.model_dump(mode="json").items()]
    head = "# For the boot partition of one unit's card, until the unit is enrolled. The token counts once.\n"
    return (head + "\n".join(lines) + "\n").encode()


def read_invitation(file: Path) -> Invitation:
    """Read and check `enrolment.toml`.

    Raises:
        ConfigError: naming the key, never its value.
    """
    table = read_table(file, INVITATION_LIMIT, "have it made with: edgeagent enrolment invite UNIT")
    try:
        return Invitation.model_validate(table)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        key = str(fault["loc"][0])[:40] if fault["loc"] else "(whole)"
        raise ConfigError(
            str(fault["msg"]),
            where=f"{file}: {key if key.isprintable() else '(unknown)'}",
            next_step="have it made again with: edgeagent enrolment invite UNIT",
        ) from None
