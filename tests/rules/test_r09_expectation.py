"""R9: before signing, the expected false alerts are told as certified, or that nobody knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.controlroom.list_page import PASSERS_BY, false_alerts
from edgeagent.errors import SafeguardError
from edgeagent.safeguards.certificate import threshold_allowed
from edgeagent.safeguards.watchlist import expected_false_alerts
from tests.desk import Desk, certificate, floor, profile

FLOORS = (floor(100, 0.50, 2e-4), floor(1000, 0.60, 1e-3), floor(2000, 0.62, 5e-4))

CASES = [
    # entries, threshold, most of 10,000
    (100, 0.50, 2.0),
    (1, 0.50, 2.0),  # not scaled down: FPIR of a list of one is not a hundredth for certain
    (100, 0.49, None),
    (100, 0.62, 2.0),
    (101, 0.50, None),
    (101, 0.5999, None),
    (101, 0.60, 10.0),
    (1000, 0.61, 10.0),
    (1000, 0.62, 5.0),  # what holds for a longer list holds for a shorter one
    (1001, 0.61, None),
    (1001, 0.62, 5.0),
    (2000, 0.99, 5.0),
    (2001, 0.99, None),
]


@pytest.mark.parametrize(("entries", "threshold", "most"), CASES)
def test_the_bound_is_the_certificates(entries: int, threshold: float, most: float | None) -> None:
    found = expected_false_alerts(
        certificate(floors=FLOORS), entries=entries, threshold=threshold, passers_by=10_000
    )
    assert found == (None if most is None else pytest.approx(most))


@given(st.integers(1, 2500), st.floats(0.4, 0.9))
def test_there_is_a_figure_exactly_where_the_threshold_is_allowed(entries: int, threshold: float) -> None:
    given_by = certificate(floors=FLOORS)
    found = expected_false_alerts(given_by, entries=entries, threshold=threshold, passers_by=10_000)
    try:
        threshold_allowed(Desk().authority(threshold=threshold), given_by, profile(), entries=entries)
    except SafeguardError:
        assert found is None
    else:
        assert found is not None
        assert 0 < found < 10_000


@given(st.integers(1, 2000), st.integers(1, 2000), st.floats(0.64, 0.9), st.floats(0.64, 0.9))
def test_a_shorter_list_or_higher_threshold_never_gives_more(a: int, b: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    shorter, longer = sorted((a, b))

    def bound(entries: int, threshold: float) -> float:
        said = certificate(floors=FLOORS)
        found = expected_false_alerts(said, entries=entries, threshold=threshold, passers_by=1)
        assert found is not None
        return found

    assert bound(shorter, high) <= bound(longer, low)


@pytest.mark.parametrize(
    ("known", "threshold", "says"),
    [
        (False, 0.64, "unknown: no evaluation certificate was given"),
        (False, None, "unknown: no evaluation certificate was given"),
        (True, None, "unknown: no threshold was given"),
        (True, 0.3, "unknown: the certificate covers no list of 500 entries at threshold 0.3"),
        (True, 0.64, "at most 5 for each 10,000 people who pass"),
    ],
)
def test_without_a_certificate_there_is_no_figure(known: bool, threshold: float | None, says: str) -> None:
    told = false_alerts(certificate(floors=FLOORS) if known else None, threshold, 500)
    assert says in told.text
    assert (told.most is None) == told.text.startswith("unknown")
    assert PASSERS_BY == 10_000
