"""Closed vocabularies: why somebody may be listed, what a camera may be deployed for (R8, R11, R13)."""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """Why a person is on the watchlist. Objective and closed: there is no free text (R8)."""

    WANTED_ON_WARRANT = "wanted_on_warrant"
    SUSPECTED_OF_OFFENCE = "suspected_of_offence"
    BREACH_OF_CONDITIONS = "breach_of_conditions"
    MISSING_AT_RISK = "missing_at_risk"
    RISK_OF_SERIOUS_HARM = "risk_of_serious_harm"
    ASSOCIATE = "associate"
    WITNESS = "witness"
    VICTIM = "victim"
    TEST_SUBJECT = "test_subject"  # R32


APPROVAL_NEEDED = frozenset({Category.ASSOCIATE, Category.WITNESS, Category.VICTIM})
"""Categories that need an independent approver's signature on the list (R8)."""


class ImageBasis(StrEnum):
    """Why the force lawfully holds the enrolled image (R7, R11).

    Custody images of people never convicted have no member here, so they cannot be listed.
    """

    CUSTODY_CONVICTED = "custody_convicted"
    CUSTODY_PROCEEDINGS_OPEN = "custody_proceedings_open"
    SUPPLIED_BY_FAMILY = "supplied_by_family"
    SUPPLIED_BY_COURT = "supplied_by_court"
    INVESTIGATION_MATERIAL = "investigation_material"
    CONSENTED = "consented"


class UseCase(StrEnum):
    """What a deployment may be for. Assemblies and protests have no member (R13)."""

    HOTSPOT = "hotspot"
    MISSING_PERSON = "missing_person"
    CRITICAL_INFRASTRUCTURE = "critical_infrastructure"
    EVENT = "event"
    SPECIFIC_INTELLIGENCE = "specific_intelligence"
