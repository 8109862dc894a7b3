"""What the daemon checks of each kind of document, made of the daemon's own steps."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

from edgeagent.agent.checks import (
    INSIDE_DAEMON,
    NO_UNIT,
    NOT_GENUINE,
    Place,
    Run,
    no_rollback,
)
from edgeagent.agent.deployment import (
    approval_suffices,
    installed_certificate,
    kind_fits_signer,
    list_is_named,
    not_over,
    numbered_authority,
    numbered_certificate,
    numbered_watchlist,
    pack_authorised,
    usable_watchlist,
    verified_authority,
)
from edgeagent.config import Config
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY, key_file, verify_key
from edgeagent.documents.explain import KINDS, Found
from edgeagent.documents.messages import Decision, Receipt, Revocation
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import (
    ALERT,
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    CHECKPOINT,
    DECISION,
    HEALTH,
    LEASE,
    STATE,
    VERDICT,
    Verified,
    verify,
)
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.verdict import judgement
from edgeagent.documents.watchlist_file import MAGIC, SealedWatchlist, verify_watchlist
from edgeagent.errors import DocumentError
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Authority, Kind, approval_rule, authority_allows
from edgeagent.safeguards.certificate import threshold_allowed
from edgeagent.safeguards.lease import Challenge, accept_lease
from edgeagent.safeguards.model_use import use_allowed
from edgeagent.safeguards.sources import source_allowed
from edgeagent.safeguards.watchlist import only_test_subjects, watchlist_allows
from edgeagent.system.files import read_bounded

# --- authority ----------------------------------------------------------------------------------------------

_OF_UNIT = (
    "not over on this unit",
    "model pack is the installed one",
    "watchlist is the named one, and usable",
    "threshold is certified",
    "source fits",
    "newest that this unit has seen",
)


def check_authority(content: bytes, found: Found, place: Place, trust: TrustStore, run: Run) -> None:
    """Every step of `load_deployment` that needs no sealed part."""
    bench = found.typ == BENCH_AUTHORITY.typ
    kind = BENCH_AUTHORITY if bench else AUTHORITY
    verified = run.attempt("signatures and roles", lambda: verify(kind, content, trust, place.now))
    if verified is None:
        run.skip(NOT_GENUINE, "independent approval", "what it authorises", *_OF_UNIT)
        return
    run.attempt("kind fits the signer", lambda: kind_fits_signer(verified, bench=bench))
    run.attempt(
        "independent approval",
        lambda: approval_suffices(verified, trust),
        "" if approval_rule(verified.body, trust.profile) else "not required here",
    )
    authority, config = verified.body, place.config
    unit = authority.units[0] if config is None else config.unit.name
    good = "named, in time, within the profile" if config else f"within the profile, for {unit}"
    run.attempt(
        "what it authorises",
        lambda: authority_allows(authority, trust.profile, unit=unit, now=place.now),
        good,
    )
    if config is None or place.seen is None:
        run.skip(NO_UNIT, *_OF_UNIT)
        return
    _authority_on_unit(authority, place, config, place.seen, trust, run)
    no_rollback(run, place, numbered_authority(authority, hashlib.sha256(content).hexdigest()))


def _authority_on_unit(
    authority: Authority, place: Place, config: Config, seen: HighWater, trust: TrustStore, run: Run
) -> None:
    over, pack, listed, certified, source, _ = _OF_UNIT
    run.attempt(over, lambda: not_over(authority, seen, place.now))
    _pack(run, pack, authority, place)
    sealed = run.attempt(listed, lambda: usable_watchlist(config, trust, authority, place.now))
    if sealed is None:
        run.skip("the watchlist was refused", certified, source)
        return
    entries = sealed.manifest.entries

    def floor() -> None:
        certificate = installed_certificate(config, trust, place.now)
        threshold_allowed(authority, certificate, trust.profile, entries=entries)

    run.attempt(certified, floor, f"{authority.threshold:g} for {entries} entries")
    subjects = only_test_subjects(sealed.manifest)
    bench = authority.kind is Kind.BENCH
    run.attempt(
        source,
        lambda: source_allowed(config.source, bench=bench, all_entries_are_test_subjects=subjects),
        config.source.kind.value,
    )


def _pack(run: Run, subject: str, authority: Authority, place: Place) -> None:
    installed = place.model_pack_sha256
    if installed is None:
        run.skip("the installed model pack cannot be read; see: edgeagent doctor", subject)
        return

    def fits() -> None:
        pack_authorised(authority, installed)
        use_allowed(authority, place.model_use)

    run.attempt(subject, fits, f"{installed[:16]}…")


def _installed_authority(place: Place, config: Config, trust: TrustStore) -> Verified[Authority]:
    content = read_bounded(config.path(config.documents.authority), AUTHORITY.limit)
    return verified_authority(content, trust, place.now)


# --- watchlist ----------------------------------------------------------------------------------------------


def check_watchlist(content: bytes, place: Place, trust: TrustStore, run: Run) -> None:
    """Signatures, body, unit and the unit's own authority; the list stays closed."""
    named, usable, sealed_here = "named by the installed authority", "may be used now", "sealed to this unit"

    def genuine() -> SealedWatchlist:
        if content.startswith(MAGIC):
            return verify_watchlist(content, trust, place.now)
        raise DocumentError("is a manifest without its list", next_step="verify the whole watchlist file")

    sealed = run.attempt("signatures, roles and body", genuine, "the body is the one that was signed for")
    if sealed is None:
        run.skip(NOT_GENUINE, named, usable, sealed_here)
    elif place.config is None:
        run.skip(NO_UNIT, named, usable, sealed_here)
    else:
        config = place.config
        run.attempt(sealed_here, lambda: _sealed_to(sealed, config), config.unit.name)
        verified = run.attempt(
            "the unit's own authority holds", lambda: _installed_authority(place, config, trust)
        )
        if verified is None:
            run.skip("the installed authority was refused", named, usable)
        else:
            authority = verified.body
            run.attempt(named, lambda: list_is_named(content, authority, "watchlist"), authority.deployment)
            run.attempt(
                usable,
                lambda: watchlist_allows(
                    sealed.manifest, authority, trust.profile, approved=sealed.approved, now=place.now
                ),
            )
    no_rollback(run, place, None if sealed is None else numbered_watchlist(sealed))


def _sealed_to(sealed: SealedWatchlist, config: Config) -> None:
    """By name, and whether the unit keeps a one-time key; the private key is not read here."""
    manifest, unit = sealed.manifest, config.unit.name
    key = key_file(config.data_folder, manifest.deployment)
    if all(one.unit != unit for one in manifest.sealed_keys) or not key.exists():
        raise DocumentError(
            f"is not sealed to a one-time key that {unit} keeps",
            where="watchlist",
            next_step=f"edgeagent keys deployment {manifest.deployment}, then have the list built with it",
        )


# --- messages and certificate -------------------------------------------------------------------------------


def check_message_or_certificate(found: Found, place: Place, trust: TrustStore, run: Run) -> None:
    """All the others."""
    kind = KINDS[found.typ]
    verified = run.attempt(
        "signature and role", lambda: verify(kind, found.document, trust, place.now), "and every field"
    )
    if verified is None:
        run.skip(NOT_GENUINE, "everything else")
    elif kind in (ALERT, STATE, HEALTH, CHECKPOINT):
        run.attempt("of the unit that signed it", lambda: _of_signer(verified))
        run.skip("a control room takes it, not a unit", "whether it comes on the unit's topic and in time")
    elif kind is DEPLOYMENT_KEY:
        deployment = verified.body.deployment
        run.attempt(
            "of the unit that signed it", lambda: verify_key(found.document, deployment, trust, place.now)
        )
    elif kind is DECISION:
        run.skip("it counts only inside a verdict", "for this unit")
    elif kind is VERDICT:
        _verdict(verified, place, trust, run)
    elif place.config is None:
        run.skip(NO_UNIT, "for this unit")
    elif kind is LEASE:
        _lease(verified.body, place, place.config, trust, run)
    elif kind is CERTIFICATE:
        _certificate(found, verified, place, place.config, trust, run)
    else:
        _addressed(verified.body, place.config, run)


def _of_signer(verified: Verified[Any]) -> None:
    signer = verified.signers[0].name
    if verified.body.unit != signer:
        raise DocumentError(
            f"speaks of {verified.body.unit}, signed by {signer}", next_step="find out who sent it"
        )


def _verdict(verified: Verified[Any], place: Place, trust: TrustStore, run: Run) -> None:
    judged = run.attempt("two people, in order", lambda: judgement(verified, trust, place.now))
    if judged is None or place.config is None:
        run.skip(NOT_GENUINE if judged is None else NO_UNIT, "for this unit")
    else:
        _addressed(judged.decision, place.config, run)


def _addressed(body: Receipt | Decision | RateReview | Revocation, config: Config, run: Run) -> None:
    units = body.units if isinstance(body, Revocation) else (body.unit,)

    def named() -> None:
        if config.unit.name not in units:
            raise DocumentError(
                f"is for {', '.join(units)}: {config.unit.name} ignores it", next_step="check the address"
            )

    run.attempt("for this unit", named, config.unit.name)
    if not isinstance(body, Revocation):
        run.skip(INSIDE_DAEMON, "whether the unit still waits for it")


def _lease(body: Any, place: Place, config: Config, trust: TrustStore, run: Run) -> None:
    verified = run.attempt(
        "the unit's own authority holds", lambda: _installed_authority(place, config, trust)
    )
    if verified is None:
        run.skip("the installed authority was refused", "what it says")
        return

    def fits() -> None:
        name, now = config.unit.name, place.now
        grant = authority_allows(verified.body, trust.profile, unit=name, now=now)
        # As if its challenge were outstanding and had just been made: the rest of the rule is the daemon's.
        challenge = Challenge(body.challenge, now.monotonic_ns)
        accept_lease(body, grant=grant, unit=name, outstanding=(challenge,), last_sequence=0, now=now)

    run.attempt("unit, deployment and length", fits)
    run.skip(INSIDE_DAEMON, "whether it answers a challenge that is still open")


def _certificate(
    found: Found, verified: Verified[Any], place: Place, config: Config, trust: TrustStore, run: Run
) -> None:
    certificate = verified.body
    no_rollback(run, place, numbered_certificate(certificate, hashlib.sha256(found.document).hexdigest()))
    if certificate.machine == platform.machine():
        run.attempt("measured on such a processor", lambda: None, certificate.machine)
    else:
        why = (
            f"it was measured on {certificate.machine}, this is {platform.machine()}; see docs/certificate.md"
        )
        run.skip(why, "measured on such a processor")
    authority = run.attempt(
        "the unit's own authority holds", lambda: _installed_authority(place, config, trust)
    )
    if authority is None:
        run.skip("the installed authority was refused", "covers threshold, model and list")
        return

    def covers() -> None:
        sealed = usable_watchlist(config, trust, authority.body, place.now)
        threshold_allowed(authority.body, certificate, trust.profile, entries=sealed.manifest.entries)

    run.attempt("covers threshold, model and list", covers, f"{authority.body.threshold:g}")
