"""Commitments: what is kept of a list when the list is gone, so that "was I on it?" has an answer (R31).

For each person the file holds HMAC-SHA256 of the person's identifier under a random salt of this list.
Without the salt it says only how many people were listed. The signed manifest holds the file's hash, and the
file the salt's, so neither can be exchanged later. docs/was-i-on-it.md says what a proof is worth.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from edgeagent.documents.jws import base64url, unbase64url
from edgeagent.documents.keys import Octets32
from edgeagent.documents.parse import parse
from edgeagent.documents.table import WATCHLIST, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import DeploymentId, Sha256
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import MOST_ENTRIES, StrictModel
from edgeagent.safeguards.watchlist import EntryId, Manifest

COMMITMENTS_LIMIT = 4 * 1024 * 1024
SALT_LIMIT = 4096
PROOF_LIMIT = 8 * 1024 * 1024
SALT_BYTES = 32


class Salt(StrictModel):
    """The secret of one list; whoever holds it can ask about anybody, so few may."""

    deployment: DeploymentId
    salt: Octets32


class Commitments(StrictModel):
    """The public file. `commitments` are sorted, so that their order says nothing."""

    deployment: DeploymentId
    salt_sha256: Sha256
    commitments: Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=MOST_ENTRIES)]


class Proof(StrictModel):
    """Everything that a stranger needs to check an answer: the signed manifest, the file, salt and person."""

    deployment: DeploymentId
    person: EntryId
    present: bool
    salt: Octets32
    manifest: str
    commitments: str


@dataclass(frozen=True, slots=True)
class Committed:
    """Both files of a new list, and the hash for its manifest."""

    salt: bytes
    commitments: bytes
    sha256: str


def commit(salt: bytes, deployment: str, person: str) -> str:
    """One person's commitment, 64 hexadecimal digits; `salt` is 32 octets."""
    said = b"edgeagent commitment 1\0" + deployment.encode() + b"\0" + person.encode()
    return hmac.new(salt, said, hashlib.sha256).hexdigest()


def salt_hash(salt: bytes) -> str:
    """Binds the file to its salt: with another one, everybody would seem absent."""
    return hashlib.sha256(b"edgeagent salt 1\0" + salt).hexdigest()


def commit_all(deployment: str, persons: Iterable[str]) -> Committed:
    """Both files for these people, under a fresh salt."""
    salt = os.urandom(SALT_BYTES)
    commitments = Commitments(
        deployment=deployment,
        salt_sha256=salt_hash(salt),
        commitments=tuple(sorted({commit(salt, deployment, person) for person in persons})),
    )
    public = commitments.model_dump_json(indent=1).encode() + b"\n"
    secret = Salt(deployment=deployment, salt=base64url(salt)).model_dump_json().encode() + b"\n"
    return Committed(secret, public, hashlib.sha256(public).hexdigest())


def answer(
    person: str, manifest: bytes, commitments: bytes, salt: bytes, trust: TrustStore, now: Instant
) -> Proof:
    """Whether a person was on the list, as a proof that was checked before it is given.

    Raises:
        DocumentError: the files do not belong together, or are not genuine.
    """
    secret = parse(Salt, salt, "salt")
    listed = parse(Commitments, commitments, "commitments")
    proof = Proof(
        deployment=secret.deployment,
        person=person,
        present=commit(unbase64url(secret.salt), secret.deployment, person) in listed.commitments,
        salt=secret.salt,
        manifest=manifest.decode(errors="replace"),
        commitments=commitments.decode(errors="replace"),
    )
    check(proof, trust, now)
    return proof


def check(proof: Proof, trust: TrustStore, now: Instant) -> Manifest:
    """The manifest of the list that the proof is about.

    1. The manifest was signed by somebody who might. 2. It names this file of commitments. 3. The file names
    this salt. 4. The answer is what the file says about the person.

    Raises:
        DocumentError: the first of these that fails.
    """
    manifest = past_manifest(proof.manifest.encode(), trust, now)
    if hashlib.sha256(proof.commitments.encode()).hexdigest() != manifest.commitments_sha256:
        raise _unproved("the commitments are not those that the signed manifest names")
    listed = parse(Commitments, proof.commitments.encode(), "commitments")
    if not proof.deployment == listed.deployment == manifest.deployment:
        raise _unproved("manifest, commitments and salt are of different deployments")
    salt = unbase64url(proof.salt)
    if salt_hash(salt) != listed.salt_sha256:
        raise _unproved("the salt is not the list's")
    found = commit(salt, listed.deployment, proof.person) in listed.commitments
    if found != proof.present:
        raise _unproved("the answer is not what the commitments say")
    return manifest


def past_manifest(document: bytes, trust: TrustStore, now: Instant) -> Manifest:
    """A manifest that was genuine when the list was made, though its signer's key may have run out since.

    Raises:
        DocumentError: not genuine, or signed with a key that was not valid then, or is revoked.
    """
    verified = verify(replace(WATCHLIST, timeless=True), document, trust, now)
    made = verified.body.created_at
    for key in verified.signers:
        if not key.not_before <= made < key.not_after:
            raise _unproved(f"{key.name}'s key was not valid when the list was made")
    return verified.body


def _unproved(what: str) -> DocumentError:
    return DocumentError(what, where="proof", next_step="ask for the files that belong to this list")
