"""The trust store: whose keys count, for what, until when, and the profile of limits in force.

It is itself a signed document. A unit pins the thumbprint of one root key in its configuration; the store is
accepted only with that key's signature, so adding a key or loosening a limit needs the root's holder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, Field

from edgeagent.documents.jws import KeyOf, strict_json, unbase64url, verify_general
from edgeagent.documents.keys import Identity, Octets32, Role, public_signing_key
from edgeagent.documents.parse import parse
from edgeagent.documents.sequence import Numbered
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import SealKey
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import Profile, StrictModel

TYP = "edgeagent-trust-store"
TRUST_STORE_LIMIT = 1_000_000


class TrustedKey(StrictModel):
    """One key that counts.

    Attributes:
        name: of the person or the unit; for a unit its unit name.
        sign_x: Ed25519 public key.
        seal: X25519 public key, where something is sealed to the holder.
        revoked: listed so that a refusal can say why.
    """

    role: Role
    name: Annotated[str, Field(min_length=1, max_length=80)]
    sign_x: Octets32
    seal: SealKey
    not_before: AwareDatetime
    not_after: AwareDatetime
    revoked: bool

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the signing key."""
        return public_signing_key(self.sign_x).thumbprint()


class TrustStoreContent(StrictModel):
    """What the root signs. The root's own public key is in it, so that the store can be checked alone."""

    sequence: Annotated[int, Field(ge=1, le=2**53)]
    issued_at: AwareDatetime
    root_x: Octets32
    profile: Profile
    keys: Annotated[tuple[TrustedKey, ...], Field(max_length=5000)]


@dataclass(frozen=True, slots=True)
class TrustStore:
    """A verified trust store."""

    content: TrustStoreContent
    sha256: str
    by_kid: dict[str, TrustedKey]

    @property
    def numbered(self) -> Numbered:
        """Name, sequence and hash, to be remembered against rollback."""
        return Numbered("trust store", self.content.sequence, self.sha256)

    @property
    def profile(self) -> Profile:
        """Limits in force."""
        return self.content.profile

    def key(self, kid: str, now: Instant, *, timeless: bool = False) -> TrustedKey:
        """The key that counts now under this kid; `timeless` leaves out the times between which it counts.

        Raises:
            DocumentError: unknown, revoked, not valid yet or any more.
        """
        key = self.by_kid.get(kid)
        if key is None:
            raise DocumentError(
                "is signed by a key that is not in the trust store", next_step="check who signed"
            )
        if key.revoked:
            raise DocumentError(f"is signed with {key.name}'s revoked key", next_step="have it signed anew")
        if not timeless and not key.not_before <= now.wall < key.not_after:
            raise DocumentError(
                f"is signed with {key.name}'s key, which is not valid now",
                next_step="renew the key or the clock",
            )
        return key

    def unit(self, name: str) -> TrustedKey:
        """The key of a unit by its name.

        Raises:
            DocumentError: no such unit.
        """
        for key in self.content.keys:
            if key.role is Role.UNIT and key.name == name and not key.revoked:
                return key
        raise DocumentError(
            f"has no unit {name}", where="trust store", next_step="add the unit and sign again"
        )


def trusted(identity: Identity, *, not_before: AwareDatetime, not_after: AwareDatetime) -> TrustedKey:
    """The public halves of an identity, ready for a trust store."""
    return TrustedKey(
        role=identity.role,
        name=identity.name,
        sign_x=str(identity.signing.as_dict(private=False)["x"]),
        seal=identity.seal_key,
        not_before=not_before,
        not_after=not_after,
        revoked=False,
    )


def open_trust_store(document: bytes, root: str) -> TrustStore:
    """Verify a trust store against the pinned root thumbprint.

    Raises:
        DocumentError: not signed by that root, malformed, or two keys are alike.
    """
    signed = verify_general(document, TYP, _root_key(document, root), limit=TRUST_STORE_LIMIT)
    content = parse(TrustStoreContent, signed.payload, "trust store")
    by_kid = {key.kid: key for key in content.keys}
    if len(by_kid) != len(content.keys) or root in by_kid:
        raise DocumentError(
            "lists one key twice", where="trust store", next_step="one role a key; sign it again"
        )
    return TrustStore(content, hashlib.sha256(document).hexdigest(), by_kid)


def _root_key(document: bytes, root: str) -> KeyOf:
    """Take the candidate key from the unverified content; only the pinned thumbprint makes it count."""

    def key_of(kid: str) -> OKPKey:
        content = parse(TrustStoreContent, unbase64url(strict_json(document)["payload"]), "trust store")
        key = public_signing_key(content.root_x)
        if kid != root or key.thumbprint() != root:
            raise DocumentError(
                "is not signed by the root key that the configuration pins",
                where="trust store",
                next_step="compare trust.root with the thumbprint that the root's holder reads out",
            )
        return key

    return key_of
