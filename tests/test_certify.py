"""What a report supports and what not: arithmetic that can be checked by hand, and properties (R18, R28)."""

from __future__ import annotations

from datetime import timedelta
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.evaluation.certify import Certified, Order, certify, people_needed
from edgeagent.evaluation.certify_groups import errors_of
from edgeagent.evaluation.report_model import CurvePoint, Group, GroupRate, Identification
from edgeagent.evaluation.report_model import Floor as Row
from edgeagent.safeguards.binomial import clopper_pearson
from edgeagent.safeguards.certificate import Certificate, fit_for_live, group_findings, rate_name
from edgeagent.safeguards.profile import MOST_ENTRIES
from tests.desk import START, certificate, floor
from tests.desk import group as result
from tests.evaluation_reports import compared, group, rate, report, row, searched

ORDER = Order(0.001, "pictures of volunteers", True, START, timedelta(days=365))


def certified(fpir: float = 0.001, *, volunteers: bool = True, **changes: Any) -> Certified:
    order = Order(fpir, ORDER.dataset, volunteers, ORDER.issued_at, ORDER.valid)
    return certify(report(**changes).model_dump_json().encode(), order, "report.json")


def floors_of(fpir: float, rows: tuple[Row, ...]) -> dict[int, float]:
    """Thresholds by list size."""
    made = certified(fpir, floors=rows, groups=None).certificate
    return {floor.entries: floor.threshold for floor in made.floors}


# --- arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fpir", "people"),
    # Nobody of n: the interval's upper end is 1 - 0.025^(1/n), so n = ln 0.025 / ln(1 - fpir), rounded up.
    [(0.001, 3688), (0.01, 368), (0.1, 36), (0.5, 6), (0.75, 3)],
)
def test_how_many_people_a_promise_needs(fpir: float, people: int) -> None:
    assert people_needed(fpir) == people
    assert people - 1 < log(0.025) / log(1 - fpir) <= people


def test_with_false_matches_more_people_are_needed() -> None:
    # Upper ends of the Poisson interval: 5.5716 for one event, 11.668 for five; all over n.
    assert people_needed(0.001, 1) == pytest.approx(5572, abs=5)
    assert people_needed(0.001, 5) == pytest.approx(11_668, abs=10)


@pytest.mark.parametrize(
    ("rate", "people", "errors"),
    [(0, 10, 0), (1e-9, 10, 1), (0.1, 10, 1), (0.11, 10, 2), (3 / 1000, 1000, 3), (1, 10, 10), (1 / 3, 3, 1)],
)
def test_a_share_of_searches_is_rounded_up_to_whole_people(rate: float, people: int, errors: int) -> None:
    assert errors_of(rate, people) == errors


ROWS = [
    ("supported", (row(100, 0.5, 0, 3688),), {100: 0.5}),
    ("one person short", (row(100, 0.5, 0, 3687),), None),
    ("one false match is too many", (row(100, 0.5, 1, 3688),), None),
    (
        "the lowest that holds",
        (row(100, 0.5, 9, 4000), row(100, 0.6, 0, 4000), row(100, 0.7, 0, 4000)),
        {100: 0.6},
    ),
    ("measured below, not shown", (row(100, 0.5, 4, 5000),), None),
    ("a longer list is not covered", (row(100, 0.5, 0, 4000), row(1000, 0.6, 9, 4000)), {100: 0.5}),
    ("a floor never falls", (row(100, 0.65, 0, 4000), row(1000, 0.6, 0, 4000)), {100: 0.65, 1000: 0.65}),
    ("order does not matter", (row(1000, 0.6, 0, 4000), row(100, 0.5, 0, 4000)), {100: 0.5, 1000: 0.6}),
    ("a short list may be the unsupported one", (row(100, 0.5, 9, 10), row(1000, 0.6, 0, 4000)), {1000: 0.6}),
    ("nothing reaches it", (row(100, 1.0001, 0, 4000),), None),
    ("longer than any list", (row(50_000, 0.6, 0, 4000),), {MOST_ENTRIES: 0.6}),
    ("no search at all", (), None),
]


@pytest.mark.parametrize(("rows", "thresholds"), [case[1:] for case in ROWS], ids=[case[0] for case in ROWS])
def test_which_floors_a_report_supports(rows: tuple[Row, ...], thresholds: dict[int, float] | None) -> None:
    if thresholds is not None:
        assert floors_of(0.001, rows) == thresholds
        return
    with pytest.raises(SafeguardError, match=r"supports no floor at FPIR 0\.001") as refusal:
        floors_of(0.001, rows)
    assert (refusal.value.rule, refusal.value.where) == ("R18", "report.json")


def test_the_curve_gives_the_floor_of_its_own_gallery_only() -> None:
    points = [CurvePoint(threshold=t, fpir=n / 4000, tpir=0.8 - t / 10) for t, n in ((0.5, 40), (0.65, 0))]
    rows = (row(100, 0.5, 0, 4000), row(1000, 0.6, 4, 4000), row(2000, 0.6, 4, 4000))
    said: dict[str, Any] = {"floors": rows, "groups": None, "identification_curve": tuple(points)}
    made = certified(**said)
    assert [(one.entries, one.threshold, one.tpir) for one in made.certificate.floors] == [
        (100, 0.5, 0.95),
        (1000, 0.65, pytest.approx(0.735)),
    ]
    assert [line.partition(":")[0] for line in made.not_covered] == ["lists of 2000"]
    assert [one.entries for one in certified(**said | {"main_gallery": None}).certificate.floors] == [100]


def test_a_refusal_says_how_many_more_people_are_needed() -> None:
    with pytest.raises(SafeguardError, match=r"688 more are needed \(3,688 in all, with no false positive\)"):
        floors_of(0.001, (row(100, 0.5, 0, 3000),))
    with pytest.raises(SafeguardError, match=r"5 of 5,000 people were falsely matched; .* 11,66\d people"):
        floors_of(0.001, (row(100, 0.5, 5, 5000),))


def test_what_is_not_covered_is_said() -> None:
    made = certified(floors=(row(100, 0.5, 0, 4000), row(1000, 0.6, 0, 1000)), groups=None)
    (line,) = made.not_covered
    assert line.startswith("lists of 1000: 1,000 people were searched for")
    covered = certified(floors=(row(100, 0.5, 9, 4000), row(1000, 0.6, 0, 4000)), groups=None)
    assert covered.not_covered == (), "a shorter list takes the floor of the longer one"


def test_the_tpir_is_the_one_measured_at_the_floor_or_above() -> None:
    rows = tuple(row(100, threshold, 0, 4000) for threshold in (0.5, 0.6, 0.7))

    def tpir(groups_threshold: float, *searches: Identification) -> float | None:
        groups = compared(group("a"), group("b"), threshold=groups_threshold)
        said: dict[str, Any] = {"floors": rows, "identification": searches, "groups": groups}
        return certified(**said).certificate.floors[0].tpir

    both = searched(100, 0.5, 0.95), searched(100, 0.6, 0.9)
    assert tpir(0.5, *both) == 0.95
    assert tpir(0.55, *both) == 0.9  # the floor was raised to 0.55; at 0.5 nobody may search
    assert tpir(0.65, *both) is None
    assert tpir(0.5, searched(200, 0.5, 0.7)) is None


# --- properties ---------------------------------------------------------------------------------------------

ROW = st.integers(1, 20_000).flatmap(
    lambda people: st.builds(
        row,
        st.sampled_from([10, 100, 1000, 5000]),
        st.floats(-1, 1),
        st.integers(0, min(people, 60)),
        st.just(people),
    )
)


@given(rows=st.lists(ROW, min_size=1, max_size=12), fpir=st.floats(1e-4, 0.9))
def test_no_floor_promises_less_than_its_counts_support(rows: list[Row], fpir: float) -> None:
    try:
        made = certified(fpir, floors=tuple(rows), groups=None).certificate
    except SafeguardError:  # R18
        assert all(
            clopper_pearson(errors_of(r.fpir_measured, r.probes_nonmated), r.probes_nonmated, 0.95).high
            > fpir
            for r in rows
        )
        return
    sizes = {r.gallery_size for r in rows}
    for one in made.floors:
        assert one.fpir == fpir
        assert clopper_pearson(one.falsely_matched, one.people, 0.95).high <= fpir
        assert one.entries in sizes, "a list size that nobody searched"
    pairs = list(zip(made.floors, made.floors[1:], strict=False))
    assert all(a.entries < b.entries and a.threshold <= b.threshold for a, b in pairs)


@given(rows=st.lists(ROW, min_size=1, max_size=8), fpir=st.floats(1e-3, 0.4), stricter=st.floats(0.1, 0.99))
def test_a_smaller_promise_never_has_a_lower_floor_nor_covers_more(
    rows: list[Row], fpir: float, stricter: float
) -> None:
    def thresholds(promise: float) -> dict[int, float]:
        try:
            return floors_of(promise, tuple(rows))
        except SafeguardError:
            return {}

    loose, strict = thresholds(fpir), thresholds(fpir * stricter)
    assert set(strict) <= set(loose)
    # A size that the strict one drops no longer raises those above it; what is left of it is not lower.
    if set(strict) == set(loose):
        assert all(strict[size] >= loose[size] for size in strict)


@given(errors=st.integers(0, 50), people=st.integers(1, 20_000), fpir=st.floats(1e-4, 0.9))
def test_nobody_can_sign_a_promise_that_its_counts_do_not_support(
    errors: int, people: int, fpir: float
) -> None:
    """Not even by hand: the document itself refuses."""
    one = floor(100, 0.5, fpir, people=people, falsely_matched=errors)
    supported = errors <= people and clopper_pearson(errors, people, 0.95).high <= fpir
    try:
        certificate(floors=(one,), groups_tested=(), groups_threshold=None)
    except ValidationError:
        assert not supported
    else:
        assert supported


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expires_at": START - timedelta(days=30)}, "expires before it is issued"),
        ({"floors": (floor(100, 0.6), floor(100, 0.7))}, "do not rise"),
        ({"floors": (floor(100, 0.6), floor(200, 0.5))}, "do not rise"),
        ({"floors": (floor(200, 0.5), floor(100, 0.6))}, "do not rise"),
        ({"floors": (floor(100, 0.6, people=1000),)}, "floor for 100 entries promises more"),
        ({"floors": (floor(100, 0.6, people=5, falsely_matched=6),)}, "promises more"),
        ({"confidence": 0.9}, "confidence"),
        ({"groups_threshold": None}, "at which threshold groups were compared"),
        ({"groups_fpir": None}, "at which threshold groups were compared"),
        ({"groups_threshold": 0.51}, "compared at a threshold above a floor"),
        ({"groups_tested": (result("a"), result("a"))}, "a group counts twice"),
        ({"groups_tested": (result("a"), result("b", people=367))}, "too few people to count as tested"),
        ({"groups_fpir": 0.1}, "too common to tell them apart"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_none(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        certificate(**changes)


# --- groups -------------------------------------------------------------------------------------------------


def labels(made: Certificate) -> list[str]:
    return [one.label for one in made.groups_tested]


def test_groups_without_a_difference_are_fit_for_live_use() -> None:
    made = certified().certificate
    assert labels(made) == ["group a", "group b"]
    fit_for_live(made)
    assert group_findings(made) == (
        "no significant difference found, at threshold 0.5: group a, group b",
        "failure to acquire (pictures with no face to compare): all 0.0%; group a 0.0%; group b 0.0%",
    )


def hits(label: str, tpir: GroupRate | None) -> Group:
    """A group whose hits were measured on other people than its false matches, or on nobody."""
    return group(label).model_copy(update={"tpir": tpir})


GROUPS = [
    # Compared where everybody's FPIR is 0.001: 368 people of a group with no false match rule out 0.01.
    ("enough", (group("a", 368), group("b")), ["a", "b"]),
    ("one person short", (group("a", 367), group("b")), ["b"]),
    ("one false match too many", (group("a", 368, errors=1), group("b")), ["b"]),
    ("the report found too few", (group("a", enough=False), group("b"), group("c")), ["b", "c"]),
    ("nobody searched for", (group("a", fpir=None), group("b")), ["b"]),
    ("nobody's hits were measured", (hits("a", None), group("b")), ["b"]),
    ("few people's hits were measured", (hits("a", rate(29, 29)), group("b")), ["b"]),
    ("enough people's hits were measured", (hits("a", rate(30, 30)), group("b")), ["a", "b"]),
    ("nothing says how often a face was missed", (group("a", failure_to_acquire=None), group("b")), ["b"]),
    ("alone", (group("a"),), []),
    ("none", (), []),
]


@pytest.mark.parametrize(
    ("groups", "tested"), [case[1:] for case in GROUPS], ids=[case[0] for case in GROUPS]
)
def test_which_groups_count_as_tested(groups: tuple[Group, ...], tested: list[str]) -> None:
    made = certified(groups=compared(*groups)).certificate
    assert labels(made) == tested
    assert sorted([*tested, *made.groups_too_small]) == sorted(one.label for one in groups)


@pytest.mark.parametrize("missing", ["failure_to_acquire", "tpir", "fpir"])
def test_a_group_that_no_test_compared_was_not_tested(missing: str) -> None:
    both = compared(group("a"), group("b"))
    without = both.model_copy(update={"tests": tuple(test for test in both.tests if test.rate != missing)})
    made = certified(groups=without).certificate
    assert labels(made) == []
    with pytest.raises(SafeguardError, match="no group of volunteers was tested"):
        fit_for_live(made)


@pytest.mark.parametrize(
    ("which", "worst"),
    # Most falsely matched; least often found; most often not seen at all.
    [("fpir", "b"), ("tpir", "a"), ("failure_to_acquire", "b")],
)
def test_a_significant_difference_is_carried_and_forbids_live_use(which: str, worst: str) -> None:
    groups = compared(
        group("a", 2000, tpir=0.7),
        group("b", 2000, errors=8, failure_to_acquire=rate(400, 2000)),
        significant=(which,),
    )
    made = certified(groups=groups).certificate
    (difference,) = made.differences
    assert (difference.rate, difference.worst, difference.p_value) == (which, worst, 0.002)
    assert any(line.startswith("SIGNIFICANT DIFFERENCE") and worst in line for line in group_findings(made))
    assert not any("no significant" in line for line in group_findings(made))
    with pytest.raises(SafeguardError, match=f"{rate_name(which)} differs between groups") as refusal:
        fit_for_live(made)
    assert refusal.value.rule == "R28"


def test_no_floor_is_below_the_threshold_at_which_groups_were_compared() -> None:
    made = certified(groups=compared(group("a"), group("b"), threshold=0.55)).certificate
    assert [one.threshold for one in made.floors] == [0.55, 0.6]


@pytest.mark.parametrize(("fpir", "tested"), [(0.03, ["a", "b"]), (0.0301, []), (0.1, []), (0.4, [])])
def test_groups_compared_where_false_matches_are_common_were_not_compared(
    fpir: float, tested: list[str]
) -> None:
    """Ten times 10 % is everybody: numbers of any size would rule that out."""
    groups = compared(group("a"), group("b")).model_copy(update={"fpir": fpir})
    assert labels(certified(groups=groups).certificate) == tested


def test_what_was_left_out_by_hand_is_carried() -> None:
    made = certified(excluded=("anna/1.jpg", "anna/2.jpg", "bert/1.jpg"), seed=7).certificate
    assert (made.excluded.pictures, made.excluded.people, made.seed) == (3, 2, 7)


def test_groups_compared_where_nothing_matches_were_not_compared() -> None:
    made = certified(groups=compared(group("a"), group("b"), threshold=1.0001)).certificate
    assert (labels(made), made.groups_threshold, made.floors[0].threshold) == ([], None, 0.5)


def test_without_the_evaluators_word_there_were_no_volunteers() -> None:
    made = certified(volunteers=False).certificate
    with pytest.raises(SafeguardError, match="not attested as volunteers") as refusal:
        fit_for_live(made)
    assert refusal.value.rule == "R28"
    assert "people NOT attested as volunteers: not for live use" in group_findings(made)


def test_a_report_with_a_field_too_many_is_none() -> None:
    text = report().model_dump_json().replace('"seed":', '"score": 1, "seed":').encode()
    with pytest.raises(DocumentError, match=r"report\.json: field score") as refusal:
        certify(text, ORDER, "report.json")
    assert refusal.value.next_step


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"dataset": report().dataset.model_copy(update={"people_used": 0})},
            "people: Input should be greater",
        ),
        ({"groups": compared(group("a"), group("b"), *[group(f"g{n}") for n in range(70)])}, "groups_tested"),
    ],
)
def test_a_report_that_cannot_be_certified_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DocumentError, match=f"makes no certificate: {says}") as refusal:
        certified(**changes)
    assert refusal.value.where == "report.json"


def test_counts_beyond_reason_are_no_more_than_reason_allows() -> None:
    made = certified(floors=(row(100, 0.5, 0, 4000, probes_nonmated=10**300),), groups=None).certificate
    assert made.floors[0].people == 10_000_000
