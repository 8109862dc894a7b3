"""Open-set search: who is on the list and missed, who is not and gives a false alert."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from edgeagent.evaluation.dataset import Index, Samples
from edgeagent.evaluation.rates import (
    STEP,
    Scores,
    draws,
    interval,
    lowest_threshold,
    may_show,
    middle,
    share_reaching,
    weighted_cut,
)
from edgeagent.evaluation.report_model import CurvePoint, Floor, Identification
from edgeagent.evaluation.rounds import Parts, galleries

FALSE_POSITIVE_RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
LOWEST_WANTED = 0.001
"""The finer two serve certificates, whose upper bound must lie below what they promise (R18)."""
DRAWS = 500
BLOCK = 512
"""Probes searched for at once: 512 × 20,000 scores are 41 MB."""


@dataclass(frozen=True, slots=True)
class Searches:
    """What searches in galleries of one size gave: each person once while enrolled, once while not.

    Attributes:
        size: people enrolled.
        rounds: galleries.
        mated_person: (m,) who was searched for while enrolled.
        mated_score: (m,) score of the best entry.
        right: (m,) bool, whether that entry is the person's.
        nonmated_person: (n,) who was searched for while not enrolled.
        nonmated_score: (n,) score of the best entry.
    """

    size: int
    rounds: int
    mated_person: Index
    mated_score: Scores
    right: npt.NDArray[np.bool_]
    nonmated_person: Index
    nonmated_score: Scores

    def hits(self, threshold: float) -> npt.NDArray[np.bool_]:
        """(m,) whether each mated search gave an alert about the right person."""
        return self.right & (self.mated_score >= threshold)


def search(samples: Samples, parts: Parts, size: int) -> Searches:
    """Search for everybody in the galleries of a size."""
    mated: list[tuple[Index, Scores, npt.NDArray[np.bool_]]] = []
    nonmated: list[tuple[Index, Scores]] = []
    rounds = 0
    for enrolled in galleries(parts, size):
        rounds += 1
        present = np.flatnonzero(enrolled)
        gallery = samples.templates[parts.enrol[present]]
        listed = parts.mated[enrolled[parts.mated]]
        score, best = _nearest(samples.templates[parts.probe[listed]], gallery)
        mated.append((listed, score, present[best] == listed))
        others = np.flatnonzero(~enrolled)
        nonmated.append((others, _nearest(samples.templates[parts.probe[others]], gallery)[0]))
    person, score, right = (np.concatenate(column) for column in zip(*mated, strict=True))
    other, other_score = (np.concatenate(column) for column in zip(*nonmated, strict=True))
    one, once = _once(person), _once(other)
    return Searches(size, rounds, person[one], score[one], right[one], other[once], other_score[once])


def _once(person: Index) -> Index:
    """One search of each person, (p,): nobody weighs more than others for being searched for more often.

    Which one turns with the person's number, so that all galleries are used alike.
    """
    order = np.argsort(person, kind="stable")
    _, starts, counts = np.unique(person[order], return_index=True, return_counts=True)
    chosen: Index = order[starts + np.arange(len(starts)) % counts]
    return chosen


def _nearest(probes: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32]) -> tuple[Scores, Index]:
    """Score and row of each probe's best entry, (n,) each."""
    score, row = np.empty(len(probes), np.float64), np.empty(len(probes), np.int64)
    for start in range(0, len(probes), BLOCK):
        part = slice(start, start + BLOCK)
        scores = probes[part] @ gallery.T
        row[part] = scores.argmax(axis=1)
        score[part] = scores.max(axis=1)
    return score, row


def identify(searches: Searches, rng: np.random.Generator) -> tuple[list[Identification], list[Floor]]:
    """Figures at each false positive rate of which the people who are not enrolled could show one error."""
    outside = len(np.unique(searches.nonmated_person))
    shown = [rate for rate in FALSE_POSITIVE_RATES if may_show(outside, rate)]
    bootstrap = _bootstrap(searches, shown, rng)
    floors = [_floor(searches, rate, outside, bootstrap[rate][0]) for rate in shown]
    if not len(searches.mated_person):
        return [], floors
    found = [_identification(searches, floor, bootstrap[floor.fpir][1]) for floor in floors]
    return found, floors


def unsupported(floors: list[Floor], tried: list[Searches]) -> list[str]:
    """Which false positive rates are shown for no gallery, or not for every one, and why."""
    shown = {(floor.gallery_size, floor.fpir) for floor in floors}
    said = []
    for rate in (rate for rate in FALSE_POSITIVE_RATES if rate >= LOWEST_WANTED):
        short = [searches for searches in tried if (searches.size, rate) not in shown]
        if short:
            outside = sorted({len(np.unique(searches.nonmated_person)) for searches in short})
            there = " to ".join(f"{number:,}" for number in sorted({outside[0], outside[-1]}))
            which = "any gallery" if len(short) == len(tried) else f"galleries of {short[0].size:,} and more"
            said.append(
                f"FPIR {100 * rate:g} % is not shown for {which}: at least {ceil(1 / rate - 1e-9):,} "
                f"people must stay outside the gallery for it, there were {there}."
            )
    return said


def _floor(searches: Searches, rate: float, outside: int, thresholds: list[float]) -> Floor:
    threshold = lowest_threshold(searches.nonmated_score, rate)
    return Floor(
        gallery_size=searches.size,
        fpir=rate,
        threshold=threshold,
        threshold_ci95=middle(thresholds, (-1.0, 1.0)),
        fpir_measured=share_reaching(searches.nonmated_score, threshold),
        probes_nonmated=outside,
    )


def _identification(searches: Searches, floor: Floor, tpirs: list[float]) -> Identification:
    people = len(np.unique(searches.mated_person))
    tpir = float(searches.hits(floor.threshold).mean())
    ci95 = interval(tpir, people)
    return Identification(
        gallery_size=searches.size,
        probes_mated=people,
        probes_nonmated=floor.probes_nonmated,
        rounds=searches.rounds,
        searches_mated=len(searches.mated_person),
        searches_nonmated=len(searches.nonmated_person),
        fpir=floor.fpir,
        threshold=floor.threshold,
        fpir_measured=floor.fpir_measured,
        fpir_ci95=interval(floor.fpir_measured, floor.probes_nonmated),
        tpir=tpir,
        tpir_ci95=ci95,
        tpir_ci95_bootstrap=middle(tpirs, ci95),
        rank_one=float(searches.right.mean()),
    )


def _bootstrap(
    searches: Searches, rates: list[float], rng: np.random.Generator
) -> dict[float, tuple[list[float], list[float]]]:
    """Thresholds and true positive rates by false positive rate, over draws of the people."""
    order = np.argsort(-searches.nonmated_score, kind="stable")
    ranked, person = searches.nonmated_score[order], searches.nonmated_person[order]
    found: dict[float, tuple[list[float], list[float]]] = {rate: ([], []) for rate in rates}
    everybody = np.concatenate([searches.nonmated_person, searches.mated_person])
    for weight in draws(rng, int(everybody.max()) + 1, DRAWS):
        cumulated, of_mated = np.cumsum(weight[person]), weight[searches.mated_person]
        if cumulated[-1] == 0:
            continue
        for rate, (thresholds, tpirs) in found.items():
            cut = weighted_cut(cumulated, rate)
            refused = float(ranked[cut]) if cut < len(ranked) else -1.0
            thresholds.append(min(1.0, max(-1.0, refused)))
            if of_mated.sum():
                hits = searches.right & (searches.mated_score > refused)
                tpirs.append(float(of_mated[hits].sum() / of_mated.sum()))
    return found


def curve(searches: Searches) -> list[CurvePoint]:
    """TPIR and FPIR at every threshold, in steps of 0.005, between no alert about nobody and none at all."""
    if not len(searches.mated_person):
        return []
    found = []
    for threshold in np.arange(-STEP, STEP + 1, STEP // 200) / STEP:
        fpir = share_reaching(searches.nonmated_score, threshold)
        tpir = float(searches.hits(threshold).mean())
        found.append(CurvePoint(threshold=float(threshold), fpir=fpir, tpir=tpir))
        if tpir == 0:
            break
    first = max((i for i, point in enumerate(found) if point.fpir == 1), default=0)
    return found[first:]
