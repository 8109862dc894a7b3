"""Error rates per group of people (R28). Labels come from the volunteers; the program never infers any."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeagent.evaluation.dataset import EvaluationError, Index, Samples, lines_of
from edgeagent.evaluation.identification import Searches
from edgeagent.evaluation.pairs import all_pairs, scores_of
from edgeagent.evaluation.rates import Scores, interval
from edgeagent.evaluation.report_model import Floor, Group, GroupRate, Groups, GroupTest
from edgeagent.safeguards.certificate import GROUP_PEOPLE, LEAST_GROUPS

COLUMNS = ["person", "group"]
LEAST_PEOPLE = GROUP_PEOPLE
"""With fewer people a rate of 0 % still agrees with one of 10 %, so the group cannot be compared."""
PERMUTATIONS = 5_000
SIGNIFICANT = 0.05
LABEL_LIMIT = 80
MOST_GROUPS = 64


def read_groups(file: Path) -> dict[str, str]:
    """The group of each person, from a CSV with columns person,group.

    Raises:
        EvaluationError: a row is malformed, or gives a person a second group.
    """
    rows = list(csv.reader(lines_of(file)))
    if not rows or [cell.strip() for cell in rows[0]] != COLUMNS:
        raise _malformed(file, 1, "is not the header person,group")
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if len(cells) != len(COLUMNS) or not all(cells) or len(cells[1]) > LABEL_LIMIT:
            raise _malformed(file, number, "is not a person and a group")
        if groups.setdefault(cells[0], cells[1]) != cells[1]:
            raise _malformed(file, number, "gives a person a second group")
    if len(set(groups.values())) > MOST_GROUPS:
        raise _malformed(file, len(rows), f"brings more than {MOST_GROUPS} groups")
    return groups


def _malformed(file: Path, number: int, what: str) -> EvaluationError:
    return EvaluationError(
        what, where=f"{file}, row {number}", next_step="one row for each person: person,group"
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """Events and trials by person, (p,) each: what a rate of any set of people follows from."""

    events: Scores
    trials: Scores


@dataclass(frozen=True, slots=True)
class Evidence:
    """What rates per group are computed from.

    Attributes:
        label: (p,) number of each person's group, -1 without one.
        tried_label: (q,) the same for everybody of the dataset, with a template or without.
        acquisition: by person, (q,), pictures that gave no template, of the pictures tried.
        pictures: (p,) pictures that gave one.
        false_matches: (n, 2) people of each non-mated pair of pictures that matches.
        scale: (p × p pairs of pictures) / (pairs looked at); 1 if all were.
    """

    names: tuple[str, ...]
    label: Index
    tried_label: Index
    acquisition: Tally
    pictures: Index
    fnmr: Tally
    tpir: Tally
    fpir: Tally
    false_matches: Index
    scale: float


def gather(
    samples: Samples,
    searches: Searches,
    threshold: float,
    labelled: dict[str, str],
    acquisition: dict[str, tuple[int, int]],
    rng: np.random.Generator,
) -> Evidence:
    """Count errors at a threshold, person by person.

    Args:
        acquisition: of every person of the dataset, pictures that gave no template and pictures tried.
    """
    people = len(samples.people)
    names = tuple(sorted({labelled[person] for person in acquisition if person in labelled}))
    number = {name: index for index, name in enumerate(names)}

    def labels(of: Iterable[str]) -> Index:
        return np.array([number.get(labelled.get(person, ""), -1) for person in of], np.int64)

    pairs = all_pairs(samples, rng)
    scores = scores_of(samples, pairs)
    first, second = samples.person[pairs.first], samples.person[pairs.second]
    mated, reaches = first == second, scores >= threshold
    pictures = np.bincount(samples.person, minlength=people)

    def tally(person: Index, events: npt.NDArray[np.bool_]) -> Tally:
        return Tally(
            np.bincount(person[events], minlength=people).astype(float),
            np.bincount(person, minlength=people).astype(float),
        )

    matches = reaches & ~mated
    return Evidence(
        names=names,
        label=labels(samples.people),
        tried_label=labels(acquisition),
        acquisition=Tally(*np.array(list(acquisition.values()), float).reshape(-1, 2).T),
        pictures=pictures,
        fnmr=tally(first[mated], ~reaches[mated]),
        tpir=tally(searches.mated_person, searches.hits(threshold)),
        fpir=tally(searches.nonmated_person, searches.nonmated_score >= threshold),
        false_matches=np.stack([first[matches], second[matches]], axis=1),
        scale=_scale(pictures, mated),
    )


def _scale(pictures: Index, mated: npt.NDArray[np.bool_]) -> float:
    looked = int((~mated).sum())
    return _pairs_between(pictures) / looked if looked else 1.0


def _pairs_between(pictures: npt.NDArray[np.int64]) -> float:
    """Pairs of pictures of two different people."""
    return float(pictures.sum() ** 2 - (pictures**2).sum()) / 2


def by_group(evidence: Evidence, floor: Floor, rng: np.random.Generator) -> Groups:
    """Rates of every group and, for each rate, whether the groups differ."""
    groups = tuple(_group(evidence, number) for number in range(len(evidence.names)))
    return Groups(
        threshold=floor.threshold,
        fpir=floor.fpir,
        least_people=LEAST_PEOPLE,
        unlabelled=int((evidence.label < 0).sum()),
        groups=groups,
        tests=_tests(evidence, groups, rng),
    )


def _group(evidence: Evidence, number: int) -> Group:
    inside = evidence.label == number
    people = int(inside.sum())
    pictures = np.where(inside, evidence.pictures, 0)
    matches = (evidence.label[evidence.false_matches] == number).all(axis=1)
    events, trials = int(matches.sum()), round(_pairs_between(pictures) / evidence.scale)
    return Group(
        label=evidence.names[number],
        people=people,
        images=int(pictures.sum()),
        enough=people >= LEAST_PEOPLE,
        failure_to_acquire=_rate(evidence.acquisition, evidence.tried_label == number),
        fnmr=_rate(evidence.fnmr, inside),
        fmr=_group_rate(min(events, trials), trials, min(trials, people * (people - 1) // 2)),
        tpir=_rate(evidence.tpir, inside),
        fpir=_rate(evidence.fpir, inside),
    )


def _rate(tally: Tally, inside: npt.NDArray[np.bool_]) -> GroupRate | None:
    people = int((tally.trials[inside] > 0).sum())
    return _group_rate(int(tally.events[inside].sum()), int(tally.trials[inside].sum()), people)


def _group_rate(events: int, trials: int, units: int) -> GroupRate | None:
    if not trials:
        return None
    rate = events / trials
    return GroupRate(rate=rate, ci95=interval(rate, units), events=events, trials=trials, units=units)


RATES = ("failure_to_acquire", "fnmr", "fmr", "tpir", "fpir")


def _tests(evidence: Evidence, groups: tuple[Group, ...], rng: np.random.Generator) -> tuple[GroupTest, ...]:
    """A permutation test for each rate over the groups in which it was measured, corrected after Holm."""
    compared: dict[str, Index] = {}
    p_values: dict[str, float] = {}
    for rate in RATES:
        measured = np.flatnonzero([_measured(group, rate) for group in groups])
        if len(measured) < LEAST_GROUPS:  # R28: nothing was compared, and what was not compared is no test
            continue
        label = evidence.tried_label if rate == "failure_to_acquire" else evidence.label
        who = np.flatnonzero(np.isin(label, measured))
        statistic = _statistic(evidence, rate, who, len(measured))
        p_values[rate] = _permuted(statistic, np.searchsorted(measured, label[who]), rng)
        compared[rate] = measured
    corrected = holm(p_values)
    return tuple(
        GroupTest.model_validate(
            {
                "rate": rate,
                "groups": tuple(evidence.names[group] for group in compared[rate]),
                "permutations": PERMUTATIONS,
                "p_value": p_value,
                "p_holm": corrected[rate],
                "significant": corrected[rate] < SIGNIFICANT,
            }
        )
        for rate, p_value in p_values.items()
    )


def _measured(group: Group, rate: str) -> bool:
    """Whether the group takes part in the test of a rate.

    Of failures to acquire, also a group that has too few people left because of them (R28).
    """
    if rate == "failure_to_acquire":
        return group.failure_to_acquire is not None and group.failure_to_acquire.units >= LEAST_PEOPLE
    rates = {"fnmr": group.fnmr, "fmr": group.fmr, "tpir": group.tpir, "fpir": group.fpir}
    return group.enough and rates[rate] is not None


def _statistic(evidence: Evidence, rate: str, who: Index, groups: int) -> Callable[[Index], float]:
    if rate == "fmr":
        return _spread_of_pairs(evidence, who, groups)
    tallies = {
        "failure_to_acquire": evidence.acquisition,
        "fnmr": evidence.fnmr,
        "tpir": evidence.tpir,
        "fpir": evidence.fpir,
    }
    return _spread(tallies[rate], who, groups)


def _permuted(statistic: Callable[[Index], float], number: Index, rng: np.random.Generator) -> float:
    """Share of random divisions of the people, the real one among them, that differ at least as much."""
    real = statistic(number)
    as_much = sum(statistic(rng.permutation(number)) >= real - 1e-12 for _ in range(PERMUTATIONS))
    return (1 + as_much) / (1 + PERMUTATIONS)


def _spread(tally: Tally, who: Index, groups: int) -> Callable[[Index], float]:
    """How far the groups' rates lie from the common one: squares, weighted by trials."""
    events, trials = tally.events[who], tally.trials[who]

    def of(number: Index) -> float:
        counted = [np.bincount(number, part, groups).astype(float) for part in (events, trials)]
        return _squares(counted[0], counted[1])

    return of


def _spread_of_pairs(evidence: Evidence, who: Index, groups: int) -> Callable[[Index], float]:
    """The same of false matches within groups."""
    place = np.full(len(evidence.label), -1, np.int64)
    place[who] = np.arange(len(who))
    pairs = place[evidence.false_matches]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    pictures = evidence.pictures[who].astype(float)

    def of(number: Index) -> float:
        within = pairs[number[pairs[:, 0]] == number[pairs[:, 1]]]
        events = np.bincount(number[within[:, 0]], minlength=groups).astype(float)
        sums, squares = np.bincount(number, pictures, groups), np.bincount(number, pictures**2, groups)
        return _squares(events, (sums**2 - squares) / 2 / evidence.scale)

    return of


def _squares(events: Scores, trials: Scores) -> float:
    tried = trials > 0
    if not tried.any():
        return 0.0
    rates = events[tried] / trials[tried]
    common = events[tried].sum() / trials[tried].sum()
    return float((trials[tried] * (rates - common) ** 2).sum())


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down correction: each p-value as if it were the only test, and still right for all."""
    corrected: dict[str, float] = {}
    least = 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, p_value * (len(p_values) - rank)))
        corrected[name] = least
    return corrected
