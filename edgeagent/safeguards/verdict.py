"""What two people made of an alert, an operator and then an officer, and what came of it (R20, R21, R29)."""

from __future__ import annotations

from enum import StrEnum

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.people import same_person


class Choice(StrEnum):
    """What the operator decides after looking at both pictures."""

    ENGAGE = "engage"
    REJECT = "reject"


class Finding(StrEnum):
    """What the officer finds.

    `not_engaged`: looked, and did not think it was the person. `not_found`: could not find whom to look at.
    """

    CONFIRMED_MATCH = "confirmed_match"
    CONFIRMED_NO_MATCH = "confirmed_no_match"
    NOT_ENGAGED = "not_engaged"
    NOT_FOUND = "not_found"


class Result(StrEnum):
    """What came of it, as published records count it. There is no "unknown": an open alert stays open."""

    ARREST = "arrest"
    OTHER_DISPOSAL = "other_disposal"
    SAFEGUARDED = "safeguarded"
    NO_ACTION = "no_action"


SPOKEN_TO = frozenset({Finding.CONFIRMED_MATCH, Finding.CONFIRMED_NO_MATCH})
"""Findings for which an officer spoke to somebody; only of these can anything but no action come."""


class Class(StrEnum):
    """The four columns of the Metropolitan Police's deployment records."""

    TRUE_CONFIRMED = "true_confirmed"
    TRUE_UNCONFIRMED = "true_unconfirmed"
    FALSE_CONFIRMED = "false_confirmed"
    FALSE_UNCONFIRMED = "false_unconfirmed"

    @property
    def is_false(self) -> bool:
        """Whether the alert counts as a false one (R17)."""
        return self in (Class.FALSE_CONFIRMED, Class.FALSE_UNCONFIRMED)


def classify(choice: Choice, finding: Finding) -> Class:
    """Which column an alert belongs to; where the two people differ and nobody was asked, it is false."""
    if finding is Finding.CONFIRMED_MATCH:
        return Class.TRUE_CONFIRMED
    if finding is Finding.CONFIRMED_NO_MATCH:
        return Class.FALSE_CONFIRMED
    if choice is Choice.ENGAGE and finding is Finding.NOT_FOUND:
        return Class.TRUE_UNCONFIRMED
    return Class.FALSE_UNCONFIRMED


def consistent(choice: Choice, finding: Finding, result: Result) -> None:
    """Refuse what cannot have happened.

    Raises:
        SafeguardError: R21 an officer acted on a rejected alert; R29 something came of nobody.
    """
    if choice is Choice.REJECT and (finding is not Finding.NOT_ENGAGED or result is not Result.NO_ACTION):
        raise SafeguardError(
            "acts on an alert that the operator rejected",
            where="verdict field finding",
            next_step="a rejected alert ends with not_engaged and no_action",
            rule="R21",
        )
    if finding not in SPOKEN_TO and result is not Result.NO_ACTION:
        raise SafeguardError(
            f"says {result}, but nobody was spoken to",
            where="verdict field outcome",
            next_step="record what happened: no_action, or another finding",
            rule="R29",
        )


def two_people(operator: str, officer: str) -> None:
    """Refuse one person in both parts; names are those of the trust store.

    Raises:
        SafeguardError: R21.
    """
    if same_person(operator, officer):
        raise SafeguardError(
            f"operator and officer are one person ({operator})",
            where="verdict",
            next_step="have another person decide",
            rule="R21",
        )
