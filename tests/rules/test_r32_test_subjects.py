"""R32: test subjects are consenting people and are marked as such, and nobody else is."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgeagent.alerts.alert import Circumstances, make_alert
from edgeagent.controlroom.enrolment_csv import read_rows
from edgeagent.errors import EnrolmentError, SafeguardError
from edgeagent.safeguards.categories import APPROVAL_NEEDED, Category, ImageBasis
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.watchlist import body_matches, only_test_subjects
from edgeagent.vision.types import CHIP_SIZE, Chip
from tests.desk import NOW, Desk, entry, terms, test_subject
from tests.test_workshop import TODAY, write_csv


@pytest.mark.parametrize(("category", "basis"), list(product(Category, ImageBasis)))
def test_consent_goes_with_test_subjects_and_with_nobody_else(
    category: Category, basis: ImageBasis, tmp_path: Path
) -> None:
    file = write_csv(tmp_path, [{"category": category, "image_basis": basis}])
    if (category is Category.TEST_SUBJECT) == (basis is ImageBasis.CONSENTED):
        (row,) = read_rows(file)
        enrolled = row.to_entry(TODAY)
        assert (enrolled.category, enrolled.image_basis) == (category, basis)
        return
    with pytest.raises(EnrolmentError, match="R32") as refusal:
        read_rows(file)
    assert f"{file} line 2" in refusal.value.where


@pytest.mark.parametrize(
    ("category", "basis"),
    [(Category.TEST_SUBJECT, entry(1).image_basis), (entry(1).category, ImageBasis.CONSENTED)],
)
def test_a_unit_refuses_a_list_that_mixes_them_up(category: Category, basis: ImageBasis) -> None:
    """Whoever made that list: consent is a test subject's, and nobody else's."""
    false = entry(1, category=category, image_basis=basis)
    with pytest.raises(SafeguardError) as refusal:
        body_matches(terms([false]), (false,))
    assert refusal.value.rule == "R32"
    body_matches(terms([test_subject(1)]), (test_subject(1),))


def test_an_alert_says_that_it_is_of_a_test_subject(desk: Desk) -> None:
    """So that it can be kept out of public counts and counted for the miss rate instead."""
    about = Circumstances(desk.authority(), "ef" * 32, 7, NOW.wall, 41)
    for row, category in ((test_subject(1), Category.TEST_SUBJECT), (entry(1), entry(1).category)):
        chip = Chip(np.full((CHIP_SIZE, CHIP_SIZE, 3), 90, np.uint8))
        alert = make_alert(Hit(0, 0, 0.7, 0.8, 3), row, chip, about, desk.unit, NOW).alert
        assert alert.category is category


def test_a_live_list_may_hold_test_subjects_among_others() -> None:
    """The blue list measures the miss rate of a real deployment; only a bench takes nobody else."""
    assert only_test_subjects(terms([test_subject(1), test_subject(2)]))
    assert not only_test_subjects(terms([test_subject(1), entry(2)]))
    assert Category.TEST_SUBJECT not in APPROVAL_NEEDED
