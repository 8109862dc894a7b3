"""The Clopper-Pearson interval, against what its definition says and against published figures."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.safeguards.binomial import beta_cdf, clopper_pearson


def at_most(events: int, trials: int, rate: float) -> float:
    """Probability of at most `events`, summed term by term."""
    return sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(events + 1))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_each_end_leaves_exactly_half_of_the_doubt(counts: tuple[int, int]) -> None:
    events, trials = counts
    interval = clopper_pearson(events, trials, 0.95)
    if events > 0:
        assert 1 - at_most(events - 1, trials, interval.low) == pytest.approx(0.025, rel=1e-6)
    if events < trials:
        assert at_most(events, trials, interval.high) == pytest.approx(0.025, rel=1e-6)
    assert interval.low <= events / trials <= interval.high


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),  # 1 - 0.025^(1/10)
        (10, 10, 0.6915, 1.0),
        (0, 3000, 0.0, 0.001229),
        (5, 1_863_630, 8.7e-7, 6.262e-6),
    ],
)
def test_figures(events: int, trials: int, low: float, high: float) -> None:
    interval = clopper_pearson(events, trials, 0.95)
    assert interval.low == pytest.approx(low, rel=2e-3, abs=1e-12)
    assert interval.high == pytest.approx(high, rel=2e-3)


def test_no_trials_say_nothing() -> None:
    assert clopper_pearson(0, 0, 0.95).low == 0.0
    assert clopper_pearson(0, 0, 0.95).high == 1.0


@pytest.mark.parametrize("bad", [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_refused(bad: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="trials"):
        clopper_pearson(*bad)


@given(st.floats(0.001, 0.999), st.floats(0.5, 500), st.floats(0.5, 500))
def test_the_distribution_is_a_distribution(x: float, a: float, b: float) -> None:
    assert -1e-12 <= beta_cdf(x, a, b) <= 1 + 1e-12
    assert beta_cdf(x, a, b) == pytest.approx(1 - beta_cdf(1 - x, b, a), abs=1e-9)
