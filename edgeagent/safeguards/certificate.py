"""The evaluation certificate and the threshold floor that follows from it (R18, R19, R28)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, Kind, Sha256
from edgeagent.safeguards.binomial import beta_cdf
from edgeagent.safeguards.profile import MOST_ENTRIES, Profile, StrictModel

GroupLabel = Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Share = Annotated[float, Field(ge=0, le=1)]
MOST_PEOPLE = 10_000_000
People = Annotated[int, Field(ge=1, le=MOST_PEOPLE)]
Errors = Annotated[int, Field(ge=0, le=MOST_PEOPLE)]

CONFIDENCE = 0.95
"""Of the two-sided interval whose upper end must keep the promise; so the promise itself holds at 97.5 %."""
GROUP_FACTOR = 10.0
"""False positive rates that differ tenfold between groups are the known harm: where the numbers could not
have shown that a group has ten times everybody's rate, the group was not tested (R28)."""
LEAST_GROUPS = 2
GROUP_PEOPLE = 30
"""With fewer people a rate of 0 % still agrees with one of 10 %, so the group cannot be compared (R28)."""
MOST_GROUPS_FPIR = 0.03
"""Groups compared where everybody is falsely matched more often were not tested: ten times it rules nothing
out (R28)."""
GroupPeople = Annotated[int, Field(ge=GROUP_PEOPLE, le=MOST_PEOPLE)]


class Floor(StrictModel):
    """For lists of up to `entries`, no threshold below `threshold` may be used.

    Attributes:
        fpir: the promise: of people not on such a list no larger share gives an alert.
        people: not enrolled, whose pictures were searched for; each counts once, however many pictures.
        falsely_matched: how many of them met the threshold, rounded up; the promise must follow from both.
        tpir: share of enrolled people who were found, at `threshold` or the next one measured above it.
        sought: enrolled people behind it; 0 if nobody was.
    """

    entries: Annotated[int, Field(ge=1, le=MOST_ENTRIES)]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    fpir: Annotated[float, Field(gt=0, lt=1)]
    people: People
    falsely_matched: Errors
    tpir: Share | None
    sought: Errors


class GroupResult(StrictModel):
    """A group of volunteers with enough people to be compared with another.

    Attributes:
        people: of the group, not enrolled, who were searched for.
        falsely_matched: how many of them met `groups_threshold`.
        tpir: share of the group's enrolled people who were found at `groups_threshold`.
        sought: enrolled people behind it.
        failure_to_acquire: share of the group's pictures in which no face could be compared.
    """

    label: GroupLabel
    people: GroupPeople
    falsely_matched: Errors
    tpir: Share
    sought: GroupPeople
    failure_to_acquire: Share


class Excluded(StrictModel):
    """What the evaluator took out of the dataset by hand: pictures, and the people whom they show."""

    pictures: Annotated[int, Field(ge=0, le=2**53)]
    people: Annotated[int, Field(ge=0, le=2**53)]


class Difference(StrictModel):
    """A difference between groups that chance does not explain.

    Attributes:
        rate: which error differs, in the terms of the report.
        worst: the group that it burdens most.
        p_value: corrected for the number of comparisons.
    """

    rate: Literal["failure_to_acquire", "fnmr", "fmr", "tpir", "fpir"]
    groups: Annotated[tuple[GroupLabel, ...], Field(min_length=2, max_length=64)]
    worst: GroupLabel
    p_value: Share


class Certificate(StrictModel):
    """What an evaluator signs about one model pack.

    Attributes:
        expires_at: a deployment that ends later is refused.
        report_sha256: of the evaluation's report.json.
        dataset: whose pictures these are, in the evaluator's words.
        people: with at least one usable picture, of all that were measured.
        excluded: pictures that the evaluator's list left out; what remains may have been chosen.
        seed: of every draw; another one deals other lists.
        failure_to_acquire: share of all pictures in which no face could be compared.
        runtime: software that ran the networks.
        machine: processor that they ran on; another one rounds a little differently.
        confidence: of the two-sided Clopper-Pearson interval behind every promise.
        floors: by rising list size; a longer list than the last has no floor and is refused.
        volunteers_attested: the evaluator attests that everybody consented and was labelled by themselves.
        groups_tested: groups of volunteers that were compared; live use needs two.
        groups_too_small: labelled groups of which the evaluation can say nothing.
        groups_threshold: at which groups were compared; no floor is below it.
        groups_fpir: false positive rate of everybody together at that threshold.
        differences: between groups, that chance does not explain; live use needs that there is none.
    """

    model_pack_sha256: Sha256
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    report_sha256: Sha256
    dataset: Line
    people: People
    excluded: Excluded
    seed: Annotated[int, Field(ge=0, le=2**53)]
    failure_to_acquire: Share
    runtime: Line
    machine: Line
    confidence: Annotated[float, Field(ge=CONFIDENCE, lt=1)]
    floors: Annotated[tuple[Floor, ...], Field(min_length=1, max_length=32)]
    volunteers_attested: bool
    groups_tested: Annotated[tuple[GroupResult, ...], Field(max_length=64)]
    groups_too_small: Annotated[tuple[GroupLabel, ...], Field(max_length=64)]
    groups_threshold: Annotated[float, Field(ge=-1, le=1)] | None
    groups_fpir: Annotated[float, Field(gt=0, lt=1)] | None
    differences: Annotated[tuple[Difference, ...], Field(max_length=64)]

    @model_validator(mode="after")
    def _promises_no_more_than_its_counts(self) -> Self:
        if self.expires_at <= self.issued_at:
            raise ValueError("expires before it is issued")
        for shorter, longer in zip(self.floors, self.floors[1:], strict=False):
            if longer.entries <= shorter.entries or longer.threshold < shorter.threshold:
                raise ValueError("floors do not rise with the list's size")
        for floor in self.floors:
            if not shows(floor.fpir, floor.falsely_matched, floor.people, self.confidence):
                raise ValueError(f"floor for {floor.entries} entries promises more than its counts support")
        self._groups_were_tested()
        return self

    def _groups_were_tested(self) -> None:
        if not self.groups_tested:
            return
        if self.groups_threshold is None or self.groups_fpir is None:
            raise ValueError("nothing says at which threshold groups were compared")
        if self.groups_threshold > self.floors[0].threshold:
            raise ValueError("groups were compared at a threshold above a floor")
        if len({group.label for group in self.groups_tested}) < len(self.groups_tested):
            raise ValueError("a group counts twice")
        if self.groups_fpir > MOST_GROUPS_FPIR:
            raise ValueError("groups were compared where false matches are too common to tell them apart")
        most = group_limit(self.groups_fpir)
        for group in self.groups_tested:
            if not shows(most, group.falsely_matched, group.people, self.confidence):
                raise ValueError("a group has too few people to count as tested")


def shows(rate: float, errors: int, people: int, confidence: float) -> bool:
    """Whether a count shows that the rate behind it is at most `rate`: the interval's upper end is not above.

    The two-sided Clopper-Pearson interval, without computing its end.
    """
    if rate >= 1:
        return True
    return errors < people and beta_cdf(rate, errors + 1, people - errors) >= (1 + confidence) / 2


def group_limit(fpir: float) -> float:
    """The rate of one group that its numbers must rule out, by the rate of everybody together (R28)."""
    return min(1.0, GROUP_FACTOR * fpir)


def threshold_allowed(
    authority: Authority, certificate: Certificate | None, profile: Profile, *, entries: int
) -> None:
    """Refuse a threshold that no certificate for this model and list size covers.

    A bench may run without a certificate, since it is how one is made; its alerts are marked as a test (R33).

    Raises:
        SafeguardError: R28 without a certificate that fits, R18 below its floor, or live with a floor that
            promises less than the profile asks for.
    """
    if certificate is None:
        if authority.kind is Kind.BENCH:
            return
        raise _refuse("R28", "no evaluation certificate: the model may not be used live", "have it evaluated")
    if certificate.model_pack_sha256 != authority.model_pack_sha256:
        raise _refuse("R28", "is for another model pack", "use the certificate of the authorised model pack")
    if authority.end > certificate.expires_at:
        what = f"expires at {certificate.expires_at.isoformat()}, before the deployment ends"
        raise _refuse("R28", what, "have the model pack evaluated again")
    if authority.kind is Kind.LIVE:
        fit_for_live(certificate)
    floor = next((floor for floor in certificate.floors if floor.entries >= entries), None)
    if floor is None:
        raise _refuse("R18", f"covers no list of {entries} entries", "shorten the list or have it evaluated")
    if authority.threshold < floor.threshold:
        what = f"threshold {authority.threshold:g} is below the certified floor {floor.threshold:g}"
        raise _refuse("R18", what, "sign an authority at or above the floor, or have a lower one certified")
    if authority.kind is Kind.LIVE:
        promise_allowed(floor, profile.certified_fpir_max)


def promise_allowed(floor: Floor, most: float) -> None:
    """Refuse a floor for live use that promises no more than a larger false positive rate than `most`.

    Raises:
        SafeguardError: R18.
    """
    if floor.fpir > most:
        what = f"promises a false positive rate of at most {floor.fpir:g}; live use allows {most:g}"
        raise _refuse("R18", what, "have a floor certified with a lower --floor-fpir")


def fit_for_live(certificate: Certificate) -> None:
    """Refuse an evaluation that cannot have ruled out that groups of people are treated differently (R28).

    There is no exception for a difference that somebody finds acceptable: the way out is a higher floor, at
    which none is found, or another model.

    Raises:
        SafeguardError: R28.
    """
    if not certificate.volunteers_attested:
        raise _refuse("R28", "rests on people who are not attested as volunteers", "evaluate with volunteers")
    if len(certificate.groups_tested) < LEAST_GROUPS:
        number = "only one group" if certificate.groups_tested else "no group"
        raise _refuse("R28", f"{number} of volunteers was tested", "have it evaluated per group")
    if certificate.differences:
        first = certificate.differences[0]
        what = f"the {rate_name(first.rate)} differs between groups, to the burden of {first.worst}"
        raise _refuse(
            "R28", what, "have a higher floor evaluated at which no group differs, or use another model"
        )


def group_findings(certificate: Certificate) -> tuple[str, ...]:
    """What the certificate says of groups of people, one sentence a line; never nothing (R28)."""
    said = [_finding(difference) for difference in certificate.differences]
    tested = certificate.groups_tested
    if len(tested) < LEAST_GROUPS:
        said.append("groups were NOT compared: not for live use")
    elif not said:
        labels = ", ".join(group.label for group in tested)
        said.append(
            f"no significant difference found, at threshold {certificate.groups_threshold:g}: {labels}"
        )
    if certificate.groups_too_small:
        labels = ", ".join(certificate.groups_too_small)
        said.append(f"too few people to say anything: {labels}")
    said.append(_not_acquired(certificate))
    if not certificate.volunteers_attested:
        said.append("people NOT attested as volunteers: not for live use")
    return tuple(said)


def _not_acquired(certificate: Certificate) -> str:
    """A face that is never compared is in no other rate (R28)."""
    rates = [("all", certificate.failure_to_acquire)]
    rates += [(group.label, group.failure_to_acquire) for group in certificate.groups_tested]
    said = "; ".join(f"{label} {rate:.1%}" for label, rate in rates)
    return f"failure to acquire (pictures with no face to compare): {said}"


def rate_name(rate: str) -> str:
    """A rate as a reader of certificates knows it."""
    return "failure to acquire" if rate == "failure_to_acquire" else rate.upper()


def _finding(difference: Difference) -> str:
    groups = ", ".join(difference.groups)
    rate = rate_name(difference.rate)
    return f"SIGNIFICANT DIFFERENCE in {rate} between {groups}: worst for {difference.worst}"


def _refuse(rule: str, what: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where="evaluation certificate", next_step=next_step, rule=rule)
