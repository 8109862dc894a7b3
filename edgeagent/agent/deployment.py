"""Loading a deployment: every signed document is verified, in order, before one template is opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from edgeagent.config import Config
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import AUTHORITY, BENCH_AUTHORITY, CERTIFICATE, Verified, typ_of, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.watchlist_file import FILE_LIMIT, SealedWatchlist, verify_watchlist
from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, Grant, Kind, authority_allows
from edgeagent.safeguards.certificate import Certificate, threshold_allowed
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.sources import source_allowed
from edgeagent.safeguards.watchlist import Entry, only_test_subjects, watchlist_allows, within_list
from edgeagent.system.files import read_bounded
from edgeagent.vision.match import Gallery


class DeploymentOverError(SafeguardError):
    """A genuine authority, but past its end by a clock that the system vouches for: what is left must go."""

    def __init__(self, deployment: str, end: datetime) -> None:
        self.deployment = deployment
        super().__init__(
            f"deployment {deployment} ended at {end.isoformat()}",
            where="authority field end",
            next_step="ask for a new authority; the list was destroyed",
            rule="R6",
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that a verified authority allows this unit to use.

    Attributes:
        sha256: of the authority document.
        numbered: what is to be remembered against rollback once the deployment is taken into use.
    """

    authority: Authority
    sha256: str
    grant: Grant
    entries: tuple[Entry, ...]
    gallery: Gallery
    numbered: tuple[Numbered, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is before any deployment."""

    config: Config
    identity: Identity
    trust: TrustStore
    model_pack_sha256: str


def load_deployment(unit: Unit, seen: HighWater, now: Instant) -> Deployment:
    """Verify the authority, then the watchlist and the certificate that it names, then open the list.

    Raises:
        DocumentError, SafeguardError: the first check that fails; nothing was opened or remembered.
    """
    # 1. The authority: signatures, roles, kind, and every rule about what it says.
    document = read_bounded(unit.config.path(unit.config.documents.authority), AUTHORITY.limit)
    verified = _verified_authority(document, unit, now)
    authority = verified.body
    if seen.is_closed(authority.deployment):
        raise SafeguardError(
            f"deployment {authority.deployment} is over on this unit",
            where="authority",
            next_step="a new deployment needs a new authority and a new list",
            rule="R6",
        )
    if now.synchronised and now.wall >= authority.end:
        raise DeploymentOverError(authority.deployment, authority.end)
    grant = authority_allows(authority, unit.trust.profile, unit=unit.identity.name, now=now)
    # 2. The model pack is the authorised one.
    if authority.model_pack_sha256 != unit.model_pack_sha256:
        raise SafeguardError(
            f"authorises {authority.model_pack_sha256[:12]}…, {unit.model_pack_sha256[:12]}… is installed",
            where="authority field model_pack_sha256",
            next_step="install the authorised pack, or have this one authorised",
            rule="R18",
        )
    # 3. The watchlist is the one named, and may be used; its body is still closed.
    sealed = _sealed_watchlist(unit, authority, now)
    grant = within_list(grant, sealed.manifest)
    # 4. Threshold and certificate. 5. The source fits the kind of authority.
    threshold_allowed(authority, _certificate(unit, now), entries=sealed.manifest.entries)
    source_allowed(
        unit.config.source,
        bench=authority.kind is Kind.BENCH,
        all_entries_are_test_subjects=only_test_subjects(sealed.manifest),
    )
    # 6. No rollback. 7. Only now the templates, in memory only.
    digest = hashlib.sha256(document).hexdigest()
    numbered = (
        Numbered(f"authority {authority.deployment}", authority.sequence, digest),
        Numbered(f"watchlist {authority.deployment}", sealed.manifest.sequence, sealed.sha256),
    )
    for one in numbered:
        seen.check(one)
    entries, templates = sealed.open(unit.identity)
    names = sorted({entry.person for entry in entries})
    number = {name: index for index, name in enumerate(names)}
    gallery = Gallery(templates, np.array([number[entry.person] for entry in entries]))
    return Deployment(authority, digest, grant, entries, gallery, numbered)


def _verified_authority(document: bytes, unit: Unit, now: Instant) -> Verified[Authority]:
    bench = typ_of(document) == BENCH_AUTHORITY.typ
    verified = verify(BENCH_AUTHORITY if bench else AUTHORITY, document, unit.trust, now)
    if (verified.body.kind is Kind.BENCH) != bench:
        raise SafeguardError(
            "says live but is signed as a bench, or the reverse",
            where="authority field kind",
            next_step="have the right person sign the right kind",
            rule="R33",
        )
    needs_approval = unit.trust.profile.independent_approval and not bench
    if needs_approval and not verified.signed_by(Role.INDEPENDENT_APPROVER):
        raise SafeguardError(
            "lacks the independent approver's signature",
            where="authority",
            next_step="have it approved with: edgeagent authority approve",
            rule="R27",
        )
    if len({key.name for key in verified.signers}) != len(verified.signers):
        raise SafeguardError(
            "is approved by the person who authorised it",
            where="authority",
            next_step="have somebody else approve it",
            rule="R27",
        )
    return verified


def _sealed_watchlist(unit: Unit, authority: Authority, now: Instant) -> SealedWatchlist:
    path = unit.config.path(unit.config.documents.watchlist)
    content = read_bounded(path, FILE_LIMIT)
    if hashlib.sha256(content).hexdigest() != authority.watchlist_sha256:
        raise SafeguardError(
            "is not the list that the authority names",
            where=str(path),
            next_step="copy the authorised list, or have this one authorised",
            rule="R12",
        )
    sealed = verify_watchlist(content, unit.trust, now)
    watchlist_allows(sealed.manifest, authority, unit.trust.profile, approved=sealed.approved, now=now)
    return sealed


def _certificate(unit: Unit, now: Instant) -> Certificate | None:
    name = unit.config.documents.certificate
    if name is None:
        return None
    return verify(CERTIFICATE, read_bounded(unit.config.path(name), CERTIFICATE.limit), unit.trust, now).body
