"""Approving and refusing: the code was typed, and what follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgeagent.controlroom.enrol_desk import Room, answer_name, examine, invitation_file, refused
from edgeagent.controlroom.enrol_register import Because, Event, Invited, Line, Register
from edgeagent.documents.enrol_approval import ENROLMENT, Enrolment, digest
from edgeagent.documents.enrol_code import is_code_of
from edgeagent.documents.enrol_request import (
    Asked,
    EnrolmentRequest,
    tls_digest,
)
from edgeagent.documents.keys import Role
from edgeagent.documents.table import sign
from edgeagent.documents.trust import TrustedKey
from edgeagent.safeguards.authority import SealKey
from edgeagent.system.certificates import issue_for_request
from edgeagent.system.files import destroy, write_atomic
from edgeagent.system.pem import load_certificate, pem
from edgeagent.system.revocation import CRL, list_issued, revoke, write_crl

CLOCK_TOLERANCE = timedelta(minutes=5)
CRL_DAYS = 90


@dataclass(frozen=True, slots=True)
class Authority:
    """The TLS authority's folder and what opens it.

    Attributes:
        days: how long certificate and key shall count.
    """

    folder: Path
    passphrase: bytes | None
    days: int


@dataclass(frozen=True, slots=True)
class Approved:
    """What an approval made.

    Attributes:
        folder: the four files for the unit.
        key: for the root's holder, to be added to the trust store.
        revoked: keys that take their leave with it, for the root's holder.
        crl: to be taken to every broker; None if no certificate was revoked.
    """

    folder: Path
    key: Path
    revoked: tuple[Path, ...]
    crl: Path | None


def approve(
    register: Register, room: Room, document: bytes, typed: str, authority: Authority, *, replaces: bool
) -> Approved:
    """Approve one request whose code a person read from the unit.

    A power cut leaves `approving`, and the same command with the same request goes on from there.

    Raises:
        DocumentError: a check of `examine`, another code, or the unit's name is taken.
        KeyFileError: the authority cannot be opened.
    """
    request, invited = examine(register, room, document, authority.folder / "ca.crt")
    asked, begun = request.asked, invited.decided
    if not is_code_of(typed, asked.transcript):
        _note(register, room, Event.CODE_DIFFERED, asked, invited)
        raise refused("its code is another than the one that was typed", _CODE_STEP)
    if any(key.kid == asked.kid and key.revoked for key in room.trust.content.keys):
        raise refused("its key was revoked", "have it make new keys: edgeagent enrol begin --again")
    old = _old_keys(register, room, asked)
    replacing = begun.replacing if begun else _may_replace(asked, old, authority.folder, replaces)
    key = (
        _line_for_trust_store(asked, room, authority.days)
        if begun is None or begun.key is None
        else begun.key
    )
    if begun is None:
        _note(register, room, Event.APPROVING, asked, invited, key=key, replacing=replacing)
    crl = _revoke_old(asked, authority, room) if replacing else None
    certificate = _certificate(request, authority, room)
    folder = _write_answer(register, room, asked, certificate, authority.folder / "ca.crt")
    keys = _write_keys(register, key, old if replacing else ())
    _note(register, room, Event.APPROVED, asked, invited, key=key, replacing=replacing)
    destroy(invitation_file(register, asked.unit))
    return Approved(folder, keys[0], tuple(keys[1:]), crl)


def refuse(register: Register, room: Room, document: bytes, because: Because, authority: Path) -> None:
    """Refuse a request for good: its token is used up.

    Only a request that knows the token can be refused, or a stranger's could use up a good unit's token.

    Raises:
        DocumentError: a check of `examine`.
    """
    request, invited = examine(register, room, document, authority)
    if invited.decided is not None:
        raise refused("its approval has begun", "finish it: edgeagent enrolment approve")
    _note(register, room, Event.REFUSED, request.asked, invited, because=because)
    destroy(invitation_file(register, request.asked.unit))


def _note(
    register: Register, room: Room, event: Event, asked: Asked, invited: Invited, **said: object
) -> Line:
    return register.append(
        event,
        room.now.wall,
        room.identity.name,
        asked.unit,
        invited.line.token_id,
        request=asked.transcript.hex(),
        **said,
    )


def _old_keys(register: Register, room: Room, asked: Asked) -> tuple[TrustedKey, ...]:
    """Keys that bear the unit's name already, by the register or by the trust store."""
    registered = register.enrolled(asked.unit)
    known = [] if registered is None else [registered]
    known += [
        key
        for key in room.trust.content.keys
        if key.role is Role.UNIT and key.name == asked.unit and not key.revoked
    ]
    return tuple({key.kid: key for key in known if key.kid != asked.kid}.values())


def _may_replace(asked: Asked, old: tuple[TrustedKey, ...], folder: Path, replaces: bool) -> bool:
    taken = bool(old) or (folder / f"{asked.unit}.crt").exists()
    if taken and not replaces:
        raise refused(
            f"there is a unit {asked.unit} with other keys",
            "if this one takes its place: --replaces, which revokes the old one's certificate",
        )
    if replaces and not taken:
        raise refused(f"there is no unit {asked.unit} yet", "leave --replaces out")
    return taken


def _revoke_old(asked: Asked, authority: Authority, room: Room) -> Path:
    """Revoke certificates of other keys under this name and free the name; may be done again."""
    folder, now, passphrase = authority.folder, room.now.wall, authority.passphrase
    named = [one for one in list_issued(folder) if one.name == asked.unit and one.counts(now)]
    if all(_is_for(one.certificate, asked) for one in named):
        if not named:  # ended by itself, or revoked before a power cut
            for suffix in ("crt", "key"):
                destroy(folder / f"{asked.unit}.{suffix}")
        return write_crl(folder, days=CRL_DAYS, now=now, passphrase=passphrase)
    revoke(folder, asked.unit, reason="superseded", crl_days=CRL_DAYS, now=now, passphrase=passphrase)
    return folder / CRL


def _certificate(request: EnrolmentRequest, authority: Authority, room: Room) -> x509.Certificate:
    """The one that was issued before a power cut, or a new one."""
    asked, now = request.asked, room.now.wall
    for one in list_issued(authority.folder):
        if one.name == asked.unit and one.counts(now) and _is_for(one.certificate, asked):
            return one.certificate
    made = issue_for_request(
        authority.folder,
        asked.unit,
        request.tls_request.encode(),
        days=authority.days,
        now=now,
        passphrase=authority.passphrase,
    )
    return load_certificate(made)


def _is_for(certificate: x509.Certificate, asked: Asked) -> bool:
    key = certificate.public_key()
    return isinstance(key, ec.EllipticCurvePublicKey) and tls_digest(key) == asked.tls_sha256


def _line_for_trust_store(asked: Asked, room: Room, days: int) -> TrustedKey:
    return TrustedKey(
        role=Role.UNIT,
        name=asked.unit,
        sign_x=asked.sign_x,
        seal=SealKey(kty="OKP", crv="X25519", x=asked.seal_x),
        not_before=room.now.wall - CLOCK_TOLERANCE,
        not_after=room.now.wall + timedelta(days=days),
        revoked=False,
    )


def _write_answer(
    register: Register, room: Room, asked: Asked, certificate: x509.Certificate, authority: Path
) -> Path:
    """The four files for the unit; the approval last, since without it the others are nothing."""
    folder = register.folder / "approved" / answer_name(asked)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    issuer = load_certificate(authority)
    said = Enrolment(
        unit=asked.unit,
        request=asked.transcript.hex(),
        certificate_sha256=digest(certificate),
        authority_sha256=digest(issuer),
        trust_store_sha256=hashlib.sha256(room.trust_file).hexdigest(),
        approved_at=room.now.wall,
    )
    write_atomic(folder / "trust.json", room.trust_file)
    write_atomic(folder / "ca.crt", pem(issuer))
    write_atomic(folder / "unit.crt", pem(certificate))
    write_atomic(folder / "approval.json", sign(ENROLMENT, said, room.identity))
    return folder


def _write_keys(register: Register, key: TrustedKey, old: tuple[TrustedKey, ...]) -> list[Path]:
    """Public keys as `keys trust` takes them: the new one first, then those to be listed as revoked."""
    folder = register.folder / "keys"
    folder.mkdir(mode=0o755, exist_ok=True)
    made = [folder / f"{key.name}.json"]
    lines = [key]
    for gone in old:
        made.append(folder / f"{gone.name}-revoked-{gone.kid[:8]}.json")
        lines.append(gone.model_copy(update={"revoked": True}))
    for file, line in zip(made, lines, strict=True):
        write_atomic(file, json.dumps(line.model_dump(mode="json"), indent=1).encode() + b"\n")
    return made


_CODE_STEP = (
    "have it read from the unit itself again (edgeagent enrol status); if it still differs, somebody "
    "exchanged the request: refuse it"
)
