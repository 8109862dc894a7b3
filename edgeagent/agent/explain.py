"""Whether a document would be accepted on this unit now: the daemon's own rules, one line a check.

Nothing is remembered, opened or written: sequence numbers are compared, never accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from edgeagent.agent.deployment import (
    approval_suffices,
    installed_certificate,
    kind_fits_signer,
    list_is_named,
    not_over,
    numbered_authority,
    numbered_watchlist,
    pack_authorised,
    usable_watchlist,
    verified_authority,
)
from edgeagent.alerts.envelope import unwrap
from edgeagent.config import Config
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY, key_file, verify_key
from edgeagent.documents.explain import KINDS, NAMES, Found, Lines, plain, recognise, says
from edgeagent.documents.parse import parse
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import (
    ALERT,
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    LEASE,
    RECEIPT,
    STATE,
    WATCHLIST,
    Verified,
    verify,
)
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TYP, TrustedKey, TrustStore, open_trust_store
from edgeagent.documents.watchlist_file import FILE_LIMIT, MAGIC, SealedWatchlist, verify_watchlist
from edgeagent.errors import DocumentError, EdgeAgentError
from edgeagent.safeguards.authority import Authority, Kind, authority_allows
from edgeagent.safeguards.certificate import threshold_allowed
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import Challenge, accept_lease
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.sources import source_allowed
from edgeagent.safeguards.watchlist import only_test_subjects, watchlist_allows
from edgeagent.system.files import read_bounded

Result = TypeVar("Result")


class Outcome(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    REFUSED = "REFUSED"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and how it ended; `rule` as in the rules list, empty when none refused."""

    subject: str
    outcome: Outcome
    text: str = ""
    where: str = ""
    rule: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What a document is checked against.

    Attributes:
        root: pinned thumbprint of the root key.
        trust: None only where a trust store is looked at by itself.
        config, seen, model_pack_sha256: of the unit; None without a configuration.
    """

    root: str
    trust: TrustStore | None
    now: Instant
    config: Config | None = None
    seen: HighWater | None = None
    model_pack_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a file is, says, who signed it, and every check.

    Attributes:
        body: None if it could not be read.
        signers: label and text, a line a signature.
    """

    typ: str
    envelope: bool
    sha256: str
    body: StrictModel | None
    says: Lines
    signers: Lines
    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """No check refused; some may not have been made."""
        return all(check.outcome is not Outcome.REFUSED for check in self.checks)

    @property
    def genuine(self) -> bool:
        """Its signatures hold; if not, nothing that it says may be relied on."""
        return self.checks[0].outcome is Outcome.GOOD


@dataclass(slots=True)
class _Run:
    """Checks as they are made."""

    checks: list[Check] = field(default_factory=list)

    def attempt(self, subject: str, call: Callable[[], Result], good: str = "") -> Result | None:
        """Make one check; a named refusal becomes a line."""
        try:
            result = call()
        except EdgeAgentError as refusal:
            said = (refusal.what, refusal.where, refusal.rule or "", refusal.next_step)
            self.checks.append(Check(subject, Outcome.REFUSED, *map(plain, said)))
            return None
        self.checks.append(Check(subject, Outcome.GOOD, good))
        return result

    def skip(self, why: str, *subjects: str) -> None:
        """Say which checks were not made, and why."""
        self.checks.extend(Check(subject, Outcome.UNCHECKED, why) for subject in subjects)


_NO_UNIT = "it depends on the unit; give --config"
_NOT_GENUINE = "its signatures do not hold"
_INSIDE_DAEMON = "only the running daemon knows"


def explain(content: bytes, place: Place) -> Explanation:
    """Explain one file.

    Raises:
        DocumentError: no document of this program, or too long for one.
    """
    if len(content) > (FILE_LIMIT if content.startswith(MAGIC) else TRUST_STORE_LIMIT):
        raise DocumentError("is too long for any document", next_step="check that it is the right file")
    found = recognise(content, unwrap)
    body = _readable(found)
    run = _Run()
    _examine(found, content, place, run)
    return Explanation(
        found.typ,
        found.envelope,
        hashlib.sha256(content).hexdigest(),
        body,
        [] if body is None else says(body, place.now.wall),
        _signers(found, place),
        tuple(run.checks),
    )


def _readable(found: Found) -> StrictModel | None:
    try:
        return parse(found.model, found.payload, NAMES[found.typ])
    except DocumentError:
        return None  # the check of its signatures and fields says why


def _signers(found: Found, place: Place) -> Lines:
    return [_signer(kid, place) for kid in found.kids]


def _signer(kid: str, place: Place) -> tuple[str, str]:
    if kid == place.root:
        return ("root", f"key {plain(kid[:12])}…, the root key that is pinned")
    known = None if place.trust is None else place.trust.by_kid.get(kid)
    if place.trust is None or known is None:
        return ("unknown", f"key {plain(kid[:12])}…, which nobody here is known by")
    return (known.role.replace("_", " "), f"{plain(known.name)}, key {kid[:12]}…, {_validity(known, place)}")


def _validity(key: TrustedKey, place: Place) -> str:
    period = f"{key.not_before:%d %B %Y} to {key.not_after:%d %B %Y}"
    if key.revoked:
        return "REVOKED"
    if not key.not_before <= place.now.wall < key.not_after:
        return f"valid {period}: NOT NOW"
    return f"valid {period}"


def _examine(found: Found, content: bytes, place: Place, run: _Run) -> None:
    if found.typ == TYP:
        _trust_store(content, place, run)
        return
    if place.trust is None:
        raise DocumentError(
            "cannot be checked without a trust store", next_step="give --trust and --root, or --config"
        )
    if found.typ in (AUTHORITY.typ, BENCH_AUTHORITY.typ):
        _authority(content, found, place, place.trust, run)
    elif found.typ == WATCHLIST.typ:
        _watchlist(content, place, place.trust, run)
    else:
        _other(found, place, place.trust, run)


def _trust_store(content: bytes, place: Place, run: _Run) -> None:
    store = run.attempt("signed by the pinned root", lambda: open_trust_store(content, place.root))
    _no_rollback(run, place, None if store is None else store.numbered)


def _no_rollback(run: _Run, place: Place, numbered: Any) -> None:
    subject, seen = "newest that this unit has seen", place.seen
    if numbered is None:
        run.skip(_NOT_GENUINE, subject)
    elif seen is None:
        run.skip(_NO_UNIT, subject)
    else:
        run.attempt(subject, lambda: seen.check(numbered), f"number {numbered.sequence}")


# --- authority ----------------------------------------------------------------------------------------------

_OF_UNIT = (
    "not over on this unit",
    "model pack is the installed one",
    "watchlist is the named one, and usable",
    "threshold is certified",
    "source fits",
    "newest that this unit has seen",
)


def _authority(content: bytes, found: Found, place: Place, trust: TrustStore, run: _Run) -> None:
    bench = found.typ == BENCH_AUTHORITY.typ
    kind = BENCH_AUTHORITY if bench else AUTHORITY
    verified = run.attempt("signatures and roles", lambda: verify(kind, content, trust, place.now))
    if verified is None:
        run.skip(_NOT_GENUINE, "independent approval", "what it authorises", *_OF_UNIT)
        return
    run.attempt("kind fits the signer", lambda: kind_fits_signer(verified, bench=bench))
    required = trust.profile.independent_approval and not bench
    run.attempt(
        "independent approval",
        lambda: approval_suffices(verified, trust, bench=bench),
        "" if required else "not required here",
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
        run.skip(_NO_UNIT, *_OF_UNIT)
        return
    _authority_on_unit(authority, place, config, place.seen, trust, run)
    _no_rollback(run, place, numbered_authority(authority, hashlib.sha256(content).hexdigest()))


def _authority_on_unit(
    authority: Authority, place: Place, config: Config, seen: HighWater, trust: TrustStore, run: _Run
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
        threshold_allowed(authority, installed_certificate(config, trust, place.now), entries=entries)

    run.attempt(certified, floor, f"{authority.threshold:g} for {entries} entries")
    subjects = only_test_subjects(sealed.manifest)
    bench = authority.kind is Kind.BENCH
    run.attempt(
        source,
        lambda: source_allowed(config.source, bench=bench, all_entries_are_test_subjects=subjects),
        config.source.kind.value,
    )


def _pack(run: _Run, subject: str, authority: Authority, place: Place) -> None:
    installed = place.model_pack_sha256
    if installed is None:
        run.skip("the installed model pack cannot be read; see: edgeagent doctor", subject)
    else:
        run.attempt(subject, lambda: pack_authorised(authority, installed), f"{installed[:16]}…")


def _installed_authority(place: Place, config: Config, trust: TrustStore) -> Verified[Authority]:
    content = read_bounded(config.path(config.documents.authority), AUTHORITY.limit)
    return verified_authority(content, trust, place.now)


# --- watchlist ----------------------------------------------------------------------------------------------


def _watchlist(content: bytes, place: Place, trust: TrustStore, run: _Run) -> None:
    named, usable, sealed_here = "named by the installed authority", "may be used now", "sealed to this unit"

    def genuine() -> SealedWatchlist:
        if content.startswith(MAGIC):
            return verify_watchlist(content, trust, place.now)
        raise DocumentError("is a manifest without its list", next_step="verify the whole watchlist file")

    sealed = run.attempt("signatures, roles and body", genuine, "the body is the one that was signed for")
    if sealed is None:
        run.skip(_NOT_GENUINE, named, usable, sealed_here)
    elif place.config is None:
        run.skip(_NO_UNIT, named, usable, sealed_here)
    else:
        config = place.config
        run.attempt(sealed_here, lambda: _sealed_to(sealed, config), config.unit.name)
        verified = run.attempt("installed authority", lambda: _installed_authority(place, config, trust))
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
    _no_rollback(run, place, None if sealed is None else numbered_watchlist(sealed))


def _sealed_to(sealed: SealedWatchlist, config: Config) -> None:
    """By name, and whether the unit keeps a one-time key; the private key is not read here."""
    manifest, unit = sealed.manifest, config.unit.name
    key = key_file(config.path(config.data.folder), manifest.deployment)
    if all(one.unit != unit for one in manifest.sealed_keys) or not key.exists():
        raise DocumentError(
            f"is not sealed to a one-time key that {unit} keeps",
            where="watchlist",
            next_step=f"edgeagent keys deployment {manifest.deployment}, then have the list built with it",
        )


# --- messages and certificate -------------------------------------------------------------------------------


def _other(found: Found, place: Place, trust: TrustStore, run: _Run) -> None:
    kind = KINDS[found.typ]
    verified = run.attempt(
        "signature and role", lambda: verify(kind, found.document, trust, place.now), "and every field"
    )
    if verified is None:
        run.skip(_NOT_GENUINE, "everything else")
    elif kind is ALERT or kind is STATE:
        run.attempt("of the unit that signed it", lambda: _of_signer(verified))
        run.skip("a control room takes it, not a unit", "whether it comes on the unit's topic and in time")
    elif kind is DEPLOYMENT_KEY:
        deployment = verified.body.deployment
        run.attempt(
            "of the unit that signed it", lambda: verify_key(found.document, deployment, trust, place.now)
        )
    elif place.config is None:
        run.skip(_NO_UNIT, "for this unit")
    elif kind is LEASE:
        _lease(verified.body, place, place.config, trust, run)
    elif kind is CERTIFICATE:
        _certificate(verified, place, place.config, trust, run)
    else:
        _addressed(verified.body, kind is RECEIPT, place.config, run)


def _of_signer(verified: Verified[Any]) -> None:
    signer = verified.signers[0].name
    if verified.body.unit != signer:
        raise DocumentError(
            f"speaks of {verified.body.unit}, signed by {signer}", next_step="find out who sent it"
        )


def _addressed(body: Any, receipt: bool, config: Config, run: _Run) -> None:
    units = (body.unit,) if receipt else body.units

    def named() -> None:
        if config.unit.name not in units:
            raise DocumentError(
                f"is for {', '.join(units)}: {config.unit.name} ignores it", next_step="check the address"
            )

    run.attempt("for this unit", named, config.unit.name)
    if receipt:
        run.skip(_INSIDE_DAEMON, "whether the alert still waits for it")


def _lease(body: Any, place: Place, config: Config, trust: TrustStore, run: _Run) -> None:
    verified = run.attempt("installed authority", lambda: _installed_authority(place, config, trust))
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
    run.skip(_INSIDE_DAEMON, "whether it answers a challenge that is still open")


def _certificate(verified: Verified[Any], place: Place, config: Config, trust: TrustStore, run: _Run) -> None:
    authority = run.attempt("installed authority", lambda: _installed_authority(place, config, trust))
    if authority is None:
        run.skip("the installed authority was refused", "covers threshold, model and list")
        return

    def covers() -> None:
        sealed = usable_watchlist(config, trust, authority.body, place.now)
        threshold_allowed(authority.body, verified.body, entries=sealed.manifest.entries)

    run.attempt("covers threshold, model and list", covers, f"{authority.body.threshold:g}")
