"""Private keys of people and units: one JSON file a key holder, readable by its owner only.

A file holds an Ed25519 signing key (RFC 8037 JWK) and, for those to whom something is sealed (units, and the
desk of a deployment), an X25519 key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc.jwk import OKPKey
from pydantic import Field

from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.errors import DocumentError, KeyFileError
from edgeagent.safeguards.authority import SealKey
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded, write_atomic

KEY_FILE_LIMIT = 4096
CREDENTIALS = Path("/run/credentials")
"""Where systemd opens sealed keys, each service's in a folder of its own."""
# The last character carries four bits only: any other is a second spelling of the same key.
Octets32 = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]


class Role(StrEnum):
    """What a key holder is; a key has one role and may sign only what that role allows."""

    ROOT = "root"
    AUTHORISING_OFFICER = "authorising_officer"
    INDEPENDENT_APPROVER = "independent_approver"
    WATCHLIST_OFFICER = "watchlist_officer"
    CONTROL_ROOM = "control_room"
    UNIT = "unit"
    EVALUATOR = "evaluator"
    BENCH = "bench"
    OPERATOR = "operator"
    OFFICER = "officer"


class KeyFile(StrictModel):
    """What the file holds; `sign_d` and `seal_d` are the private halves, base64url."""

    role: Role
    name: Annotated[str, Field(min_length=1, max_length=80)]
    sign_x: Octets32
    sign_d: Octets32
    seal_x: Octets32
    seal_d: Octets32


@dataclass(frozen=True, slots=True)
class Identity:
    """A key holder's private keys."""

    role: Role
    name: str
    signing: OKPKey
    sealing: X25519PrivateKey

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the signing key."""
        return self.signing.thumbprint()

    @property
    def seal_key(self) -> SealKey:
        """Public half of the sealing key."""
        return SealKey(kty="OKP", crv="X25519", x=base64url(self.sealing.public_key().public_bytes_raw()))


def public_signing_key(x: str) -> OKPKey:
    """The Ed25519 public key with these octets (base64url).

    Raises:
        DocumentError: not a usable key.
    """
    try:
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})
    except ValueError as cause:
        raise DocumentError("is not an Ed25519 key", next_step="make a new key") from cause


def public_sealing_key(key: SealKey) -> X25519PublicKey:
    """The X25519 public key with these octets.

    Raises:
        DocumentError: not a usable key.
    """
    try:
        return X25519PublicKey.from_public_bytes(unbase64url(key.x))
    except ValueError as cause:
        raise DocumentError("is not an X25519 key", where="alert_key", next_step="make a new key") from cause


def new_identity(role: Role, name: str) -> Identity:
    """Fresh keys from the system's random source."""
    return Identity(role, name, OKPKey.generate_key("Ed25519"), X25519PrivateKey.generate())


def save_identity(identity: Identity, path: Path) -> None:
    """Write the private keys for their owner's eyes only; an existing file is never overwritten.

    Raises:
        KeyFileError: the file exists.
    """
    if path.exists():
        raise KeyFileError(
            "exists already", where=str(path), next_step="choose another name, or move it away"
        )
    write_atomic(path, key_file_content(identity), mode=0o600)


def key_file_content(identity: Identity) -> bytes:
    """Both private keys, as `load_identity` reads them."""
    octets = identity.signing.as_dict(private=True)
    held = KeyFile(
        role=identity.role,
        name=identity.name,
        sign_x=str(octets["x"]),
        sign_d=str(octets["d"]),
        seal_x=identity.seal_key.x,
        seal_d=base64url(identity.sealing.private_bytes_raw()),
    )
    return json.dumps(held.model_dump(mode="json"), indent=1).encode() + b"\n"


def load_identity(path: Path) -> Identity:
    """Read private keys.

    Raises:
        KeyFileError: missing, open to others, malformed, or its halves do not belong together.
    """
    content = read_bounded(path, KEY_FILE_LIMIT, KeyFileError)
    if path.stat().st_mode & 0o077 and not _opened_for_service(path):
        raise KeyFileError("can be read by others", where=str(path), next_step=f"chmod 600 {path}")
    try:
        held = KeyFile.model_validate_json(content)
        signing = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": held.sign_x, "d": held.sign_d})
        sealing = X25519PrivateKey.from_private_bytes(unbase64url(held.seal_d))
    except (ValueError, DocumentError):
        # The cause (ValidationError is a ValueError) could quote the private key, so it is not passed on.
        raise KeyFileError(
            "is not an edgeagent key file", where=str(path), next_step="restore it from your copy"
        ) from None
    identity = Identity(held.role, held.name, signing, sealing)
    if identity.seal_key.x != held.seal_x or _public_half(signing) != held.sign_x:
        raise KeyFileError("its two halves differ", where=str(path), next_step="restore it from your copy")
    return identity


def _opened_for_service(path: Path) -> bool:
    """A credential of the service manager: root's file with an access list for the service's user alone.

    The list's mask stands where a group's rights would (seen as mode 0440 with systemd 257, 0400 with 252).
    """
    status = path.stat()
    return path.parent.parent == CREDENTIALS and status.st_uid == 0 and not status.st_mode & 0o037


def _public_half(key: OKPKey) -> str:
    """The public half that follows from the private one; the library keeps whatever `x` it was given."""
    private = key.private_key
    return "" if private is None else base64url(private.public_key().public_bytes_raw())
