"""Thresholds, verification and open-set identification: known answers, and what must always hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from edgeagent.errors import EdgeAgentError
from edgeagent.evaluation.dataset import EvaluationError, Samples
from edgeagent.evaluation.identification import Searches, curve, identify, search
from edgeagent.evaluation.pairs import all_pairs
from edgeagent.evaluation.rates import (
    STEP,
    Scores,
    lowest_threshold,
    needed,
    share_reaching,
    step_above,
    supports,
    weighted_cut,
)
from edgeagent.evaluation.rounds import MOST_ROUNDS, Parts, cast, galleries, main_size, sizes
from edgeagent.evaluation.verification import (
    Compared,
    balanced,
    best_threshold,
    compare,
    det,
    equal_error_rate,
    fold_accuracy,
    verify,
)
from tests.evaluation_people import People, report_of

COSINES = st_np.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1, 1, width=32))
RATES = st.sampled_from([0.5, 0.1, 0.03, 0.01])


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


# --- thresholds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "rate", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 0.1, 0.9001),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 0.19, 0.9001),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 0.2, 0.8001),
        ([0.4, 0.5, 0.5], 1 / 3, 0.5001),  # a tie passes as a whole or not at all
        ([0.4, 0.5, 0.5], 2 / 3, 0.4001),
        ([0.4, 0.5, 0.5], 1.0, -1.0),
        ([0.4], 0.0, 0.4001),
        ([1.0, 1.0], 0.1, 1.0001),
        ([-0.30005], 0.0, -0.3),
    ],
)
def test_lowest_threshold(scores: list[float], rate: float, expected: float) -> None:
    assert lowest_threshold(np.array(scores), rate) == pytest.approx(expected, abs=1e-12)


def test_a_score_at_the_threshold_is_an_alert_as_on_a_unit() -> None:
    assert share_reaching(np.array([0.5, 0.4999, 0.5001]), 0.5) == pytest.approx(2 / 3)


def test_a_float32_score_is_not_moved_by_the_comparison() -> None:
    """0.6 as float32 is a little more than 0.6; as a threshold, 0.6001 must refuse it and 0.6 must not."""
    score = np.array([np.float32(0.6)], np.float64)
    assert score[0] > 0.6
    assert share_reaching(score, 0.6) == 1
    assert lowest_threshold(score, 0.0) == 0.6001


@given(COSINES, RATES)
def test_the_lowest_threshold_is_the_lowest(scores: Scores, rate: float) -> None:
    threshold = lowest_threshold(scores, rate)
    assert share_reaching(scores, threshold) <= rate
    if threshold > -1:
        assert share_reaching(scores, threshold - 1 / STEP) > rate


@given(st.floats(-1, 1))
def test_a_step_above_is_above_by_at_most_a_step(score: float) -> None:
    assert score < step_above(score) <= score + 1 / STEP + 1e-12


@pytest.mark.parametrize(
    ("people", "rate", "shown"),
    [(29, 0.1, False), (30, 0.1, True), (2999, 0.001, False), (3000, 0.001, True)],
)
def test_rule_of_three(people: int, rate: float, shown: bool) -> None:
    assert supports(people, rate) == shown
    assert (people >= needed(rate)) == shown


def test_a_weighted_cut_of_equal_weights_is_the_plain_one() -> None:
    ranked = np.array([0.9, 0.8, 0.7, 0.6])
    assert ranked[weighted_cut(np.cumsum(np.ones(4)), 0.25)] == 0.8
    assert ranked[weighted_cut(np.cumsum(np.array([2.0, 0, 1, 1])), 0.25)] == 0.9


# --- verification -------------------------------------------------------------------------------------------


def compared(mated: list[float], nonmated: list[float]) -> Compared:
    score = np.array(mated + nonmated)
    flags = np.array([True] * len(mated) + [False] * len(nonmated))
    return Compared(score, np.zeros((len(score), 2), np.int64), flags, None)


def test_best_threshold_lies_between_the_scores_that_it_parts() -> None:
    both = compared([0.6, 0.8], [0.1, 0.3])
    threshold = best_threshold(both.score, both.mated)
    assert threshold == pytest.approx(0.45)
    assert balanced(both.score, both.mated, threshold) == 1


def test_balanced_accuracy_weighs_both_kinds_equally() -> None:
    both = compared([0.9, 0.2], [0.1] * 98 + [0.8, 0.7])
    assert balanced(both.score, both.mated, 0.5) == pytest.approx((0.5 + 0.98) / 2)


def test_equal_scores_are_not_parted() -> None:
    both = compared([0.5], [0.5])
    assert balanced(both.score, both.mated, best_threshold(both.score, both.mated)) == 0.5


def test_equal_error_rate_by_hand() -> None:
    assert equal_error_rate(np.array([0.4, 0.6, 0.7, 0.8]), np.array([0.1, 0.2, 0.3, 0.65])) == 0.25


@given(COSINES, COSINES)
def test_det_is_monotone(mated: Scores, nonmated: Scores) -> None:
    points = det(mated, nonmated)
    assert len(points) >= 2
    for lower, higher in pairwise(points):
        assert lower.threshold < higher.threshold
        assert lower.fmr >= higher.fmr
        assert lower.fnmr <= higher.fnmr


@given(COSINES, COSINES)
def test_det_points_are_the_rates_at_their_threshold(mated: Scores, nonmated: Scores) -> None:
    for point in det(mated, nonmated):
        assert point.fmr == pytest.approx(share_reaching(nonmated, point.threshold))
        assert point.fnmr == pytest.approx(1 - share_reaching(mated, point.threshold))


def test_pairs_are_every_pair_once() -> None:
    pairs = all_pairs(People([3, 1, 2]).samples(), rng())
    keys = {(min(a, b), max(a, b)) for a, b in zip(pairs.first, pairs.second, strict=True)}
    assert len(keys) == len(pairs.first) == 15


@pytest.mark.parametrize("most", [1, 5, 11])
def test_a_sample_of_pairs_has_no_repetition_and_no_wrong_kind(most: int) -> None:
    samples = People([3, 1, 2]).samples()
    pairs = all_pairs(samples, rng(), most)
    again = all_pairs(samples, rng(), most)
    same = samples.person[pairs.first] == samples.person[pairs.second]
    assert np.count_nonzero(same) == min(most, 4)
    assert np.count_nonzero(~same) == min(most, 11)
    assert len({(a, b) for a, b in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.first)
    assert (pairs.first == again.first).all()


def test_a_threshold_is_never_chosen_on_people_that_it_is_tried_on() -> None:
    """One person's pairs are poison: if they were among those chosen on, their fold would fare better."""
    samples = People([3] * 40).samples()
    both = compare(samples, all_pairs(samples, rng()))
    clean = fold_accuracy(both, rng())
    assert len(clean) == 10
    poisoned = both.score.copy()
    poisoned[both.mated & (both.people[:, 0] == 0)] = -1.0
    changed = fold_accuracy(Compared(poisoned, both.people, both.mated, None), rng())
    home = int(np.argmax(clean[:, 0] - changed[:, 0]))
    assert changed[home, 1] == clean[home, 1]
    assert changed[home, 0] < clean[home, 0]


def test_folds_of_a_list_are_used() -> None:
    both = compared([0.9, 0.3], [0.1, 0.2])
    folds = Compared(both.score, both.people, both.mated, np.array([0, 1, 0, 1]))
    found = fold_accuracy(folds, rng())
    # Chosen on fold 1: 0.25 parts 0.9 from 0.1. Chosen on fold 0: 0.5 refuses 0.3 and 0.2.
    assert found.tolist() == [[1.0, 0.25], [0.5, 0.5]]


def test_people_told_apart_perfectly() -> None:
    samples = People([2] * 60, noise=0.01).samples()
    pairs = all_pairs(samples, rng())
    found, left_out = verify(compare(samples, pairs), pairs, rng())
    assert found is not None
    assert found.accuracy_mean > 0.99
    assert found.tpr_at_fmr["0.01"] == 1
    assert found.tpr_at_fmr_ci95["0.01"] == (1, 1)
    assert "0.0001" not in found.tpr_at_fmr
    assert left_out == ["TPR at FMR 0.01%: needs 30,000 non-mated pairs, there are 7,080."]


# --- identification -----------------------------------------------------------------------------------------


def searches(mated: list[float], right: list[bool], nonmated: list[float]) -> Searches:
    return Searches(
        size=len(mated),
        rounds=1,
        mated_person=np.arange(len(mated)),
        mated_score=np.array(mated),
        right=np.array(right, bool),
        nonmated_person=np.arange(len(mated), len(mated) + len(nonmated)),
        nonmated_score=np.array(nonmated),
    )


def test_identification_by_hand() -> None:
    """30 others, highest 0.7, 0.6, 0.6, 0.5: at 10 % three may pass, so the lowest threshold is 0.5001."""
    found, floors = identify(
        searches([0.9, 0.5, 0.5001, 0.8], [True, True, True, False], [0.7, 0.6, 0.6, 0.5] + [0.1] * 26), rng()
    )
    assert [one.fpir for one in found] == [0.1]
    (one,) = found
    assert one.threshold == floors[0].threshold == 0.5001
    assert one.fpir_measured == 0.1
    assert one.tpir == 0.5  # 0.9 and, at equality, 0.5001; 0.5 is below and 0.8 is somebody else
    assert one.rank_one == 0.75
    assert one.fpir_ci95[0] < 0.1 < one.fpir_ci95[1]
    assert one.tpir_ci95[0] < 0.5 < one.tpir_ci95[1]


def test_ties_among_others_are_refused_together() -> None:
    found, _ = identify(searches([0.9], [True], [0.6] * 4 + [0.1] * 26), rng())
    assert found[0].threshold == 0.6001
    assert found[0].fpir_measured == 0


def test_search_by_hand() -> None:
    """Three people in three directions; the third is not enrolled and looks most like the second."""
    templates = np.array([(1, 0, 0), (0.8, 0.6, 0), (0, 1, 0), (0, 0.6, 0.8), (0, 0.8, 0.6)], np.float32)
    samples = Samples(
        templates, np.array([0, 0, 1, 1, 2]), np.ones(5, bool), tuple("abcde"), ("one", "two", "three")
    )
    parts = Parts(np.array([0, 2, 4]), np.array([1, 3, 4]), np.array([0, 1]), np.array([2]))
    found = search(samples, parts, 2)
    assert found.rounds == 1
    assert dict(zip(found.mated_person.tolist(), found.mated_score.round(4), strict=True)) == {0: 0.8, 1: 0.6}
    assert found.right.all()
    assert found.nonmated_person.tolist() == [2]
    assert found.nonmated_score.round(4).tolist() == [0.8]
    assert found.hits(0.7).tolist() == [True, False]


@given(
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=1, max_size=30),
    COSINES,
)
def test_tpir_and_fpir_fall_as_the_threshold_rises(mated: list[tuple[float, bool]], others: Scores) -> None:
    points = curve(searches([s for s, _ in mated], [r for _, r in mated], others.tolist()))
    for lower, higher in pairwise(points):
        assert lower.threshold < higher.threshold
        assert lower.tpir >= higher.tpir
        assert lower.fpir >= higher.fpir


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3), st.data())
def test_rounds(pairs: int, single: int, unfit: int, data: st.DataObject) -> None:
    """Every gallery has the size ordered; whom it turns round is inside it once and outside it once."""
    counts = [2] * pairs + [1] * (single + unfit)
    if not counts:
        return
    bad = frozenset(range(sum(counts) - unfit, sum(counts)))
    parts = cast(People(counts, unfit=bad).samples(), rng())
    assert (len(parts.mated), len(parts.fill)) == (pairs, single)
    if parts.most < 1:
        return
    size = data.draw(st.integers(1, parts.most))
    tried = np.array(list(galleries(parts, size)))
    assert (tried.sum(axis=1) == size).all()
    assert len(tried) <= MOST_ROUNDS
    assert not tried[:, parts.enrol < 0].any()
    row = parts.mated if size <= pairs else parts.fill
    if len(tried) < MOST_ROUNDS:
        if size != len(row) + (0 if size <= pairs else pairs):
            assert (~tried[:, row]).any(axis=0).all()
        if size <= pairs:
            assert tried[:, row].any(axis=0).all()
        else:
            assert tried[:, parts.mated].all()


def test_the_enrolled_picture_is_never_the_probe() -> None:
    samples = People([2, 3, 1, 4], unfit=frozenset({0, 3, 4})).samples()
    for seed in range(20):
        parts = cast(samples, np.random.default_rng(seed))
        for person in parts.mated:
            assert parts.enrol[person] != parts.probe[person]
            assert samples.enrolable[parts.enrol[person]]
            assert samples.person[parts.enrol[person]] == samples.person[parts.probe[person]] == person


@pytest.mark.parametrize(
    ("pairs", "single", "expected"),
    [(10, 10, 10), (10, 0, 8), (10, 1, 8), (10, 3, 10), (0, 10, 8), (1, 1, 1), (1, 0, 0), (0, 1, 0)],
)
def test_the_main_gallery_leaves_a_fifth_outside(pairs: int, single: int, expected: int) -> None:
    parts = cast(People([2] * pairs + [1] * single).samples(), rng())
    assert main_size(parts) == expected


def test_gallery_sizes_rise_to_the_largest() -> None:
    parts = cast(People([2] * 300 + [1] * 400).samples(), rng())
    assert sizes(parts, 300) == (100, 300, 500, 686)


# --- the whole report ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_report_and_another_does_not() -> None:
    people = People([2] * 40 + [1] * 60, noise=0.5)
    assert report_of(people) == report_of(people)
    assert report_of(people).identification != report_of(people, seed=8).identification


def test_a_false_positive_rate_without_support_is_refused_and_said() -> None:
    report = report_of(People([2] * 40 + [1] * 60))
    assert {found.fpir for found in report.identification} == {0.1, 0.03}  # 1 % needs 100 people outside
    assert any(
        "FPIR 1 % is not shown for any gallery" in text and "at least 100" in text for text in report.left_out
    )


def test_a_gallery_may_be_ordered_up_to_what_leaves_people_outside() -> None:
    people = People([2] * 40 + [1] * 60)
    assert report_of(people, gallery=60).main_gallery == 60
    with pytest.raises(EvaluationError, match="a gallery of 99 cannot be made of 100 people"):
        report_of(people, gallery=99)


def test_without_mated_pairs_thresholds_are_still_found_and_the_rest_is_said() -> None:
    report = report_of(People([1] * 120))
    assert report.verification is None
    assert report.identification == ()
    assert [(floor.gallery_size, floor.fpir) for floor in report.floors][:2] == [(96, 0.1), (96, 0.03)]
    assert "Verification: there is no mated pair." in report.left_out
    assert any(text.startswith("TPIR: nobody has") for text in report.left_out)


@pytest.mark.parametrize("counts", [[1], [5], [1, 1], [2, 1], [2, 2]], ids=str)
def test_too_few_people_are_a_named_error(counts: list[int]) -> None:
    with pytest.raises(EdgeAgentError, match="gives nothing to measure"):
        report_of(People(counts))


def test_a_label_error_is_listed_and_stays_in() -> None:
    """The last picture of person 0 is really person 1's, and the other way round."""
    people = People([3] * 40, seed=2)
    swapped = people.extracted()
    swapped.templates[[2, 5]] = swapped.templates[[5, 2]]
    people.templates = lambda: swapped.templates  # type: ignore[method-assign]
    errors = report_of(people).label_errors
    low = {(pair.first, pair.second) for pair in errors.two_faces_one_name}
    high = {(pair.first, pair.second) for pair in errors.same_face_two_names}
    assert ("p0000/p0000_0001.jpg", "p0000/p0000_0003.jpg") in low
    assert high & {
        ("p0000/p0000_0003.jpg", "p0001/p0001_0001.jpg"),
        ("p0000/p0000_0003.jpg", "p0001/p0001_0002.jpg"),
        ("p0000/p0000_0001.jpg", "p0001/p0001_0003.jpg"),
        ("p0000/p0000_0002.jpg", "p0001/p0001_0003.jpg"),
    }
    assert all(not {"p0000", "p0001"}.isdisjoint(name[:5] for name in pair) for pair in low)


def test_pictures_unfit_to_enrol_are_probes_only() -> None:
    report = report_of(People([2] * 40 + [1] * 60, unfit=frozenset({0, 1, 2})))
    assert report.failure_to_enrol.failed == 3
    assert report.failure_to_enrol.by_reason == {"blurred": 3}
    assert report.failure_to_acquire.failed == 0
    assert max(found.probes_mated for found in report.identification) == 39
