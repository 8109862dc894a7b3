"""The watchlist file: a signed manifest, then one AES-256-GCM body for the units that it names.

The body's key is sealed to each unit's one-time key for the deployment, never to a long-term one (R6).

    b"EDGELIST1\\n" · length of the manifest (4 octets, big endian) · manifest (general JSON JWS) · body

The body's plain form is: length of the entries (4 octets) · entries (JSON) · templates (float32, little
endian, row by row). It exists in memory only (R6).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field

from edgeagent.documents.deployment_key import DeploymentKey, OneTimeKey
from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.keys import Identity, Role, public_sealing_key
from edgeagent.documents.parse import parse
from edgeagent.documents.seal import seal, unseal, watchlist_info
from edgeagent.documents.table import WATCHLIST, Verified, sign, verify
from edgeagent.documents.trust import TrustedKey, TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.people import all_differ
from edgeagent.safeguards.profile import MOST_ENTRIES, StrictModel
from edgeagent.safeguards.watchlist import Entry, Manifest, SealedKey, Terms, body_matches

MAGIC = b"EDGELIST1\n"
NONCE_BYTES = 12
TAG_BYTES = 16
FILE_LIMIT = 64 * 1024 * 1024

Templates = npt.NDArray[np.float32]


class _Entries(StrictModel):
    entries: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=MOST_ENTRIES)]


@dataclass(frozen=True, slots=True)
class SealedWatchlist:
    """A verified watchlist file whose body is still closed.

    Attributes:
        sha256: of the whole file; the authority names it.
        approved: an independent approver signed too.
        signers: who signed the manifest.
        head: the signed manifest, to be judged again without the body.
    """

    manifest: Manifest
    sha256: str
    approved: bool
    signers: tuple[TrustedKey, ...]
    head: bytes
    _body: bytes

    def open(self, key: OneTimeKey) -> tuple[tuple[Entry, ...], Templates]:
        """Entries and templates, (n, d) float32 of unit length, with a key that the list is sealed to.

        Raises:
            DocumentError: not sealed to this key, or altered.
        """
        return _open_body(self.manifest, self._body, key)


def pack(
    terms: Terms,
    entries: tuple[Entry, ...],
    templates: Templates,
    units: list[DeploymentKey],
    *signers: Identity,
    commitments_sha256: str,
) -> bytes:
    """The sealed and signed file, made anew each time with a fresh content key.

    Args:
        units: verified one-time keys of this deployment, one a unit.
        commitments_sha256: of the file of commitments that is kept beside the list (R31).

    Raises:
        DocumentError: a role that may not sign.
        SafeguardError: the terms do not count these entries.
    """
    listing = _Entries(entries=entries).model_dump_json().encode()
    plain = len(listing).to_bytes(4, "big") + listing + templates.astype("<f4").tobytes()
    key, nonce = AESGCM.generate_key(256), os.urandom(NONCE_BYTES)
    body = nonce + AESGCM(key).encrypt(nonce, plain, terms.deployment.encode())
    sealed_keys = tuple(_sealed_key(key, terms.deployment, unit) for unit in units)
    body_matches(terms, entries)
    digest = hashlib.sha256(body).hexdigest()
    manifest = Manifest(
        **terms.model_dump(),
        ciphertext_sha256=digest,
        sealed_keys=sealed_keys,
        commitments_sha256=commitments_sha256,
    )
    head = sign(WATCHLIST, manifest, *signers)
    return MAGIC + len(head).to_bytes(4, "big") + head + body


def _sealed_key(key: bytes, deployment: str, unit: DeploymentKey) -> SealedKey:
    info = watchlist_info(deployment, unit.unit)
    sealed = seal(key, public_sealing_key(unit.seal), info)
    return SealedKey(unit=unit.unit, kid=unit.kid, sealed=base64url(sealed))


def split(content: bytes) -> tuple[bytes, bytes]:
    """Manifest document and body, nothing verified.

    Raises:
        DocumentError: not a watchlist file, or cut short.
    """
    start = len(MAGIC) + 4
    if not content.startswith(MAGIC) or len(content) < start:
        raise DocumentError("is not a watchlist file", where="watchlist", next_step="check the file's name")
    size = int.from_bytes(content[len(MAGIC) : start], "big")
    if size > WATCHLIST.limit or len(content) < start + size + NONCE_BYTES:
        raise DocumentError("is cut short", where="watchlist", next_step="copy it again")
    return content[start : start + size], content[start + size :]


def verify_watchlist(content: bytes, trust: TrustStore, now: Instant) -> SealedWatchlist:
    """Verify the manifest's signatures and that the body is the one it names.

    Raises:
        DocumentError: malformed, cut short, altered, or signed by the wrong role.
    """
    head, body = split(content)
    verified = verify(WATCHLIST, head, trust, now)
    if hashlib.sha256(body).hexdigest() != verified.body.ciphertext_sha256:
        raise DocumentError(
            "has a body that was altered or cut short", where="watchlist", next_step="copy it again"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    return SealedWatchlist(
        verified.body, sha256, independently_approved(verified), verified.signers, head, body
    )


def independently_approved(verified: Verified[Manifest]) -> bool:
    """Whether an independent approver signed too; two keys of one person are one person."""
    signed = verified.signed_by(Role.INDEPENDENT_APPROVER)
    return signed and all_differ(key.name for key in verified.signers)


def _open_body(manifest: Manifest, body: bytes, own: OneTimeKey) -> tuple[tuple[Entry, ...], Templates]:
    kid = own.public.kid
    sealed = next((s for s in manifest.sealed_keys if s.kid == kid), None)
    if sealed is None:
        raise DocumentError(
            "is not sealed to this unit's key for this deployment",
            where="watchlist",
            next_step=f"build it with the --unit-key that {own.unit} made",
        )
    key = unseal(unbase64url(sealed.sealed), own.private, watchlist_info(manifest.deployment, own.unit))
    plain = bytearray(max(0, len(body) - NONCE_BYTES - TAG_BYTES))
    try:
        AESGCM(key).decrypt_into(body[:NONCE_BYTES], body[NONCE_BYTES:], manifest.deployment.encode(), plain)
        size = int.from_bytes(plain[:4], "big")
        entries = parse(_Entries, bytes(plain[4 : 4 + size]), "watchlist entries").entries
        body_matches(manifest, entries)
        return entries, _templates(memoryview(plain)[4 + size :], manifest)
    except (InvalidTag, ValueError) as cause:
        raise DocumentError("cannot be opened", where="watchlist", next_step="build it again") from cause
    finally:
        plain[:] = bytes(len(plain))  # R6: no plain copy of the list beside the gallery


def _templates(octets: memoryview, manifest: Manifest) -> Templates:
    if len(octets) != manifest.entries * manifest.dimension * 4:
        raise DocumentError("has templates of another shape", where="watchlist", next_step="build it again")
    templates = np.frombuffer(octets, "<f4").reshape(manifest.entries, manifest.dimension).astype(np.float32)
    with np.errstate(all="ignore"):  # a value out of range fails the test below
        lengths = np.linalg.norm(templates, axis=1)
    if not np.all(np.abs(lengths - 1) < 1e-3):
        raise DocumentError("has templates of another length", where="watchlist", next_step="build it again")
    return templates
