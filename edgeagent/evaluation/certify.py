"""From an evaluation's report to what an evaluator may sign: floors that its counts support, and no more.

Rows of the report are at thresholds that follow from the number of people and a wanted rate, fixed before
anybody looked at the scores. So the interval of the chosen row needs no correction for having been chosen.
Nothing is carried over to longer lists than were searched (R18).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from edgeagent.documents.parse import parse
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.evaluation.certify_groups import HIGHEST, compared, errors_of
from edgeagent.evaluation.report_model import (
    REPORT_LIMIT,
    Report,
    Runtime,
)
from edgeagent.safeguards.certificate import (
    CONFIDENCE,
    MOST_PEOPLE,
    Certificate,
    Excluded,
    Floor,
    shows,
)
from edgeagent.safeguards.profile import MOST_ENTRIES
from edgeagent.system.files import read_bounded

MOST_FLOORS = 32
LINE = 200
ENOUGH_TO_SEARCH = 2**40


@dataclass(frozen=True, slots=True)
class Order:
    """What the evaluator decides and answers for; the rest follows from the report."""

    floor_fpir: float
    dataset: str
    volunteers_attested: bool
    issued_at: datetime
    valid: timedelta


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate to be signed, and what it does not cover, one sentence a line."""

    certificate: Certificate
    not_covered: tuple[str, ...]


def read_and_certify(file: Path, order: Order) -> Certified:
    """`certify` for a file.

    Raises:
        DocumentError: no report, naming the file.
        SafeguardError: R18, it supports no floor at that FPIR.
    """
    return certify(read_bounded(file, REPORT_LIMIT), order, str(file))


def certify(content: bytes, order: Order, where: str) -> Certified:
    """What the report in these bytes supports.

    Raises:
        DocumentError: no report, or one that contradicts itself.
        SafeguardError: R18, it supports no floor at that FPIR.
    """
    report = parse(Report, content, where)
    try:
        return _certified(report, hashlib.sha256(content).hexdigest(), order, where)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"]) or "(whole)"
        raise DocumentError(
            f"makes no certificate: {field}: {fault['msg']}", where=where, next_step="evaluate again"
        ) from None


def _certified(report: Report, sha256: str, order: Order, where: str) -> Certified:
    groups = compared(report.groups)
    floors, not_covered = _floors(report, order.floor_fpir, groups.threshold, where)
    certificate = Certificate(
        model_pack_sha256=report.model_pack_sha256,
        issued_at=order.issued_at,
        expires_at=order.issued_at + order.valid,
        report_sha256=sha256,
        dataset=order.dataset,
        people=report.dataset.people_used,
        excluded=_excluded(report),
        seed=report.seed,
        failure_to_acquire=report.failure_to_acquire.rate,
        runtime=_software(report.runtime),
        machine=report.runtime.machine[:LINE],
        confidence=CONFIDENCE,
        floors=floors,
        volunteers_attested=order.volunteers_attested,
        groups_tested=groups.tested,
        groups_too_small=groups.too_small,
        groups_threshold=groups.threshold,
        groups_fpir=groups.fpir,
        differences=groups.differences,
    )
    return Certified(certificate, not_covered)


def _excluded(report: Report) -> Excluded:
    """A picture's name starts with its person's."""
    people = {name.partition("/")[0] for name in report.excluded}
    return Excluded(pictures=len(report.excluded), people=len(people))


def _software(runtime: Runtime) -> str:
    return f"{runtime.library} {runtime.version}, {runtime.scene} detector"[:LINE]


# --- floors -------------------------------------------------------------------------------------------------


def people_needed(fpir: float, falsely_matched: int = 0) -> int:
    """The fewest people of whom so many may be falsely matched while the rate is still shown to be `fpir`."""
    few, enough = falsely_matched, ENOUGH_TO_SEARCH
    while enough - few > 1:
        middle = (few + enough) // 2
        shown = shows(fpir, falsely_matched, middle, CONFIDENCE)
        few, enough = (few, middle) if shown else (middle, enough)
    return enough


@dataclass(frozen=True, slots=True)
class _Row:
    """What people did at one threshold: those who were not enrolled, and for `tpir` those who were."""

    size: int
    threshold: float
    people: int
    errors: int
    tpir: float | None
    sought: int

    def shows(self, fpir: float) -> bool:
        """Whether the rate is at most `fpir`, for all that the count can say."""
        return self.threshold <= HIGHEST and shows(fpir, self.errors, self.people, CONFIDENCE)


def _rows(report: Report) -> list[_Row]:
    """Every threshold of the report at which somebody was searched for, in lists of every size."""
    mated = {(one.gallery_size, one.threshold): one for one in report.identification}
    rows = []
    for row in report.floors:
        people = min(row.probes_nonmated, MOST_PEOPLE)
        beside = mated.get((row.gallery_size, row.threshold))
        found = (None, 0) if beside is None else (beside.tpir, beside.probes_mated)
        errors = errors_of(row.fpir_measured, people)
        rows.append(_Row(row.gallery_size, row.threshold, people, errors, *found))
    # The curve is of one gallery size and goes on to thresholds that no wanted rate leads to.
    main = [one for one in report.identification if one.gallery_size == report.main_gallery]
    if main:
        size, sought = main[0].gallery_size, main[0].probes_mated
        people = min(main[0].probes_nonmated, MOST_PEOPLE)
        rows += [
            _Row(size, point.threshold, people, errors_of(point.fpir, people), point.tpir, sought)
            for point in report.identification_curve
        ]
    return rows


def _floors(
    report: Report, fpir: float, groups_threshold: float | None, where: str
) -> tuple[tuple[Floor, ...], tuple[str, ...]]:
    rows = _rows(report)
    floors: dict[int, Floor] = {}
    unsupported: dict[int, str] = {}
    # R28: below the threshold at which groups were compared, nobody knows how they compare.
    at_least = -HIGHEST if groups_threshold is None else groups_threshold
    for size in sorted({row.size for row in rows}):
        of_size = sorted((row for row in rows if row.size == size), key=lambda row: row.threshold)
        lowest = next((row for row in of_size if row.shows(fpir)), None)
        if lowest is None:
            unsupported[size] = f"lists of {size}: {_shortfall(of_size, fpir)}"
            continue
        at_least = max(at_least, lowest.threshold)  # a longer list never has a lower floor than a shorter one
        found = next((row for row in of_size if row.threshold >= at_least and row.sought), None)
        entries = min(size, MOST_ENTRIES)
        floors[entries] = Floor(
            entries=entries,
            threshold=at_least,
            fpir=fpir,
            people=lowest.people,
            falsely_matched=lowest.errors,
            tpir=None if found is None else found.tpir,
            sought=0 if found is None else found.sought,
        )
    if not floors:
        raise SafeguardError(
            f"supports no floor at FPIR {fpir:g}: {next(iter(unsupported.values()), 'it has no searches')}",
            where=where,
            next_step="evaluate with more people who are not enrolled, or certify a higher --floor-fpir",
            rule="R18",
        )
    longest = max(floors)  # a shorter list takes the floor of a longer one
    not_covered = tuple(line for size, line in unsupported.items() if size > longest)
    return tuple(floors.values())[-MOST_FLOORS:], not_covered


def _shortfall(rows: list[_Row], fpir: float) -> str:
    """How far the best row is from enough."""
    best = min(rows, key=lambda row: (row.errors, -row.people))
    least = people_needed(fpir)
    if best.people < least:
        return (
            f"{best.people:,} people were searched for while not enrolled; {least - best.people:,} more are "
            f"needed ({least:,} in all, with no false positive)"
        )
    needed = people_needed(fpir, best.errors)
    return (
        f"at the report's strictest threshold {best.errors:,} of {best.people:,} people were falsely "
        f"matched; with so many, {needed:,} people are needed, {needed - best.people:,} more"
    )
