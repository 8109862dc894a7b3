"""Loading a deployment: every signed document is verified, in order, before one template is opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, timedelta

import numpy as np

from edgeagent.config import Config
from edgeagent.documents.deployment_key import load_key
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import (
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    WATCHLIST,
    Verified,
    typ_of,
    verify,
)
from edgeagent.documents.trust import TrustedKey, TrustStore
from edgeagent.documents.watchlist_file import (
    FILE_LIMIT,
    SealedWatchlist,
    independently_approved,
    verify_watchlist,
)
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Authority, Grant, Kind, approval_rule, authority_allows
from edgeagent.safeguards.certificate import Certificate, threshold_allowed
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.model_use import Use, use_allowed
from edgeagent.safeguards.people import all_differ
from edgeagent.safeguards.sources import source_allowed
from edgeagent.safeguards.watchlist import (
    Entry,
    Manifest,
    only_test_subjects,
    watchlist_allows,
    within_list,
)
from edgeagent.system.files import read_bounded
from edgeagent.vision.match import Gallery


class DeploymentOverError(SafeguardError):
    """A genuine authority, but past its end by a clock that the system vouches for: what is left must go."""

    def __init__(self, authority: Authority) -> None:
        self.deployment = authority.deployment
        self.watchlist_sha256 = authority.watchlist_sha256
        super().__init__(
            f"deployment {authority.deployment} ended at {authority.end.isoformat()}",
            where="authority field end",
            next_step="ask for a new authority; the list was destroyed",
            rule="R6",
        )


@dataclass(frozen=True, slots=True)
class Papers:
    """A deployment's signed documents as they were read; of the list only its manifest."""

    authority: bytes
    watchlist: bytes
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that a verified authority allows this unit to use.

    Attributes:
        sha256: of the authority document.
        signers: of the authority, then of the list.
        numbered: what is to be remembered against rollback once the deployment is taken into use.
        papers: to be judged again by a clock that somebody vouches for.
    """

    authority: Authority
    sha256: str
    grant: Grant
    entries: tuple[Entry, ...]
    gallery: Gallery
    manifest: Manifest
    signers: tuple[TrustedKey, ...]
    numbered: tuple[Numbered, ...]
    papers: Papers


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is before any deployment."""

    config: Config
    identity: Identity
    trust: TrustStore
    model_pack_sha256: str
    model_use: Use = "any"


@dataclass(frozen=True, slots=True)
class Examined:
    """A deployment's documents after every check but that of the list's body, which is still closed."""

    authorised: Verified[Authority]
    sealed: SealedWatchlist
    grant: Grant
    numbered: tuple[Numbered, ...]
    papers: Papers


def load_deployment(unit: Unit, seen: HighWater, now: Instant) -> Deployment:
    """Verify the authority, then the watchlist and the certificate that it names, then open the list.

    Raises:
        DocumentError, SafeguardError: the first check that fails; nothing was opened or remembered.
    """
    found = examine_deployment(unit, seen, now)
    authority, sealed = found.authorised.body, found.sealed
    # Only now the templates, in memory only.
    data = unit.config.data_folder
    entries, templates = sealed.open(load_key(data, unit.identity.name, authority.deployment))
    names = sorted({entry.person for entry in entries})
    number = {name: index for index, name in enumerate(names)}
    gallery = Gallery(templates, np.array([number[entry.person] for entry in entries]))
    return Deployment(
        authority=authority,
        sha256=hashlib.sha256(found.papers.authority).hexdigest(),
        grant=found.grant,
        entries=entries,
        gallery=gallery,
        manifest=sealed.manifest,
        signers=(*found.authorised.signers, *sealed.signers),
        numbered=found.numbered,
        papers=found.papers,
    )


def examine_deployment(unit: Unit, seen: HighWater, now: Instant) -> Examined:
    """Verify the authority, then the watchlist and the certificate that it names; open nothing.

    Raises:
        DocumentError, SafeguardError: the first check that fails.
    """
    # 1. The authority, and that it is not over; only then is the list that it names looked at.
    document = read_bounded(unit.config.path(unit.config.documents.authority), AUTHORITY.limit)
    authorised = verified_authority(document, unit.trust, now)
    authority = authorised.body
    not_over(authority, seen, now)
    authority_allows(authority, unit.trust.profile, unit=unit.identity.name, now=now)
    pack_authorised(authority, unit.model_pack_sha256)
    use_allowed(authority, unit.model_use)
    sealed = named_watchlist(unit.config, unit.trust, authority, now)
    # 2. Every rule about what they say; the list's body is still closed.
    papers = Papers(document, sealed.head, _certificate_document(unit.config))
    grant = judge(papers, unit, now)
    # 3. No rollback.
    digest = hashlib.sha256(document).hexdigest()
    certified = papers.certificate and verified_certificate(papers.certificate, unit.trust, now)
    numbered = [numbered_authority(authority, digest), numbered_watchlist(sealed)]
    if papers.certificate and certified:
        numbered.append(numbered_certificate(certified, hashlib.sha256(papers.certificate).hexdigest()))
    for one in numbered:
        seen.check(one)
    return Examined(authorised, sealed, grant, tuple(numbered), papers)


def judge(papers: Papers, unit: Unit, now: Instant) -> Grant:
    """What these documents allow the unit at this time, by every rule that they and the time decide.

    Called when they are loaded, and again once somebody vouches for a clock that nobody vouched for then.

    Raises:
        DocumentError, SafeguardError: the first check that fails.
    """
    trust, profile = unit.trust, unit.trust.profile
    authority = verified_authority(papers.authority, trust, now).body
    grant = authority_allows(authority, profile, unit=unit.identity.name, now=now)
    pack_authorised(authority, unit.model_pack_sha256)
    use_allowed(authority, unit.model_use)
    listed = verify(WATCHLIST, papers.watchlist, trust, now)
    manifest = listed.body
    watchlist_allows(manifest, authority, profile, approved=independently_approved(listed), now=now)
    grant = within_list(grant, manifest)
    certificate = papers.certificate and verified_certificate(papers.certificate, trust, now)
    threshold_allowed(authority, certificate or None, profile, entries=manifest.entries)
    source_allowed(
        unit.config.source,
        bench=authority.kind is Kind.BENCH,
        all_entries_are_test_subjects=only_test_subjects(manifest),
    )
    return grant


def verified_authority(document: bytes, trust: TrustStore, now: Instant) -> Verified[Authority]:
    """The authority, live or bench, if its signatures, kind and approval hold.

    Raises:
        DocumentError, SafeguardError: the first check that fails.
    """
    bench = typ_of(document) == BENCH_AUTHORITY.typ
    verified = verify(BENCH_AUTHORITY if bench else AUTHORITY, document, trust, now)
    kind_fits_signer(verified, bench=bench)
    approval_suffices(verified, trust)
    return verified


def kind_fits_signer(verified: Verified[Authority], *, bench: bool) -> None:
    """Refuse an authority whose text says another kind than its signature (R33).

    Raises:
        SafeguardError: R33.
    """
    if (verified.body.kind is Kind.BENCH) != bench:
        raise SafeguardError(
            "says live but is signed as a bench, or the reverse",
            where="authority field kind",
            next_step="have the right person sign the right kind",
            rule="R33",
        )


def approval_suffices(verified: Verified[Authority], trust: TrustStore) -> None:
    """Refuse an authority without the independent signature that it needs (R19, R27).

    Raises:
        SafeguardError: R19 or R27 without one; R27 if it is of the person who authorised it.
    """
    rule = approval_rule(verified.body, trust.profile)
    if rule is not None and not verified.signed_by(Role.INDEPENDENT_APPROVER):
        below = f" for a threshold below {trust.profile.threshold_usual:g}" if rule == "R19" else ""
        raise SafeguardError(
            f"lacks the independent approver's signature{below}",
            where="authority",
            next_step="have it approved with: edgeagent authority approve",
            rule=rule,
        )
    if not all_differ(key.name for key in verified.signers):
        raise SafeguardError(
            "is approved by the person who authorised it",
            where="authority",
            next_step="have somebody else approve it",
            rule="R27",
        )


def not_over(authority: Authority, seen: HighWater, now: Instant) -> None:
    """Refuse a deployment that ended on this unit, or whose end has passed by a clock that is vouched for.

    Raises:
        SafeguardError: R6; DeploymentOverError if what is left of it must go.
    """
    if seen.is_closed(authority.deployment):
        raise SafeguardError(
            f"deployment {authority.deployment} is over on this unit",
            where="authority",
            next_step="a new deployment needs a new authority and a new list",
            rule="R6",
        )
    if now.synchronised and now.wall >= authority.end:
        raise DeploymentOverError(authority)


def pack_authorised(authority: Authority, model_pack_sha256: str) -> None:
    """Refuse a model pack other than the authorised one.

    Raises:
        SafeguardError: R18.
    """
    if authority.model_pack_sha256 != model_pack_sha256:
        raise SafeguardError(
            f"authorises {authority.model_pack_sha256[:12]}…, {model_pack_sha256[:12]}… is installed",
            where="authority field model_pack_sha256",
            next_step="install the authorised pack, or have this one authorised",
            rule="R18",
        )


def usable_watchlist(
    config: Config, trust: TrustStore, authority: Authority, now: Instant
) -> SealedWatchlist:
    """The installed list, still closed, if it is the one that the authority names and may be used.

    Raises:
        DocumentError, SafeguardError: the first check that fails.
    """
    sealed = named_watchlist(config, trust, authority, now)
    watchlist_allows(sealed.manifest, authority, trust.profile, approved=sealed.approved, now=now)
    return sealed


def named_watchlist(config: Config, trust: TrustStore, authority: Authority, now: Instant) -> SealedWatchlist:
    """The installed list, still closed, if it is whole, signed, and the one that the authority names.

    Raises:
        DocumentError, SafeguardError: the first check that fails.
    """
    path = config.path(config.documents.watchlist)
    content = read_bounded(path, FILE_LIMIT)
    list_is_named(content, authority, str(path))
    return verify_watchlist(content, trust, now)


def list_is_named(content: bytes, authority: Authority, where: str) -> None:
    """Refuse a watchlist file other than the one that the authority names by its hash.

    Raises:
        SafeguardError: R12.
    """
    if hashlib.sha256(content).hexdigest() != authority.watchlist_sha256:
        raise SafeguardError(
            "is not the list that the authority names",
            where=where,
            next_step="copy the authorised list, or have this one authorised",
            rule="R12",
        )


def installed_certificate(config: Config, trust: TrustStore, now: Instant) -> Certificate | None:
    """The verified evaluation certificate that the configuration names, None if it names none.

    Raises:
        DocumentError: it does not verify.
    """
    document = _certificate_document(config)
    return None if document is None else verified_certificate(document, trust, now)


def _certificate_document(config: Config) -> bytes | None:
    name = config.documents.certificate
    return None if name is None else read_bounded(config.path(name), CERTIFICATE.limit)


def verified_certificate(document: bytes, trust: TrustStore, now: Instant) -> Certificate:
    """A certificate that an evaluator signed, not in the future.

    Raises:
        DocumentError: it does not verify.
    """
    certificate = verify(CERTIFICATE, document, trust, now).body
    if certificate.issued_at > now.wall + timedelta(seconds=trust.profile.clock_skew_s):
        raise DocumentError(
            "was signed in the future", where="evaluation certificate", next_step="check the unit's clock"
        )
    return certificate


def numbered_authority(authority: Authority, sha256: str) -> Numbered:
    """What is remembered of an authority against rollback."""
    return Numbered(f"authority {authority.deployment}", authority.sequence, sha256)


def numbered_watchlist(sealed: SealedWatchlist) -> Numbered:
    """What is remembered of a watchlist against rollback."""
    return Numbered(f"watchlist {sealed.manifest.deployment}", sealed.manifest.sequence, sealed.sha256)


def numbered_certificate(certificate: Certificate, sha256: str) -> Numbered:
    """What is remembered of a certificate against rollback: a floor that was raised stays raised (R19).

    Its number is the second in which it was issued, in UTC and in digits that a person can read.
    """
    issued = certificate.issued_at.astimezone(UTC)
    name = f"certificate of model pack {certificate.model_pack_sha256[:16]}"
    return Numbered(name, int(f"{issued:%Y%m%d%H%M%S}"), sha256)
