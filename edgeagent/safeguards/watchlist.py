"""What a watchlist must be before one face may be compared with it (R6 to R11, R32, R33)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, DeploymentId, Grant, Kind, Sha256, UnitName
from edgeagent.safeguards.categories import APPROVAL_NEEDED, Category, ImageBasis
from edgeagent.safeguards.certificate import Certificate
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import MOST_ENTRIES, Profile, StrictModel

EntryId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

ADULT_YEARS = 18


class Entry(StrictModel):
    """One row as the unit holds it: no name, no birth date, nothing that the decision does not need.

    Attributes:
        entry: opaque identifier that only the control room can resolve.
        person: entries with the same value are images of one person.
        image_taken_on: day of the enrolled image (R7).
        under_18: derived from the birth date when the list was built (R10).
    """

    entry: EntryId
    person: EntryId
    category: Category
    image_basis: ImageBasis
    image_taken_on: date
    under_18: bool


class SealedKey(StrictModel):
    """The list's content key, sealed (HPKE) to one unit's one-time key, which `kid` names; base64url."""

    unit: UnitName
    kid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    sealed: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class Terms(StrictModel):
    """What is said of a list before it is sealed.

    Attributes:
        created_at: when it was built; too old at the start of the deployment is refused (R6).
        not_before, not_after: outside these the list is refused (R6).
        counts: entries by category; must equal what is inside.
        model_pack_sha256: templates of another model pack cannot be compared.
        lawful_retention_attested: the officer attests it for every entry (R11).
    """

    deployment: DeploymentId
    sequence: Annotated[int, Field(ge=1, le=2**53)]
    created_at: AwareDatetime
    not_before: AwareDatetime
    not_after: AwareDatetime
    model_pack_sha256: Sha256
    entries: Annotated[int, Field(ge=1, le=MOST_ENTRIES)]
    dimension: Annotated[int, Field(ge=64, le=2048)]
    counts: dict[Category, Annotated[int, Field(ge=1, le=MOST_ENTRIES)]]
    under_18: Annotated[int, Field(ge=0, le=MOST_ENTRIES)]
    lawful_retention_attested: bool


class Manifest(Terms):
    """What the watchlist officer signs: the terms, the hash of the sealed body, and for whom it is sealed.

    Attributes:
        commitments_sha256: of the file that later answers "was I on it?" (R31).
    """

    ciphertext_sha256: Sha256
    commitments_sha256: Sha256
    sealed_keys: Annotated[tuple[SealedKey, ...], Field(min_length=1, max_length=64)]


def _refuse(rule: str, what: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where="watchlist", next_step=next_step, rule=rule)


def needs_approval(terms: Terms) -> bool:
    """Whether the list needs an independent approver's signature too (R8, R10)."""
    return terms.under_18 > 0 or any(category in APPROVAL_NEEDED for category in terms.counts)


def watchlist_allows(
    manifest: Manifest, authority: Authority, profile: Profile, *, approved: bool, now: Instant
) -> None:
    """Refuse a list that may not be used under this authority now.

    Args:
        manifest: its signature was verified before.
        authority: in force.
        profile: limits in force.
        approved: an independent approver signed the list too.
        now: one reading of the clocks.

    Raises:
        SafeguardError: naming the rule.
    """
    rebuild = "build and sign a new list"
    if manifest.deployment != authority.deployment:
        raise _refuse("R6", f"made for deployment {manifest.deployment}", rebuild + " for this deployment")
    if manifest.model_pack_sha256 != authority.model_pack_sha256:
        raise _refuse("R18", "made with another model pack", rebuild + " with the authorised model pack")
    age = authority.start - manifest.created_at
    if age > timedelta(hours=profile.watchlist_max_age_h):
        raise _refuse("R6", f"older than {profile.watchlist_max_age_h:g} h at the start", rebuild)
    if manifest.created_at > now.wall + timedelta(seconds=profile.clock_skew_s):
        raise _refuse("R6", "made in the future", "check the clocks of the desk and the unit")
    if not manifest.not_before <= now.wall < manifest.not_after:
        raise _refuse("R6", f"valid only until {manifest.not_after.isoformat()}", rebuild)
    if manifest.not_after - manifest.not_before > timedelta(hours=profile.deployment_max_h):
        raise _refuse("R6", f"valid for longer than {profile.deployment_max_h:g} h", rebuild)
    if manifest.entries > profile.watchlist_max_entries:
        raise _refuse(
            "R9", f"{manifest.entries} entries, cap {profile.watchlist_max_entries}", "shorten the list"
        )
    if not manifest.lawful_retention_attested:
        raise _refuse(
            "R11", "lawful retention is not attested", "attest it for every entry, or leave them out"
        )
    if needs_approval(manifest) and not approved:
        raise _refuse("R8", "needs an independent approver's signature", "have the list approved and signed")
    if authority.kind is Kind.BENCH and not only_test_subjects(manifest):
        raise _refuse("R33", "a bench takes test subjects only", "build a list of test subjects")


def within_list(grant: Grant, manifest: Manifest) -> Grant:
    """The grant cut down to the time in which the list may be used (R6)."""
    return replace(grant, start=max(grant.start, manifest.not_before), end=min(grant.end, manifest.not_after))


def only_test_subjects(terms: Terms) -> bool:
    """Whether nobody but consenting test subjects is listed (R32, R33)."""
    return set(terms.counts) == {Category.TEST_SUBJECT}


def body_matches(terms: Terms, entries: tuple[Entry, ...]) -> None:
    """Refuse a body that is not what the signed manifest says is inside.

    Raises:
        SafeguardError: R7.
    """
    for entry in entries:
        if (entry.category is Category.TEST_SUBJECT) != (entry.image_basis is ImageBasis.CONSENTED):
            raise _refuse(
                "R32", f"entry {entry.entry} is a test subject without consent, or the reverse", "list anew"
            )
    counts: dict[Category, int] = {}
    for entry in entries:
        counts[entry.category] = counts.get(entry.category, 0) + 1
    identifiers = {entry.entry for entry in entries}
    said = (terms.entries, terms.counts, terms.under_18, terms.entries)
    found = (len(entries), counts, sum(entry.under_18 for entry in entries), len(identifiers))
    if said != found:
        raise _refuse("R7", "its entries are not those that the manifest counts", "build and sign a new list")


def expected_false_alerts(
    certificate: Certificate, *, entries: int, threshold: float, passers_by: int
) -> float | None:
    """How many false alerts at most are to be expected of so many people who are not on the list (R9).

    The certificate gives the FPIR of lists of certain lengths at certain thresholds. A shorter list or a
    higher threshold gives no more, so the least of those that are not shorter and not above the threshold is
    a bound. It is not scaled down to a shorter list: FPIR grows less than linearly with the length, so that
    would be too little.

    Returns:
        The bound, or None if the certificate says nothing of a list so long or a threshold so low.
    """
    fitting = [f for f in certificate.floors if f.entries >= entries and f.threshold <= threshold]
    longer = [f.entries for f in certificate.floors if f.entries >= entries]
    if not longer or threshold < max(f.threshold for f in certificate.floors if f.entries == min(longer)):
        return None  # R18 would refuse it
    return passers_by * min(f.fpir for f in fitting)


def under_18(born_on: date, on: date) -> bool:
    """Whether somebody born on a day is under 18 on another (R10); born on 29 February means 1 March."""
    years = on.year - born_on.year - ((on.month, on.day) < (born_on.month, born_on.day))
    return years < ADULT_YEARS
