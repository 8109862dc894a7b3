"""The control room's word that a unit is enrolled, and what the unit checks before it trusts anything."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime

from edgeagent.documents.enrol_request import Asked, tls_digest
from edgeagent.documents.keys import Role
from edgeagent.documents.table import DocumentType, verify
from edgeagent.documents.trust import TrustStore, open_trust_store
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import Sha256, UnitName
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import StrictModel

WRONG = "ask the control room for the files of this unit's newest request"


class Enrolment(StrictModel):
    """That one request was approved, and which files go with it.

    Attributes:
        request: transcript of the request (SHA-256).
        certificate_sha256, authority_sha256: of the unit's TLS certificate and its authority's (DER).
        trust_store_sha256: of the trust store's file.
    """

    unit: UnitName
    request: Sha256
    certificate_sha256: Sha256
    authority_sha256: Sha256
    trust_store_sha256: Sha256
    approved_at: AwareDatetime


ENROLMENT = DocumentType("edgeagent-enrolment", Enrolment, 4_096, must=frozenset({Role.CONTROL_ROOM}))


@dataclass(frozen=True, slots=True)
class ApprovalFiles:
    """The four files that a unit is given, as octets."""

    approval: bytes
    trust_store: bytes
    certificate: bytes
    authority: bytes


def check_approval(files: ApprovalFiles, asked: Asked, now: Instant) -> TrustStore:
    """Whether this is the answer to this very request; nothing of it is trusted before.

    1. The trust store, by the root key that the unit was told and that the code covered. 2. The approval, by
    a control room's key in that store. 3. It answers this request of this unit. 4. Each file is the one that
    it names. 5. The authority is the one that the code covered, and it certified this unit's key.

    Raises:
        DocumentError: the first of these that fails.
    """
    trust = open_trust_store(files.trust_store, asked.root)
    said = verify(ENROLMENT, files.approval, trust, now).body
    if said.unit != asked.unit:
        raise _wrong(f"is for unit {said.unit}; this is {asked.unit}")
    if said.request != asked.transcript.hex():
        raise _wrong("answers another request: of other keys, or an earlier one")
    _own_line(trust, asked)
    authority, certificate = _parsed(files.authority, "ca.crt"), _parsed(files.certificate, "unit.crt")
    named = {
        "trust.json": (hashlib.sha256(files.trust_store).hexdigest(), said.trust_store_sha256),
        "ca.crt": (digest(authority), said.authority_sha256),
        "unit.crt": (digest(certificate), said.certificate_sha256),
    }
    for file, (found, expected) in named.items():
        if found != expected:
            raise _wrong("is not the file that was approved", file)
    if digest(authority) != asked.authority_sha256:
        raise _wrong("is not the authority that this unit was told to trust", "ca.crt")
    _check_certificate(certificate, authority, asked, now)
    return trust


def digest(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate (DER), hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _own_line(trust: TrustStore, asked: Asked) -> None:
    """Usually the store does not list the unit yet; what it must not do is list its key as something else."""
    line = trust.by_kid.get(asked.kid)
    if line is not None and (line.revoked or line.role is not Role.UNIT or line.name != asked.unit):
        raise _wrong("lists this unit's key as revoked, or as another's", "trust.json")


def _parsed(content: bytes, file: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except (ValueError, x509.InvalidVersion) as cause:
        raise _wrong("is not a certificate", file) from cause


def _check_certificate(
    certificate: x509.Certificate, authority: x509.Certificate, asked: Asked, now: Instant
) -> None:
    try:
        certificate.verify_directly_issued_by(authority)
        key = certificate.public_key()
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as cause:
        raise _wrong("was not issued by that authority", "unit.crt") from cause
    if not isinstance(key, ec.EllipticCurvePublicKey) or tls_digest(key) != asked.tls_sha256:
        raise _wrong("is for another key", "unit.crt")
    if names != [asked.unit]:
        raise _wrong("is for another unit", "unit.crt")
    if not certificate.not_valid_before_utc <= now.wall < certificate.not_valid_after_utc:
        raise DocumentError(
            f"is not valid now; this unit's clock says {now.wall:%Y-%m-%d %H:%M}",
            where="unit.crt",
            next_step="set the clock, or have the certificate renewed",
        )


def _wrong(what: str, where: str = "approval") -> DocumentError:
    return DocumentError(what, where=where, next_step=WRONG)
