"""The evaluation certificate and the threshold floor that follows from it (R18, R19, R28)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, Kind, Sha256
from edgeagent.safeguards.profile import MOST_ENTRIES, StrictModel

GroupLabel = Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]


class Floor(StrictModel):
    """For lists of up to `entries`, no threshold below `threshold` may be used."""

    entries: Annotated[int, Field(ge=1, le=MOST_ENTRIES)]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    fpir: Annotated[float, Field(gt=0, lt=1)]


class Certificate(StrictModel):
    """What an evaluator signs about one model pack.

    Attributes:
        floors: by rising list size; a longer list than the last has no floor and is refused.
        groups_tested: labels of the groups of volunteers that were tested; empty means none were.
    """

    model_pack_sha256: Sha256
    issued_at: AwareDatetime
    report_sha256: Sha256
    floors: Annotated[tuple[Floor, ...], Field(min_length=1, max_length=32)]
    groups_tested: Annotated[tuple[GroupLabel, ...], Field(max_length=64)]


def threshold_allowed(authority: Authority, certificate: Certificate | None, *, entries: int) -> None:
    """Refuse a threshold that no certificate for this model and list size covers.

    A bench may run without a certificate, since it is how one is made; its alerts are marked as a test (R33).

    Raises:
        SafeguardError: R28 without a certificate that fits, R18 below its floor.
    """
    if certificate is None:
        if authority.kind is Kind.BENCH:
            return
        raise _refuse("R28", "no evaluation certificate: the model may not be used live", "have it evaluated")
    if certificate.model_pack_sha256 != authority.model_pack_sha256:
        raise _refuse("R28", "is for another model pack", "use the certificate of the authorised model pack")
    if authority.kind is Kind.LIVE and not certificate.groups_tested:
        raise _refuse("R28", "no group of volunteers was tested", "have it evaluated per group")
    floor = min(
        (f for f in certificate.floors if f.entries >= entries),
        key=lambda f: (f.entries, -f.threshold),  # of two for one size, the stricter
        default=None,
    )
    if floor is None:
        raise _refuse("R18", f"covers no list of {entries} entries", "shorten the list or have it evaluated")
    if authority.threshold < floor.threshold:
        what = f"threshold {authority.threshold:g} is below the certified floor {floor.threshold:g}"
        raise _refuse("R18", what, "sign an authority at or above the floor, or have a lower one certified")


def _refuse(rule: str, what: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where="evaluation certificate", next_step=next_step, rule=rule)
