"""Inviting units, and looking at what they ask: the control room's side of an enrolment.

Nothing is approved by looking at a screen: the code is never shown here, so it can only come from the unit.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from edgeagent.controlroom.enrol_register import Event, Invited, Line, Register
from edgeagent.documents.enrol_approval import digest
from edgeagent.documents.enrol_invitation import (
    Invitation,
    invitation_text,
    new_token,
    read_invitation,
)
from edgeagent.documents.enrol_request import (
    Asked,
    EnrolmentRequest,
    open_request,
    seal_proof,
    token_proof,
)
from edgeagent.documents.keys import Identity
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.files import write_atomic
from edgeagent.system.pem import load_certificate

ANOTHER = "find out where this request came from; do not approve it"
INVITE = "edgeagent enrolment invite for a new token, then edgeagent enrol begin --again on the unit"


@dataclass(frozen=True, slots=True)
class Room:
    """The control room: its key, its trust store (verified, and as octets), and one reading of the clock."""

    identity: Identity
    root: str
    trust: TrustStore
    trust_file: bytes
    now: Instant


# --- inviting -----------------------------------------------------------------------------------------------


def invite(register: Register, room: Room, unit: str, broker: str, authority: Path, days: int) -> bytes:
    """A new invitation, and the end of the unit's earlier ones; returns `enrolment.toml`.

    Raises:
        KeyFileError: the authority's certificate cannot be read.
    """
    invitation = Invitation(
        unit=unit,
        broker=broker,
        token=new_token(),
        root=room.root,
        control_room_ca=digest(load_certificate(authority)),
        control_room_key=room.identity.seal_key.x,
    )
    content, kept = invitation_text(invitation), invitation_file(register, unit)
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomic(kept, content, mode=0o600)  # before the line: a line without its token could not be answered
    register.append(
        Event.INVITED,
        room.now.wall,
        room.identity.name,
        unit,
        invitation.token_id,
        expires_at=room.now.wall + timedelta(days=days),
    )
    return content


def invitation_file(register: Register, unit: str) -> Path:
    """Where the token is kept until it is used up."""
    return register.folder / "invitations" / f"{unit}.toml"


# --- looking at a request -----------------------------------------------------------------------------------


def examine(
    register: Register, room: Room, document: bytes, authority: Path
) -> tuple[EnrolmentRequest, Invited]:
    """Everything that can be checked without the code; writes nothing.

    1. The request is whole. 2. The unit was told to trust us and nobody else. 3. Its invitation is ours, the
    newest, in time and not used up. 4. It had the token. 5. It holds its X25519 key.

    Raises:
        DocumentError: the first of these that fails.
    """
    room.trust.key(room.identity.kid, room.now)  # else no unit would take our word
    request = open_request(document)
    asked = request.asked
    _check_pins(asked, room, load_certificate(authority))
    invited = _open_invitation(register, room, asked, request.token_proof)
    if not hmac.compare_digest(request.seal_proof, seal_proof(asked, room.identity.sealing, asked.seal_x)):
        raise refused("does not prove its X25519 key", ANOTHER)
    return request, invited


def _check_pins(asked: Asked, room: Room, authority: x509.Certificate) -> None:
    """A card that was changed before its first boot would make the unit trust somebody else."""
    ours = {
        "root": (asked.root, room.root),
        "control_room_ca": (asked.authority_sha256, digest(authority)),
        "control_room_key": (asked.control_room_key, room.identity.seal_key.x),
    }
    for key, (told, expected) in ours.items():
        if told != expected:
            raise refused(
                f"the unit was told to trust another {key}",
                "its card was changed, or is another control room's: make the card anew",
            )


def _open_invitation(register: Register, room: Room, asked: Asked, proof: str) -> Invited:
    invited = register.invited(asked.unit)
    if invited is None:
        raise refused(f"nobody invited a unit {asked.unit}", ANOTHER)
    newest, decided = invited.line, invited.decided
    if decided is not None and (
        decided.event is not Event.APPROVING or decided.request != asked.transcript.hex()
    ):
        raise _used(decided, asked)
    if newest.expires_at is not None and room.now.wall >= newest.expires_at and decided is None:
        raise refused(f"its invitation expired on {newest.expires_at:%Y-%m-%d}", INVITE)
    kept = read_invitation(invitation_file(register, asked.unit))
    if not hmac.compare_digest(proof, token_proof(asked, kept.secret)):
        raise refused(
            f"does not know the token of {asked.unit}'s newest invitation",
            f"an earlier card, or a stranger's: {INVITE}",
        )
    return invited


def _used(decided: Line, asked: Asked) -> DocumentError:
    done = "refused" if decided.event is Event.REFUSED else "approved"
    if decided.request == asked.transcript.hex():
        there = f"its files are in the register: approved/{answer_name(asked)}"
        return refused(
            f"was {done} already, on {decided.at:%Y-%m-%d %H:%M} UTC",
            there if done == "approved" else INVITE,
        )
    return refused(f"its token is used up: another request was {done} with it", INVITE)


def answer_name(asked: Asked) -> str:
    """The folder of the files for the unit; each request has its own."""
    return f"{asked.unit}-{asked.transcript.hex()[:12]}"


def refused(what: str, next_step: str) -> DocumentError:
    """The named error of a request that is not approved."""
    return DocumentError(what, where="request", next_step=next_step)
