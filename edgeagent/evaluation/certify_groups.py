"""Which groups a report says enough of, and where they differ (R28)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from edgeagent.evaluation.report_model import Group, GroupRate, Groups, GroupTest
from edgeagent.safeguards.certificate import (
    CONFIDENCE,
    GROUP_PEOPLE,
    MOST_GROUPS_FPIR,
    MOST_PEOPLE,
    Difference,
    GroupResult,
    group_limit,
    shows,
)

MOST_DIFFERENCES = 64
HIGHEST = 1.0
"""A report says "nothing reaches it" with a threshold just above this; there nothing can be compared."""
MUST_BE_COMPARED = frozenset({"failure_to_acquire", "fpir", "tpir"})


def errors_of(rate: float, people: int) -> int:
    """A share of searches as whole people, rounded up, so that the count is never too low."""
    return min(people, ceil(rate * people - 1e-9))


@dataclass(frozen=True, slots=True)
class Compared:
    """What a certificate says of groups; nothing, where nothing was compared."""

    threshold: float | None = None
    fpir: float | None = None
    tested: tuple[GroupResult, ...] = ()
    too_small: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


def compared(groups: Groups | None) -> Compared:
    """Sort the report's groups into those it says enough of and those it does not."""
    if groups is None:
        return Compared()
    results = {group.label: _result(group, groups.tests, groups.fpir) for group in groups.groups}
    usable = groups.threshold <= HIGHEST and groups.fpir <= MOST_GROUPS_FPIR
    return Compared(
        threshold=groups.threshold if usable else None,
        fpir=groups.fpir if usable else None,
        tested=tuple(result for result in results.values() if result is not None) if usable else (),
        too_small=tuple(label for label, result in results.items() if result is None or not usable),
        differences=_differences(groups),
    )


def _result(group: Group, tests: tuple[GroupTest, ...], fpir: float) -> GroupResult | None:
    """The group as tested; None if the report cannot say enough of it (R28)."""
    compared = {test.rate for test in tests if group.label in test.groups}
    lost, found = group.failure_to_acquire, group.tpir
    if not group.enough or group.fpir is None or found is None or lost is None:
        return None
    if not compared >= MUST_BE_COMPARED or min(group.fpir.units, found.units) < GROUP_PEOPLE:
        return None
    people = min(group.fpir.units, MOST_PEOPLE)
    errors = errors_of(group.fpir.rate, people)
    if not shows(group_limit(fpir), errors, people, CONFIDENCE):
        return None
    return GroupResult(
        label=group.label,
        people=people,
        falsely_matched=errors,
        tpir=found.rate,
        sought=min(found.units, MOST_PEOPLE),
        failure_to_acquire=lost.rate,
    )


def _differences(groups: Groups) -> tuple[Difference, ...]:
    """Every significant one; of more than a certificate holds, those that are surest."""
    found = [_difference(test, groups) for test in groups.tests if test.significant]
    return tuple(sorted(found, key=lambda difference: difference.p_value)[:MOST_DIFFERENCES])


def _difference(test: GroupTest, groups: Groups) -> Difference:
    def burden(group: Group) -> float:
        rates: dict[str, GroupRate | None] = {
            "failure_to_acquire": group.failure_to_acquire,
            "fnmr": group.fnmr,
            "fmr": group.fmr,
            "tpir": group.tpir,
            "fpir": group.fpir,
        }
        rate = rates[test.rate]
        missed = 0.0 if rate is None else rate.rate
        return -missed if test.rate == "tpir" else missed

    named = [group for group in groups.groups if group.label in test.groups]
    worst = max(named, key=burden).label if named else test.groups[0]
    return Difference(rate=test.rate, groups=test.groups, worst=worst, p_value=test.p_holm)
