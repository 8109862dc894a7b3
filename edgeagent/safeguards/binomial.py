"""The Clopper-Pearson interval: what a count of errors says about their rate, exactly.

Used where an error rate decides something: the live false alert rate (R17) and the evaluation behind a
certificate (R28). Written here because the device carries no statistics library; tests compare it with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p

_HALVINGS = 60
_TERMS = 400
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Interval:
    """Lowest and highest rate, 0 to 1, that agree with a count at a confidence."""

    low: float
    high: float


def clopper_pearson(events: int, trials: int, confidence: float) -> Interval:
    """The two-sided interval for the rate behind `events` in `trials`; no trials say nothing: 0 to 1.

    Raises:
        ValueError: counts that cannot be, or a confidence not between 0 and 1.
    """
    if not (0 <= events <= trials and 0 < confidence < 1):
        raise ValueError(f"{events} events in {trials} trials at confidence {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else _rate_where(tail, events, trials - events + 1)
    high = 1.0 if events == trials else _rate_where(1 - tail, events + 1, trials - events)
    return Interval(low, high)


def _rate_where(probability: float, a: float, b: float) -> float:
    """The quantile of the beta distribution, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction converges fast
        return 1 - beta_cdf(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    # Modified Lentz: c and d are ratios of neighbouring numerators and denominators.
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _away_from_zero(1 + step * d)
            c = _away_from_zero(1 + step / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
