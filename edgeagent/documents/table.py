"""Who may sign what: one table, read by one verifying function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from joserfc.jwk import OKPKey

from edgeagent.audit.checkpoint import TYP as CHECKPOINT_TYP
from edgeagent.audit.checkpoint import Checkpoint
from edgeagent.documents.health import Health
from edgeagent.documents.jws import Signed, sign_compact, sign_general, strict_json, unbase64url
from edgeagent.documents.jws import verify_compact as _verify_compact
from edgeagent.documents.jws import verify_general as _verify_general
from edgeagent.documents.keys import Identity, Role, public_signing_key
from edgeagent.documents.messages import Alert, Decision, Receipt, Revocation, UnitState, Verdict
from edgeagent.documents.parse import parse
from edgeagent.documents.trust import TrustedKey, TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Authority
from edgeagent.safeguards.certificate import Certificate
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import Lease
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.watchlist import Manifest

Body = TypeVar("Body", bound=StrictModel)


@dataclass(frozen=True, slots=True)
class DocumentType(Generic[Body]):
    """One kind of document.

    Attributes:
        typ: value of the JWS header, so that no kind can pass for another.
        model: what the payload must be.
        must: roles of which each must have signed.
        may: further roles that may sign.
        any_of: if set, exactly one signature of one of these roles instead.
        compact: a message (compact JWS) rather than a file (general JSON JWS).
        limit: most bytes, checked before parsing.
        timeless: counts whatever the clock says. Only what stops things may be: a unit whose clock is wrong
            must still learn that its deployment was revoked (R27).
    """

    typ: str
    model: type[Body]
    limit: int
    must: frozenset[Role] = frozenset()
    may: frozenset[Role] = frozenset()
    any_of: frozenset[Role] = frozenset()
    compact: bool = False
    timeless: bool = False


AUTHORITY = DocumentType(
    "edgeagent-authority",
    Authority,
    65_536,
    must=frozenset({Role.AUTHORISING_OFFICER}),
    may=frozenset({Role.INDEPENDENT_APPROVER}),
)
# R33: another typ and another role, so a bench key can never make a live authority, nor the reverse.
BENCH_AUTHORITY = DocumentType("edgeagent-bench-authority", Authority, 65_536, must=frozenset({Role.BENCH}))
WATCHLIST = DocumentType(
    "edgeagent-watchlist",
    Manifest,
    262_144,
    must=frozenset({Role.WATCHLIST_OFFICER}),
    may=frozenset({Role.INDEPENDENT_APPROVER}),
)
CERTIFICATE = DocumentType("edgeagent-certificate", Certificate, 262_144, must=frozenset({Role.EVALUATOR}))
REVOCATION = DocumentType(
    "edgeagent-revocation",
    Revocation,
    16_384,
    any_of=frozenset({Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER, Role.CONTROL_ROOM}),
    compact=True,
    timeless=True,
)
LEASE = DocumentType("edgeagent-lease", Lease, 4_096, must=frozenset({Role.CONTROL_ROOM}), compact=True)
RECEIPT = DocumentType("edgeagent-receipt", Receipt, 4_096, must=frozenset({Role.CONTROL_ROOM}), compact=True)
ALERT = DocumentType("edgeagent-alert", Alert, 131_072, must=frozenset({Role.UNIT}), compact=True)
DECISION = DocumentType("edgeagent-decision", Decision, 4_096, must=frozenset({Role.OPERATOR}), compact=True)
# R21: who of the two must have signed depends on the decision inside; `edgeagent.documents.verdict` looks.
VERDICT = DocumentType(
    "edgeagent-verdict", Verdict, 8_192, any_of=frozenset({Role.OPERATOR, Role.OFFICER}), compact=True
)
REVIEW = DocumentType(
    "edgeagent-review",
    RateReview,
    16_384,
    must=frozenset({Role.AUTHORISING_OFFICER}),
    may=frozenset({Role.INDEPENDENT_APPROVER}),
)
STATE = DocumentType("edgeagent-state", UnitState, 16_384, must=frozenset({Role.UNIT}), compact=True)
HEALTH = DocumentType("edgeagent-health", Health, 4_096, must=frozenset({Role.UNIT}), compact=True)
CHECKPOINT = DocumentType(CHECKPOINT_TYP, Checkpoint, 4_096, must=frozenset({Role.UNIT}), compact=True)


@dataclass(frozen=True, slots=True)
class Verified(Generic[Body]):
    """A verified document and the keys that signed it."""

    body: Body
    signers: tuple[TrustedKey, ...]

    def signed_by(self, role: Role) -> bool:
        """Whether a key of this role signed."""
        return any(key.role is role for key in self.signers)


def sign(kind: DocumentType[Body], body: Body, *identities: Identity) -> bytes:
    """Sign a body; refuses here already what no unit would accept.

    Raises:
        DocumentError: a role that may not sign this, or one missing.
    """
    _check_roles(kind, [identity.role for identity in identities])
    payload = body.model_dump_json().encode()
    keys = [identity.signing for identity in identities]
    if kind.compact:
        return sign_compact(payload, kind.typ, keys[0])
    return sign_general(payload, kind.typ, *keys)


def verify(kind: DocumentType[Body], document: bytes, trust: TrustStore, now: Instant) -> Verified[Body]:
    """Verify one document.

    1. Size, shape, algorithm and type. 2. Each key: known, not revoked, valid now. 3. Each signature.
    4. Roles. 5. Fields.

    Raises:
        DocumentError: the first of these that fails.
    """
    try:
        signed = _signed(kind, document, trust, now)
        signers = tuple(trust.key(kid, now, timeless=kind.timeless) for kid in signed.kids)
        _check_roles(kind, [key.role for key in signers])
        return Verified(parse(kind.model, signed.payload, kind.typ), signers)
    except DocumentError as refusal:
        if refusal.where:
            raise
        raise DocumentError(refusal.what, where=kind.typ, next_step=refusal.next_step) from refusal


def _signed(kind: DocumentType[Body], document: bytes, trust: TrustStore, now: Instant) -> Signed:
    def key_of(kid: str) -> OKPKey:
        return public_signing_key(trust.key(kid, now, timeless=kind.timeless).sign_x)

    check = _verify_compact if kind.compact else _verify_general
    return check(document, kind.typ, key_of, limit=kind.limit)


def _check_roles(kind: DocumentType[Body], roles: list[Role]) -> None:
    allowed = kind.any_of or kind.must | kind.may
    for role in roles:
        if role not in allowed:
            raise DocumentError(f"may not be signed by a {role} key", next_step="have the right person sign")
    for role in kind.must:
        if role not in roles:
            raise DocumentError(
                f"lacks the signature of a {role} key", next_step="have the right person sign"
            )
    if not roles or (kind.compact and len(roles) != 1):
        raise DocumentError("must have one signature", next_step="have it signed")


def typ_of(document: bytes) -> str:
    """The type that a general JSON JWS says it is; unverified, only to choose what to verify it as.

    Raises:
        DocumentError: not a signed document.
    """
    try:
        header = strict_json(unbase64url(strict_json(document)["signatures"][0]["protected"]))
        return str(header["typ"])
    except (KeyError, IndexError, TypeError) as cause:
        raise DocumentError(
            "is not a signed document", next_step="check that it is the right file"
        ) from cause
