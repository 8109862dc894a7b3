"""A new unit's request: its public keys, proof of each private half, and whom it was told to trust.

Nobody's trust store knows the key that signs it, so it shows possession and nothing else: who the unit is, is
shown by the code that a person reads from it, and by the token.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import AttributeOID, NameOID
from joserfc.jwk import OKPKey
from pydantic import Field

from edgeagent.documents.enrol_invitation import Invitation
from edgeagent.documents.jws import (
    KeyOf,
    base64url,
    sign_general,
    strict_json,
    unbase64url,
    verify_general,
)
from edgeagent.documents.keys import Identity, Octets32, public_signing_key
from edgeagent.documents.parse import parse
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import Sha256, UnitName
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.enrol_keys import Kept

TYP = "edgeagent-enrolment-request"
REQUEST_LIMIT = 16_384
WHERE = "request"
AGAIN = "have it made again on the unit: edgeagent enrol begin --again"


class Asked(StrictModel):
    """All that a person confirms with the code.

    Attributes:
        number: counts this card's requests.
        nonce: 128 random bits.
        root, authority_sha256, control_room_key: what the unit was told to trust (`Invitation`).
        tls_sha256: of the TLS key's SubjectPublicKeyInfo (DER).
        kept: where the unit says that its private keys lie; nothing proves it.
    """

    unit: UnitName
    number: Annotated[int, Field(ge=1, le=2**53)]
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{21}[AQgw]$")]
    root: Octets32
    authority_sha256: Sha256
    control_room_key: Octets32
    sign_x: Octets32
    seal_x: Octets32
    tls_sha256: Sha256
    kept: Kept

    @property
    def transcript(self) -> bytes:
        """SHA-256 of all of it: what every proof and the code are about."""
        return hashlib.sha256(b"edgeagent enrolment 1\0" + self.model_dump_json().encode()).digest()

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the signing key."""
        return public_signing_key(self.sign_x).thumbprint()


class EnrolmentRequest(StrictModel):
    """What is signed, with the key that is asked for.

    Attributes:
        tls_request: PKCS #10, PEM; its challenge is the transcript.
        token_proof: HMAC-SHA256 of the transcript with the token, which is itself not told.
        seal_proof: HMAC-SHA256 of the transcript with what unit and control room agree on by X25519.
    """

    asked: Asked
    tls_request: Annotated[str, Field(min_length=100, max_length=4096)]
    token_proof: Octets32
    seal_proof: Octets32


@dataclass(frozen=True, slots=True)
class UnitKeys:
    """A unit's three private keys."""

    identity: Identity
    tls: ec.EllipticCurvePrivateKey


def tls_digest(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a TLS key's SubjectPublicKeyInfo, hexadecimal."""
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()


def make_request(keys: UnitKeys, invitation: Invitation, asked: Asked) -> bytes:
    """The request's file.

    Raises:
        DocumentError: the control room's key in the invitation is not one.
    """
    challenge = base64url(asked.transcript).encode()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, asked.unit)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    request = EnrolmentRequest(
        asked=asked,
        tls_request=builder.sign(keys.tls, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(),
        token_proof=token_proof(asked, invitation.secret),
        seal_proof=seal_proof(asked, keys.identity.sealing, asked.control_room_key),
    )
    return sign_general(request.model_dump_json().encode(), TYP, keys.identity.signing)


def token_proof(asked: Asked, secret: bytes) -> str:
    """Shows that whoever asks had the token (16 octets)."""
    return base64url(hmac.digest(secret, b"token\0" + asked.transcript, "sha256"))


def seal_proof(asked: Asked, mine: X25519PrivateKey, theirs_x: str) -> str:
    """Shows that whoever asks holds the X25519 key: either side can make it, nobody else (RFC 6955's way).

    Raises:
        DocumentError: a key with which every agreement comes out alike.
    """
    try:
        agreed = mine.exchange(X25519PublicKey.from_public_bytes(unbase64url(theirs_x)))
    except ValueError as cause:
        raise DocumentError("names an X25519 key that is none", where=WHERE, next_step=AGAIN) from cause
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"edgeagent enrolment seal 1")
    return base64url(hmac.digest(derive.derive(agreed), asked.transcript, "sha256"))


def open_request(document: bytes) -> EnrolmentRequest:
    """A request that is whole: signed by the key that it asks for, its TLS key proven, all of one transcript.

    1. Length, form, algorithm, type. 2. The one signature, by its own key. 3. Fields. 4. The TLS key's proof.
    Token and X25519 proof need the control room's secrets: `token_proof`, `seal_proof`.

    Raises:
        DocumentError: the first of these that fails.
    """
    try:
        signed = verify_general(document, TYP, _own_key(document), limit=REQUEST_LIMIT)
        request = parse(EnrolmentRequest, signed.payload, WHERE)
        _check_tls(request)
    except DocumentError as refusal:
        raise DocumentError(
            refusal.what, where=refusal.where or WHERE, next_step=refusal.next_step
        ) from refusal
    return request


def _own_key(document: bytes) -> KeyOf:
    """The key is taken from the unverified content; that is all a self-signature can show."""

    def key_of(kid: str) -> OKPKey:
        asked = parse(EnrolmentRequest, unbase64url(strict_json(document)["payload"]), WHERE).asked
        if kid != asked.kid:
            raise DocumentError("is not signed with the key that it asks for", next_step=AGAIN)
        return public_signing_key(asked.sign_x)

    return key_of


def _check_tls(request: EnrolmentRequest) -> None:
    asked = request.asked
    try:
        made = x509.load_pem_x509_csr(request.tls_request.encode())
        key = made.public_key()
        proven = made.is_signature_valid
        challenge = made.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.AttributeNotFound) as cause:
        raise DocumentError("holds no TLS request that can be read", next_step=AGAIN) from cause
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DocumentError("asks for a TLS key that is not EC P-256", next_step=AGAIN)
    if not proven or tls_digest(key) != asked.tls_sha256:
        raise DocumentError("does not prove its TLS key", next_step=AGAIN)
    if challenge != base64url(asked.transcript).encode():
        raise DocumentError("holds the TLS request of another request", next_step=AGAIN)
