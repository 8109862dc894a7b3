"""The one-time key of a unit for one deployment: the only key that opens the deployment's watchlist (R6).

A watchlist's content key is sealed to it and to nothing else, so when it is destroyed at the close, a copy of
the list is useless, even to somebody who has the unit's long-term key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import AwareDatetime

from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.keys import KEY_FILE_LIMIT, Identity, Octets32, Role
from edgeagent.documents.table import DocumentType, sign, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError, KeyFileError, SafeguardError
from edgeagent.safeguards.authority import DeploymentId, SealKey, UnitName
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import destroy, read_bounded, write_atomic

FOLDER = "deployment-keys"
"""Inside the unit's data folder."""


class DeploymentKey(StrictModel):
    """The public half, as the unit signs it for the desk that builds the list."""

    unit: UnitName
    deployment: DeploymentId
    seal: SealKey
    made_at: AwareDatetime

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the sealing key."""
        return thumbprint(self.seal)


DEPLOYMENT_KEY = DocumentType(
    "edgeagent-deployment-key", DeploymentKey, 4_096, must=frozenset({Role.UNIT}), compact=True
)


class _Name(StrictModel):
    deployment: DeploymentId


class _KeyFile(StrictModel):
    unit: UnitName
    deployment: DeploymentId
    made_at: AwareDatetime
    seal_d: Octets32


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """Both halves, on the unit."""

    unit: str
    deployment: str
    private: X25519PrivateKey
    made_at: AwareDatetime

    @property
    def public(self) -> DeploymentKey:
        """What the desk may know."""
        x = base64url(self.private.public_key().public_bytes_raw())
        seal = SealKey(kty="OKP", crv="X25519", x=x)
        return DeploymentKey(unit=self.unit, deployment=self.deployment, seal=seal, made_at=self.made_at)


def thumbprint(key: SealKey) -> str:
    """RFC 7638 thumbprint of an X25519 key, base64url."""
    members = json.dumps({"crv": key.crv, "kty": key.kty, "x": key.x}, separators=(",", ":"))
    return base64url(hashlib.sha256(members.encode()).digest())


def key_file(data: Path, deployment: str) -> Path:
    """Where the unit keeps the key.

    Raises:
        ValidationError: not a deployment's name, so that none can lead out of the folder.
    """
    return data / FOLDER / f"{_Name(deployment=deployment).deployment}.key"


def new_key(unit: str, deployment: str, now: Instant) -> OneTimeKey:
    """A fresh key from the system's random source; in memory only."""
    return OneTimeKey(unit, deployment, X25519PrivateKey.generate(), now.wall)


def save_key(key: OneTimeKey, data: Path) -> None:
    """Write the private half for its owner's eyes only.

    Raises:
        KeyFileError: there is one already.
    """
    file = key_file(data, key.public.deployment)
    if file.exists():
        raise KeyFileError("exists already", where=str(file), next_step="use it; a list may be sealed to it")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = _KeyFile(
        unit=key.unit,
        deployment=key.deployment,
        made_at=key.made_at,
        seal_d=base64url(key.private.private_bytes_raw()),
    )
    write_atomic(file, held.model_dump_json().encode() + b"\n", mode=0o600)


def load_key(data: Path, unit: str, deployment: str) -> OneTimeKey:
    """Read the private half.

    Raises:
        SafeguardError: R6, there is none (any more).
        DocumentError: open to others, malformed, or another deployment's or unit's.
    """
    file = key_file(data, deployment)
    try:
        there = file.exists()
    except OSError as cause:
        raise DocumentError(
            f"cannot be read: {cause.strerror}",
            where=str(file),
            next_step="give the folder to the service's user",
        ) from cause
    if not there:
        raise SafeguardError(
            "there is no one-time key for this deployment",
            where=str(file),
            next_step=f"edgeagent keys deployment {deployment}, then have the list built with its --unit-key",
            rule="R6",
        )
    content = read_bounded(file, KEY_FILE_LIMIT)
    if file.stat().st_mode & 0o077:
        raise DocumentError("can be read by others", where=str(file), next_step=f"chmod 600 {file}")
    try:
        held = _KeyFile.model_validate_json(content)
        private = X25519PrivateKey.from_private_bytes(unbase64url(held.seal_d))
    except (ValueError, DocumentError):
        # The cause could quote the private key, so it is not passed on.
        raise _not_the_key(file) from None
    if (held.unit, held.deployment) != (unit, deployment):
        raise _not_the_key(file)
    return OneTimeKey(unit, deployment, private, held.made_at)


def _not_the_key(file: Path) -> DocumentError:
    return DocumentError(
        "is not this unit's one-time key for this deployment",
        where=str(file),
        next_step="remove it, make a new one, and have the list built again",
    )


def destroy_key(data: Path, deployment: str) -> bool:
    """Overwrite and remove the private half (R6); whether there was one.

    What this cannot reach is in docs/deletion-of-the-list.md.
    """
    return destroy(key_file(data, deployment))


def kept_keys(data: Path) -> list[str]:
    """Deployments of which a key is kept."""
    return sorted(file.stem for file in (data / FOLDER).glob("*.key"))


def sign_key(key: OneTimeKey, identity: Identity) -> bytes:
    """The public half as the unit's signed document.

    Raises:
        DocumentError: not signed by a unit.
    """
    return sign(DEPLOYMENT_KEY, key.public, identity)


def verify_key(document: bytes, deployment: str, trust: TrustStore, now: Instant) -> DeploymentKey:
    """The public half, if a unit that is trusted now signed it for itself and for this deployment.

    Raises:
        DocumentError: which of these it is not.
    """
    verified = verify(DEPLOYMENT_KEY, document.strip(), trust, now)
    key, signer = verified.body, verified.signers[0].name
    where = f"key of unit {key.unit}"
    if key.unit != signer:
        raise DocumentError(f"is signed by unit {signer}", where=where, next_step="ask that unit for its own")
    if key.deployment != deployment:
        raise DocumentError(
            f"is for deployment {key.deployment}",
            where=where,
            next_step=f"edgeagent keys deployment {deployment} on the unit",
            rule="R6",
        )
    if key.made_at > now.wall + timedelta(seconds=trust.profile.clock_skew_s):
        raise DocumentError(
            "was made in the future", where=where, next_step="check the clocks of the desk and the unit"
        )
    return key
