"""`edgeagent enrol begin` on the unit: its keys, its request, its code.

A power cut at any moment leaves one of two things: no request that anybody was shown, and then new keys are
made; or the request whose code was shown, and then it stays that one until somebody asks for another.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edgeagent.agent.enrol_config import TLS_KEY, UNIT_KEY, Terms, check_config
from edgeagent.agent.enrol_state import Place, Stage, State, drafted, one_at_a_time, read_state, write_state
from edgeagent.documents.enrol_code import code_of
from edgeagent.documents.enrol_invitation import Invitation
from edgeagent.documents.enrol_request import (
    REQUEST_LIMIT,
    Asked,
    UnitKeys,
    make_request,
    open_request,
    tls_digest,
)
from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.keys import Identity, KeyFile, Role, key_file_content, new_identity
from edgeagent.errors import ConfigError, DocumentError, KeyFileError
from edgeagent.system.enrol_keys import Keeper, Kept
from edgeagent.system.files import read_bounded, write_atomic


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for the control room.

    Attributes:
        document: the request's file, as octets.
        made: whether it was made just now, so that an earlier code counts no more.
    """

    asked: Asked
    document: bytes
    made: bool

    @property
    def code(self) -> str:
        """What a person reads out."""
        return code_of(self.asked.transcript)


def begin(place: Place, invitation: Invitation, kept: Kept, *, again: bool, tpm_device: str = "") -> Pending:
    """Make keys and a request, or show the one that waits already.

    `again` makes new keys and a new request, so the old code counts no more. A unit that is enrolled runs on
    with its old keys until `finish`.

    Raises:
        ConfigError: there is a request that answers another invitation.
        KeyFileError: enrolled already, in the middle of being installed, or a key cannot be kept.
    """
    with one_at_a_time(place.staging):
        return _begin(place, invitation, kept, again, tpm_device)


def _begin(place: Place, invitation: Invitation, kept: Kept, again: bool, tpm_device: str) -> Pending:
    state = read_state(place.staging)
    if state is None or state.stage is Stage.DRAFTING:
        return _draft(place, drafted(invitation, kept, state.number if state else 1, tpm_device), invitation)
    if state.stage is Stage.INSTALLING:
        raise _stop("is being installed", "run edgeagent enrol finish again")
    if again:
        return _draft(place, drafted(invitation, kept, state.number + 1, tpm_device), invitation)
    if state.stage is Stage.ENROLLED:
        raise _stop("is enrolled already", "only to give it new keys: edgeagent enrol begin --again")
    if state.token_id != invitation.token_id:
        raise ConfigError(
            "a request waits that answers another invitation",
            where="enrolment.toml",
            next_step="edgeagent enrol begin --again makes new keys and a new request for this one",
        )
    return waiting(place, state)


def refuse_another_root(config_file: Path, root: str) -> None:
    """An enrolled unit believes the root whose thumbprint its code covered, and no other.

    The configuration is signed by nobody: with a root of its own it would bring a trust store, and so limits,
    of its own.

    Raises:
        ConfigError: another root.
        DocumentError: the request that names it is missing or damaged.
    """
    place = Place(config_file.parent, config_file.parent, config_file.parent, None)
    state = read_state(place.staging)
    if state is None or state.stage is not Stage.ENROLLED or waiting(place, state).asked.root == root:
        return
    raise ConfigError(
        "is not the root with which this unit was enrolled",
        where=f"{config_file}, trust.root",
        next_step="put the enrolled one back; for a new root: edgeagent enrol begin --again",
    )


def waiting(place: Place, state: State) -> Pending:
    """The request that the state names.

    Raises:
        DocumentError: it is missing or damaged, or is another.
    """
    document = read_bounded(place.request, REQUEST_LIMIT)
    asked = open_request(document).asked
    if asked.transcript.hex() != state.request:
        raise DocumentError(
            "is not the request of this enrolment",
            where=str(place.request),
            next_step="edgeagent enrol begin --again",
        )
    return Pending(asked, document, made=False)


def _draft(place: Place, state: State, invitation: Invitation) -> Pending:
    """The code is shown only after the last of these steps is on the disk."""
    # 0. What `finish` would refuse is said before anybody goes to the control room.
    check_config(place, Terms(invitation.unit, invitation.broker, invitation.root, state.kept))
    # 1. From here on, whatever was staged before is nobody's.
    write_state(place.staging, state)
    # 2. New keys, never the leftovers of a draft that was cut short.
    keeper = Keeper(place.staging, state.kept, state.tpm_device)
    for leftover in (UNIT_KEY, TLS_KEY, *(path.name for path in place.staging.glob(".*.key.*"))):
        keeper.destroy(leftover)
    keys = UnitKeys(new_identity(Role.UNIT, invitation.unit), ec.generate_private_key(ec.SECP256R1()))
    keeper.put(UNIT_KEY, key_file_content(keys.identity))
    keeper.put(TLS_KEY, tls_key_file(keys.tls))
    # 3. The request about them.
    asked = _asked(keys, invitation, state)
    document = make_request(keys, invitation, asked)
    write_atomic(place.request, document)
    # 4. It is the one that counts.
    write_state(place.staging, replace_stage(state, Stage.REQUESTED, asked.transcript.hex()))
    return Pending(asked, document, made=True)


def replace_stage(state: State, stage: Stage, request: str | None) -> State:
    """The state a step further."""
    return State.model_validate({**dict(state), "stage": stage, "request": request})


def _asked(keys: UnitKeys, invitation: Invitation, state: State) -> Asked:
    return Asked(
        unit=invitation.unit,
        number=state.number,
        nonce=base64url(secrets.token_bytes(16)),
        root=invitation.root,
        authority_sha256=invitation.control_room_ca,
        control_room_key=invitation.control_room_key,
        sign_x=_public(keys.identity),
        seal_x=keys.identity.seal_key.x,
        tls_sha256=tls_digest(keys.tls.public_key()),
        kept=state.kept,
    )


def _public(identity: Identity) -> str:
    return str(identity.signing.as_dict(private=False)["x"])


# --- what the daemon reads ----------------------------------------------------------------------------------


def tls_key_file(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The TLS key, PEM; nobody is there to type a passphrase at a unit's start."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def check_keys(keeper: Keeper, asked: Asked) -> None:
    """Whether the kept private keys are the halves of those that were asked for.

    Raises:
        KeyFileError: missing, cannot be opened, or others.
    """
    try:
        held = KeyFile.model_validate_json(keeper.get(UNIT_KEY))
        signing = Ed25519PrivateKey.from_private_bytes(unbase64url(held.sign_d)).public_key()
        sealing = X25519PrivateKey.from_private_bytes(unbase64url(held.seal_d)).public_key()
        tls = serialization.load_pem_private_key(keeper.get(TLS_KEY), password=None)
        right = (
            isinstance(tls, ec.EllipticCurvePrivateKey)
            and base64url(signing.public_bytes_raw()) == held.sign_x == asked.sign_x
            and base64url(sealing.public_bytes_raw()) == held.seal_x == asked.seal_x
            and tls_digest(tls.public_key()) == asked.tls_sha256
        )
    except (ValueError, TypeError, DocumentError):
        right = False  # the cause could quote a private key, so it is not passed on
    if not right:
        raise KeyFileError(
            "are not the keys of this request",
            where=str(keeper.folder),
            next_step="edgeagent enrol begin --again, and have the new code approved",
        )


def _stop(what: str, next_step: str) -> KeyFileError:
    return KeyFileError(f"this unit {what}", where="enrolment", next_step=next_step)
