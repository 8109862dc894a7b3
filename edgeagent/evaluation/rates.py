"""Thresholds and rates of scores. A score *at* the threshold counts as above it, as on a unit.

Scores are compared as float64, since a threshold in a signed authority is one: float32 would move it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeagent.safeguards.binomial import clopper_pearson

STEP = 10_000
"""Thresholds are given in steps of one over this, as people write them."""
CONFIDENCE = 0.95
RULE_OF_THREE = 3
"""No error in n trials still agrees, at 95 %, with a rate of 3/n: a lower rate cannot be told from none."""

Scores = npt.NDArray[np.float64]


def lowest_threshold(scores: Scores, rate: float) -> float:
    """The lowest threshold, in whole steps, that at most a share `rate` of the scores (n,) reaches.

    Raises:
        ValueError: no scores.
    """
    if not len(scores):
        raise ValueError("lowest_threshold: expected scores, got none")
    may_pass = int(rate * len(scores) + 1e-9)
    if may_pass >= len(scores):
        return -1.0
    highest_refused = float(np.partition(scores, len(scores) - 1 - may_pass)[len(scores) - 1 - may_pass])
    return step_above(highest_refused)


def step_above(score: float) -> float:
    """The lowest whole step that is greater than a score."""
    steps = int(np.floor(score * STEP))
    while steps / STEP <= score:
        steps += 1
    return steps / STEP


def share_reaching(scores: Scores, threshold: float) -> float:
    """The share of scores (n,), n ≥ 1, at or above the threshold."""
    return float(np.count_nonzero(scores >= threshold)) / len(scores)


def supports(trials: int, rate: float) -> bool:
    """Whether so many trials can tell a rate from none (rule of three)."""
    return trials * rate >= RULE_OF_THREE - 1e-9


def needed(rate: float) -> int:
    """Trials that `supports` wants."""
    return int(np.ceil(RULE_OF_THREE / rate - 1e-9))


def may_show(trials: int, rate: float) -> bool:
    """Whether one error could be expected: enough to name a threshold, with its interval beside it."""
    return trials * rate >= 1 - 1e-9


def interval(rate: float, trials: int) -> tuple[float, float]:
    """Clopper-Pearson for a rate, 0 to 1, seen in so many independent trials."""
    found = clopper_pearson(min(trials, round(rate * trials)), trials, CONFIDENCE)
    return found.low, found.high


def middle(values: Sequence[float], otherwise: tuple[float, float]) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; `otherwise` if there are none."""
    if not len(values):
        return otherwise
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def draws(rng: np.random.Generator, people: int, number: int) -> list[Scores]:
    """Bootstrap over people: for each draw how often each of them (people,) was drawn."""
    return [
        np.bincount(rng.integers(people, size=people), minlength=people).astype(float) for _ in range(number)
    ]


def weighted_cut(cumulated: Scores, rate: float) -> int:
    """Index of the first of scores, highest first, that a share `rate` of the weight may not reach.

    Args:
        cumulated: (n,) sum of the weights up to each score, highest score first; n ≥ 1.
    """
    return int(np.searchsorted(cumulated, rate * cumulated[-1] * (1 + 1e-12), side="right"))
