"""R32: test subjects are in no public count, and measure the miss rate."""

from __future__ import annotations

import pytest

from edgeagent.controlroom.record.model import DeploymentRecord
from edgeagent.safeguards.categories import Category
from tests.record_log import Story, alert, judged, tally
from tests.test_record import one, returned


def blue(passes: int, alerts: int, wrong: int = 0) -> DeploymentRecord:
    story = Story().begin().up(0)
    for number in range(alerts):
        finding = "confirmed_no_match" if number < wrong else "confirmed_match"
        story.tell(number, alert(number, category=Category.TEST_SUBJECT))
        story.tell(number, judged(number, "engage", finding, test_subject=True))
    return one(story.tell(90, tally(100)).down(99), said=returned(passes=passes, subjects=3))


def test_test_subjects_measure_the_miss_rate_and_are_in_no_public_count() -> None:
    """R32: 8 of 10 passes, interval 44.4 % to 97.5 %."""
    record = blue(10, 8)
    assert record.blue_list.tpir is not None
    assert record.blue_list.tpir.rate == 0.8
    assert record.blue_list.tpir.low == pytest.approx(0.44390, abs=1e-5)
    assert record.blue_list.tpir.high == pytest.approx(0.97479, abs=1e-5)
    assert record.published.alerts.total == 0
    assert record.published.faces_seen == 90
    assert record.published.watchlist_size == 310
    assert "test_subject" not in record.composition.categories
    assert record.decisions.timed == 0
    assert not any(record.series.alerts)


def test_an_alert_of_somebody_else_is_no_hit() -> None:
    record = blue(10, 8, wrong=2)
    assert (record.blue_list.alerts, record.blue_list.false_alerts) == (8, 2)
    assert record.blue_list.tpir is not None
    assert record.blue_list.tpir.rate == 0.6


def test_a_return_that_contradicts_the_log_is_said_and_gives_no_rate() -> None:
    record = blue(3, 8)
    assert record.blue_list.tpir is None
    assert any("8 alerts of test subjects" in each for each in record.contradictions)
    assert any("saw 100 people" in each for each in blue(101, 8).contradictions)
