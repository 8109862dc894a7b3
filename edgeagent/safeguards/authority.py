"""The written authority for one deployment, and whether it holds (R12 to R15, R18, R22, R27, R33)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.categories import UseCase
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.profile import Profile, StrictModel

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UnitName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
DeploymentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$")]
_PRINTABLE = r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f]$"
"""One line that begins and ends with a visible character, so that it can be shown to a person as it is."""
Reason = Annotated[str, Field(min_length=40, max_length=4000, pattern=_PRINTABLE)]


class Kind(StrEnum):
    """A live deployment, or a bench with generated or recorded pictures of test subjects (R33)."""

    LIVE = "live"
    BENCH = "bench"


class SealKey(StrictModel):
    """Public X25519 key (RFC 8037 JWK) of one deployment, to which alert crops are sealed (R3)."""

    kty: Literal["OKP"]
    crv: Literal["X25519"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Authority(StrictModel):
    """What a deployment authority says. Times are aware; `threshold` and `margin` are cosine similarities.

    Attributes:
        sequence: rises with every authority of this deployment; an older one is refused.
        necessity: why a less intrusive way will not do (R12).
        is_assembly_or_protest: must be answered; "yes" is refused (R13).
        signage_confirmed: signs are up before capture; "no" is refused (R22).
        agreeing_frames: frames of one track that must agree before a hit.
        margin: by how much the best entry must beat the next person's.
        alert_ttl_s: after this long an undelivered alert is dropped and counted.
        realert_s: after an alert about an entry, none about the same entry for this long.
        retention_h: how long the control room may keep an alert (R3).
    """

    kind: Kind
    deployment: DeploymentId
    sequence: Annotated[int, Field(ge=1, le=2**53)]
    units: Annotated[tuple[UnitName, ...], Field(min_length=1, max_length=64)]
    site: Annotated[str, Field(min_length=3, max_length=200, pattern=_PRINTABLE)]
    use_case: UseCase
    necessity: Reason
    proportionality: Reason
    is_assembly_or_protest: bool
    signage_confirmed: bool
    urgent: bool
    issued_at: AwareDatetime
    start: AwareDatetime
    end: AwareDatetime
    watchlist_sha256: Sha256
    model_pack_sha256: Sha256
    threshold: Annotated[float, Field(ge=-1, le=1)]
    margin: Annotated[float, Field(ge=0, le=1)]
    agreeing_frames: Annotated[int, Field(ge=2, le=30)]
    alert_ttl_s: Annotated[float, Field(gt=0)]
    realert_s: Annotated[float, Field(ge=0, le=86_400)]
    retention_h: Annotated[float, Field(gt=0)]
    lease_max_s: Annotated[float, Field(gt=0)]
    alert_key: SealKey


@dataclass(frozen=True, slots=True)
class Grant:
    """What an accepted authority lets the gate do: nothing outside [start, end), leases up to a length."""

    deployment: str
    start: datetime
    end: datetime
    lease_max_s: float
    clock_step_s: float
    clock_skew_s: float


def _refuse(rule: str, what: str, field: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where=f"authority field {field}", next_step=next_step, rule=rule)


def authority_allows(authority: Authority, profile: Profile, *, unit: str, now: Instant) -> Grant:
    """The grant that the authority gives this unit, or the first rule that it breaks.

    Signatures and sequence are checked before (`edgeagent.documents`); this looks at what is said.
    An authority that has not started yet is accepted: the gate stays LOCKED until it starts.

    Raises:
        SafeguardError: naming the rule and the field.
    """
    if unit not in authority.units:
        raise _refuse(
            "R12", f"this unit ({unit}) is not named", "units", "ask for an authority that names it"
        )
    if authority.is_assembly_or_protest:
        raise _refuse(
            "R13", "assemblies and protests are refused", "is_assembly_or_protest", "do not deploy here"
        )
    if not authority.signage_confirmed:
        raise _refuse(
            "R22", "signs are not confirmed", "signage_confirmed", "put the signs up, then sign again"
        )
    _check_times(authority, profile, now)
    _check_figures(authority, profile)
    return Grant(
        deployment=authority.deployment,
        start=authority.start,
        end=authority.end,
        lease_max_s=min(authority.lease_max_s, profile.lease_max_s),
        clock_step_s=profile.clock_step_s,
        clock_skew_s=profile.clock_skew_s,
    )


def approval_rule(authority: Authority, profile: Profile) -> str | None:
    """The rule for which this authority needs an independent approver's signature too, or None.

    A bench films nobody and needs none (R33).
    """
    if authority.kind is Kind.BENCH:
        return None
    if authority.threshold < profile.threshold_usual:
        return "R19"
    return "R27" if profile.independent_approval else None


def _check_times(authority: Authority, profile: Profile, now: Instant) -> None:
    if authority.start >= authority.end:
        raise _refuse("R14", "ends before it starts", "end", "sign an authority with end after start")
    if now.wall >= authority.end:
        raise _refuse("R14", f"ended at {authority.end.isoformat()}", "end", "ask for a new authority")
    if authority.issued_at > now.wall + timedelta(seconds=profile.clock_skew_s):
        raise _refuse(
            "R14",
            f"signed in the future ({authority.issued_at.isoformat()})",
            "issued_at",
            "check both clocks",
        )
    if authority.issued_at > authority.start and not authority.urgent:
        raise _refuse(
            "R14", "was signed after its start", "issued_at", "authority comes first; sign a new one"
        )
    longest_h = profile.urgent_max_h if authority.urgent else profile.deployment_max_h
    if authority.end - authority.start > timedelta(hours=longest_h):
        what = (
            f"lasts longer than {longest_h:g} h, the longest {'urgent ' if authority.urgent else ''}authority"
        )
        raise _refuse("R14", what, "end", "shorten it; there is no automatic renewal")


def _check_figures(authority: Authority, profile: Profile) -> None:
    limits = (
        ("R3", "retention_h", authority.retention_h, profile.retention_max_h),
        ("R16", "lease_max_s", authority.lease_max_s, profile.lease_max_s),
        ("R12", "alert_ttl_s", authority.alert_ttl_s, profile.alert_ttl_max_s),
    )
    for rule, field, value, most in limits:
        if value > most:
            raise _refuse(rule, f"{value:g} is above the profile's {most:g}", field, f"sign at most {most:g}")
    if authority.threshold < profile.threshold_min:
        what = f"{authority.threshold:g} is below the profile's floor {profile.threshold_min:g}"
        raise _refuse("R18", what, "threshold", "sign a threshold at or above the floor")
