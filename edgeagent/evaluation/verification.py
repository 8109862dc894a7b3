"""One picture against one other: FMR, FNMR, the DET curve, and the accuracy over folds of people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeagent.evaluation.dataset import Index, Samples
from edgeagent.evaluation.pairs import Pairs, scores_of
from edgeagent.evaluation.rates import (
    Scores,
    draws,
    lowest_threshold,
    middle,
    needed,
    share_reaching,
    supports,
    weighted_cut,
)
from edgeagent.evaluation.report_model import DetPoint, Histogram, Verification

FALSE_MATCH_RATES = ("0.01", "0.001", "0.0001")
FOLDS = 10
LEAST_FOLDS = 2
DRAWS = 200
GRID_STEP = 0.005
GRID = np.round(np.arange(-1, 1.0001, GRID_STEP), 3)
BINS = 100


@dataclass(frozen=True, slots=True)
class Compared:
    """Scores of pairs, and of whom they are.

    Attributes:
        score: (n,) cosine.
        people: (n, 2) whose pictures were compared.
        mated: (n,) bool, whether they are one person's.
        fold: (n,) fold that a list puts the pair in, or None.
    """

    score: Scores
    people: Index
    mated: npt.NDArray[np.bool_]
    fold: Index | None


def compare(samples: Samples, pairs: Pairs) -> Compared:
    """Score every pair."""
    people = np.stack([samples.person[pairs.first], samples.person[pairs.second]], axis=1)
    return Compared(scores_of(samples, pairs), people, people[:, 0] == people[:, 1], pairs.fold)


def verify(
    compared: Compared, pairs: Pairs, rng: np.random.Generator
) -> tuple[Verification | None, list[str]]:
    """Every figure of verification, and what could not be said and why."""
    mated, nonmated = compared.score[compared.mated], compared.score[~compared.mated]
    if not (len(mated) and len(nonmated)):
        kind = "non-mated" if len(mated) else "mated"
        return None, [f"Verification: there is no {kind} pair."]
    accuracy = fold_accuracy(compared, rng)
    if len(accuracy) < LEAST_FOLDS:
        return None, ["Verification: too few people to choose a threshold on some and to measure on others."]
    rates = [rate for rate in FALSE_MATCH_RATES if supports(len(nonmated), float(rate))]
    threshold = {rate: lowest_threshold(nonmated, float(rate)) for rate in rates}
    tpr = {rate: share_reaching(mated, threshold[rate]) for rate in rates}
    return Verification(
        protocol=pairs.protocol,
        mated=len(mated),
        nonmated=len(nonmated),
        pairs_left_out=pairs.left_out,
        people=len(np.unique(compared.people)),
        folds=len(accuracy),
        accuracy_mean=float(accuracy[:, 0].mean()),
        accuracy_sd=float(accuracy[:, 0].std(ddof=1)),
        threshold_mean=float(accuracy[:, 1].mean()),
        equal_error_rate=equal_error_rate(mated, nonmated),
        tpr_at_fmr=tpr,
        tpr_at_fmr_ci95=_bootstrap(compared, tpr, rng),
        threshold_at_fmr=threshold,
        det=det(mated, nonmated),
        histogram=Histogram(mated=_histogram(mated), nonmated=_histogram(nonmated)),
    ), [
        f"TPR at FMR {float(rate):.2%}: needs {needed(float(rate)):,} non-mated pairs, there are "
        f"{len(nonmated):,}."
        for rate in FALSE_MATCH_RATES
        if rate not in rates
    ]


def fold_accuracy(compared: Compared, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(folds, 2) accuracy on each fold and the threshold that was best on the others.

    A list's own folds are used if it has any. Else people are dealt out to folds: a pair belongs to the fold
    of its first person, and a threshold is chosen on pairs with nobody of the fold among them. Folds without
    a pair of either kind, inside or outside, say nothing and are not counted: of fewer than three people
    there is none.
    """
    if compared.fold is not None:
        inside = [compared.fold == fold for fold in np.unique(compared.fold)]
        outside = [~pairs for pairs in inside]
    else:
        present = np.unique(compared.people)
        fold = np.empty(int(present.max()) + 1, np.int64)
        fold[present] = rng.permutation(len(present)) % min(FOLDS, len(present))
        of = fold[compared.people]
        inside = [of[:, 0] == number for number in range(FOLDS)]
        outside = [(of != number).all(axis=1) for number in range(FOLDS)]
    found = []
    for test, train in zip(inside, outside, strict=True):
        if all(_both_kinds(compared.mated[part]) for part in (test, train)):
            threshold = best_threshold(compared.score[train], compared.mated[train])
            found.append((balanced(compared.score[test], compared.mated[test], threshold), threshold))
    return np.array(found)


def _both_kinds(mated: npt.NDArray[np.bool_]) -> bool:
    return bool(mated.any() and not mated.all())


def balanced(score: Scores, mated: npt.NDArray[np.bool_], threshold: float) -> float:
    """Mean of true match rate and true non-match rate, which weighs both kinds of pairs equally."""
    return (share_reaching(score[mated], threshold) + 1 - share_reaching(score[~mated], threshold)) / 2


def best_threshold(score: Scores, mated: npt.NDArray[np.bool_]) -> float:
    """The threshold with the best balanced accuracy; of several, the middle one."""
    order = np.argsort(-score, kind="stable")
    ranked, of_one = score[order], mated[order]
    gain = np.cumsum(of_one) / mated.sum() - np.cumsum(~of_one) / (~mated).sum()
    gain[:-1][ranked[:-1] == ranked[1:]] = -np.inf  # a threshold cannot part equal scores
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    at = best[len(best) // 2]
    below = ranked[at + 1] if at + 1 < len(ranked) else ranked[at]
    return float((ranked[at] + below) / 2)


def equal_error_rate(mated: Scores, nonmated: Scores) -> float:
    """The mean of FMR and FNMR at the threshold where they differ least."""
    thresholds = np.unique(np.concatenate([mated, nonmated]))
    fnmr = np.searchsorted(np.sort(mated), thresholds, side="left") / len(mated)
    fmr = 1 - np.searchsorted(np.sort(nonmated), thresholds, side="left") / len(nonmated)
    at = int(np.argmin(np.abs(fmr - fnmr)))
    return float(fmr[at] + fnmr[at]) / 2


def det(mated: Scores, nonmated: Scores) -> tuple[DetPoint, ...]:
    """Both error rates over a grid of thresholds that spans the scores."""
    lowest = min(mated.min(), nonmated.min()) - GRID_STEP
    highest = max(mated.max(), nonmated.max()) + GRID_STEP
    grid = GRID[(lowest <= GRID) & (highest >= GRID)]
    fnmr = np.searchsorted(np.sort(mated), grid, side="left") / len(mated)
    fmr = 1 - np.searchsorted(np.sort(nonmated), grid, side="left") / len(nonmated)
    return tuple(
        DetPoint(threshold=float(t), fmr=float(a), fnmr=float(b))
        for t, a, b in zip(grid, fmr, fnmr, strict=True)
    )


def _histogram(scores: Scores) -> tuple[float, ...]:
    counts, _ = np.histogram(np.clip(scores, -1, 1), bins=BINS, range=(-1, 1))
    return tuple(float(share) for share in counts / len(scores))


def _bootstrap(
    compared: Compared, tpr: dict[str, float], rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Intervals of the true match rates over people; a pair counts as often as both its people were drawn."""
    present, numbered = np.unique(compared.people, return_inverse=True)
    people = numbered.reshape(compared.people.shape)
    order = np.argsort(-compared.score[~compared.mated], kind="stable")
    nonmated, pair = compared.score[~compared.mated][order], people[~compared.mated][order]
    mated, person = compared.score[compared.mated], people[compared.mated][:, 0]
    found: dict[str, list[float]] = {rate: [] for rate in tpr}
    for weight in draws(rng, len(present), DRAWS):
        cumulated, of_mated = np.cumsum(weight[pair[:, 0]] * weight[pair[:, 1]]), weight[person]
        if cumulated[-1] == 0 or of_mated.sum() == 0:
            continue
        for rate, values in found.items():
            cut = weighted_cut(cumulated, float(rate))
            passes = mated > nonmated[cut] if cut < len(nonmated) else np.ones(len(mated), bool)
            values.append(float(of_mated[passes].sum() / of_mated.sum()))
    return {rate: middle(values, (0.0, 1.0)) for rate, values in found.items()}
