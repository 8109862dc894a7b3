"""The published record: figures reckoned by hand; text, table and JSON of an evening as golden files.

python -m tests.test_record   writes the golden files anew
"""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, timedelta
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edgeagent.audit.events import AlertsGone, RateReviewed, RateSuspended, Refused, Stopped
from edgeagent.controlroom.record.build import build
from edgeagent.controlroom.record.disclosure import WITHHELD_BELOW, withhold
from edgeagent.controlroom.record.model import DeploymentRecord, Record
from edgeagent.controlroom.record.page import render
from edgeagent.controlroom.record.table import to_csv
from edgeagent.controlroom.record.times import Span, overlaid
from edgeagent.controlroom.record.verdicts import nearest_rank
from edgeagent.documents.deployment_return import DeploymentReturn
from edgeagent.documents.keys import Role
from edgeagent.documents.schemas import DIALECT
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.gate import State
from tests.desk import DEPLOYMENT, END, OTHER_UNIT
from tests.record_log import (
    OFFICER,
    SHUT,
    Story,
    alert,
    camera,
    evening,
    gate,
    judged,
    loaded,
    moment,
    started,
    tally,
)

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path(__file__).parents[1] / "docs" / "record.schema.json"


def returned(**changes: Any) -> DeploymentReturn:
    said: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "issued_at": END,
        "subjects": 6,
        "passes": 6,
        "officer_hours": None,
    }
    return DeploymentReturn(**(said | changes))


def one(*stories: Story, said: DeploymentReturn | None = None) -> DeploymentRecord:
    """The record of the only deployment."""
    (record,) = build([story.log() for story in stories], [said] if said else []).deployments
    return record


class Text(HTMLParser):
    """The page's words, line by line, without its drawings; and everything that could fetch or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.outside: list[str] = []
        self.ids: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("svg", "style")
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if tag in ("script", "link", "iframe", "img") or name.startswith("on"):
                self.outside.append(tag)
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {value}")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("svg", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.lines.append(data.strip())


def golden() -> dict[str, str]:
    """Name and content of each golden file."""
    record = build([evening().log()], [returned()])
    return {
        "record.txt": "\n".join(Text(render(record, UTC)).lines) + "\n",
        "record.csv": to_csv(record),
        "record.json": record.model_dump_json(indent=1) + "\n",
    }


def record_schema() -> str:
    """JSON Schema of `record.json`, as docs/ has it."""
    head = {"$schema": DIALECT, "$id": "urn:edgeagent:schema:edgeagent-record:1"}
    return json.dumps(head | Record.model_json_schema(), indent=1) + "\n"


def test_the_records_schema_is_up_to_date_and_fits() -> None:
    assert SCHEMA.read_text() == record_schema(), "run: python -m tests.test_record"
    Draft202012Validator(json.loads(record_schema())).validate(json.loads(golden()["record.json"]))


# --- figures by hand ----------------------------------------------------------------------------------------


def test_every_alert_is_in_one_cell_and_the_rate_is_false_ones_of_people() -> None:
    """2 true and confirmed, 1 not found; 1 wrong by an officer, 2 unasked; 1 undecided, 1 never judged."""
    words = [
        ("engage", "confirmed_match", "arrest"),
        ("engage", "confirmed_match", "other_disposal"),
        ("engage", "not_found", "no_action"),
        ("engage", "confirmed_no_match", "no_action"),
        ("reject", "not_engaged", "no_action"),
        ("engage", "not_engaged", "no_action"),
        ("no_decision", "not_engaged", ""),
    ]
    story = Story().begin().up(0)
    for number, (operator, officer, outcome) in enumerate(words):
        story.tell(number * 10, alert(number), judged(number, operator, officer, outcome))
    story.tell(90, alert(99), tally(1000)).down(100)
    said = one(story).published
    assert said.alerts.model_dump() == {
        "true_confirmed": 2,
        "true_unconfirmed": 1,
        "false_confirmed": 1,
        "false_unconfirmed": 2,
        "undecided": 1,
        "not_judged": 1,
    }
    assert (said.arrests, said.other_disposals, said.no_action) == (1, 1, 5)
    assert said.false_alert_rate is not None
    assert said.false_alert_rate.rate == 3 / 1000
    assert said.false_alert_rate_at_most is not None
    assert said.false_alert_rate_at_most.rate == 5 / 1000
    assert said.false_alert_rate.low == pytest.approx(0.000619, abs=1e-6)  # tables of Clopper and Pearson
    assert said.false_alert_rate.high == pytest.approx(0.008742, abs=1e-6)


def test_the_last_judgement_counts() -> None:
    story = Story().begin().up(0).tell(5, alert(1), judged(1, "no_decision", "not_engaged"))
    story.tell(9, judged(1, "engage", "confirmed_match", "arrest")).down(20)
    assert one(story).published.alerts.true_confirmed == 1


def test_no_faces_and_no_alerts() -> None:
    record = one(Story().begin().up(0).tell(50, tally(0)).down(100).tell(110, Stopped()))
    said = record.published
    assert (said.faces_seen, said.alerts.total, said.false_alert_rate) == (0, 0, None)
    assert (record.decisions.median_s, record.decisions.p95_s) == (None, None)
    page = render(build([Story().begin().up(0).down(100).log()], []), UTC)
    assert "There were no alerts." in page
    assert "not known" in page


def test_a_camera_that_never_opened() -> None:
    record = one(Story().begin().tell(5, Stopped()))
    assert (record.camera, record.published.first_opened, record.officer_hours) == ((), None, 0)
    assert record.published.date == "2031-05-06"
    page = render(build([Story().begin().log()], []), UTC)
    assert "the camera was never open" in page


def test_officer_hours_and_open_time() -> None:
    """4 officers for 30 min and 2 for 60 min: 4 h. Open: 90 min."""
    story = Story().begin().up(0, officers=4).down(1800, 12.5)
    story.up(3600, officers=2).down(7200, 40.0)
    record = one(story)
    assert record.officer_hours == pytest.approx(4.0)
    assert record.published.camera_open_s == 5400
    assert [period.seconds for period in record.camera] == [1800, 3600]
    assert record.longest_lapse_to_closed_ms == 40.0
    assert record.published.first_opened == moment(0)
    assert record.published.last_closed == moment(7200)
    assert one(story, said=returned(officer_hours=9.5)).officer_hours == 9.5


def test_two_units_of_one_deployment_share_officers_but_not_faces() -> None:
    """The same 4 officers held both cameras for an hour, of which 30 min together: 1.5 h × 4."""
    first = Story().begin().up(0).tell(3000, alert(1), tally(100, 700)).down(3600).tell(3700, Stopped())
    second = Story(unit=OTHER_UNIT).begin().up(1800).tell(5000, tally(50, 300)).down(5400)
    record = one(first, second)
    assert record.units == ("unit-1", "unit-2")
    assert record.published.faces_seen == 150
    assert record.published.camera_open_s == 5400
    assert record.officer_hours == pytest.approx(6.0)
    assert record.faces.detected == 1000
    assert len(record.logs) == 2


def test_a_restart_in_the_middle_loses_no_count() -> None:
    """Counts begin anew with a start; what is judged after it belongs to the alert before it."""
    story = Story().begin().up(0).tell(100, alert(1), tally(70, 500))
    story.begin(400, boot=2).up(420).tell(500, judged(1, "engage", "confirmed_match", "arrest"))
    story.tell(510, tally(30, 200)).down(600).tell(610, Stopped())
    record = one(story)
    assert record.published.faces_seen == 100
    assert record.faces.detected == 700
    assert record.published.arrests == 1
    (gap,) = record.gaps
    assert (gap.last_word, gap.back, gap.camera_was_open) == (moment(100), moment(400), True)
    assert [(period.seconds, period.ended) for period in record.camera] == [(100, "unknown"), (180, "closed")]


def test_a_review_after_a_restart_is_of_the_suspension_before_it() -> None:
    """R17; another unit's review is not."""
    tripped = RateSuspended(false_alerts=6, passed=900, bound=0.002, limit=0.001)
    review = RateReviewed(signers=(OFFICER,))
    story = Story().begin().up(0).tell(60, tally(900), tripped).down(61).tell(70, Stopped())
    story.begin(100, boot=2).tell(200, review).up(210).down(270).tell(280, Stopped())
    other = Story(unit=OTHER_UNIT).begin().up(0).tell(60, tripped).down(61).tell(70, Stopped())
    first, second = one(story, other).suspensions
    assert (first.unit, first.at, first.reviewed_at) == (story.unit, moment(60), moment(200))
    assert first.reviewed_by == (Role.AUTHORISING_OFFICER,)
    assert (second.unit, second.reviewed_at) == (OTHER_UNIT, None)


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        (["High Street", "Low Street", "High Street"], "High Street; Low Street"),
        (["a" * 200, "b" * 200, "c" * 200], "a" * 200 + "; and 2 more"),
        (["a" * 100, "b" * 200, "c" * 200], "a" * 100 + "; " + "b" * 200 + "; and 1 more"),
    ],
)
def test_a_deployment_at_several_places_names_them_or_says_how_many(sites: list[str], said: str) -> None:
    story = Story()
    for number, site in enumerate(sites):
        story.begin(number * 100, boot=number + 1, site=site).up(number * 100 + 5).down(number * 100 + 50)
        story.tell(number * 100 + 60, Stopped())
    assert one(story).published.location == said


def test_an_orderly_restart_is_no_gap() -> None:
    story = Story().begin().up(0).tell(50, tally(5)).down(60).tell(61, Stopped())
    story.begin(100, boot=2).up(110).tell(150, tally(5)).down(160).tell(161, Stopped())
    record = one(story)
    assert record.gaps == ()
    assert record.published.faces_seen == 10


def test_a_log_that_breaks_off_while_the_camera_is_open() -> None:
    record = one(Story().begin().up(0).tell(300, tally(40)))
    (gap,) = record.gaps
    assert (gap.back, gap.camera_was_open) == (None, True)
    assert record.camera[0].ended == "unknown"
    assert any("last word" in each for each in record.not_known)


def test_after_the_close_a_power_cut_is_no_gap() -> None:
    story = Story().begin().up(0).down(100, after=State.CLOSED)
    story.tell(101, gate(State.LIVE, State.CLOSED))
    assert one(story).gaps == ()


def test_two_deployments_in_one_log_keep_their_counts_apart() -> None:
    """The second begins in the same start of the daemon, whose tally goes on."""
    story = Story().tell(-100, Refused(what="x", rule="R6")).begin().up(0)
    story.tell(50, alert(1), tally(40, 300)).down(60).tell(70, gate(State.STANDBY, State.CLOSED))
    story.tell(80, Refused(what="y", rule="R14"))
    story.tell(100, loaded(deployment="second-one", start=moment(100))).up(110)
    story.tell(150, alert(2), tally(100, 800), AlertsGone(how="expired", count=1)).down(160)
    story.tell(170, judged(1, "engage", "confirmed_match", "arrest"), Stopped())
    first, second = build([story.log()], []).deployments
    assert (first.published.faces_seen, second.published.faces_seen) == (40, 60)
    assert (first.faces.detected, second.faces.detected) == (300, 500)
    assert (first.published.arrests, second.published.arrests) == (1, 0)
    assert (first.published.alerts.total, second.published.alerts.not_judged) == (1, 1)
    assert (first.undelivered_alerts, second.undelivered_alerts) == (0, 1)
    assert first.refused == {"R6": 1, "R14": 1}


def test_a_clock_that_nobody_vouched_for_changes_no_length_and_is_said() -> None:
    story = Story(clock_trusted=False).begin().up(0).tell(50, tally(5)).down(60)
    record = one(story)
    assert record.published.camera_open_s == 60
    assert not record.camera[0].clock_trusted
    assert any("vouched" in each for each in record.not_known)


def test_an_unbalanced_ledger_is_said_even_if_it_balances_later() -> None:
    """R1."""
    story = Story().begin().up(0).tell(10, tally(5, 50, deleted=49)).tell(20, tally(6, 60)).down(30)
    record = one(story)
    assert not record.faces.balanced
    assert any("R1" in each for each in record.contradictions)
    assert "were deleted." not in render(build([story.log()], []), UTC)
    assert "were deleted." in render(build([evening().log()], []), UTC)


def test_refusals_that_were_only_counted_are_counted() -> None:
    story = Story().begin().tell(1, Refused(what="x", rule="R6", unwritten=40), Refused(what="y", rule=""))
    assert one(story).refused == {"R6": 1, "no rule": 1, "rule not noted": 40}


# --- test subjects, bench -----------------------------------------------------------------------------------


def bench(**changes: Any) -> Story:
    said: dict[str, Any] = {"kind": Kind.BENCH, "counts": {Category.TEST_SUBJECT: 3}, "under_18": 0}
    story = Story(unit=OTHER_UNIT).begin(**(said | changes)).up(0)
    return story.tell(9, alert(1, category=Category.TEST_SUBJECT), tally(30)).down(60).tell(61, Stopped())


def test_a_benchs_record_cannot_pass_for_a_live_one() -> None:
    """R33: in each form, and wherever it is cut."""
    test_record = build([bench().log()], [])
    assert (test_record.test, test_record.format) == (True, "edgeagent-record-of-a-test/1")
    live = set(next(csv.reader(io.StringIO(to_csv(build([evening().log()], []))))))
    header, row = csv.reader(io.StringIO(to_csv(test_record)))
    assert not live & set(header)
    assert row[0] == "TEST, NOT A DEPLOYMENT"
    page = render(test_record, UTC)
    heads = re.findall(r"<h[12]>([^<]*)", page)
    assert len(heads) > 6
    assert all(head.startswith("TEST · ") for head in heads)
    assert "<title>TEST: " in page
    assert "TEST" not in render(build([evening().log()], []), UTC)


@pytest.mark.parametrize("name", ["a-bench", DEPLOYMENT])
def test_bench_and_live_are_never_in_one_record(name: str) -> None:
    with pytest.raises(SafeguardError, match=r"cannot be in one record|a bench's and a live") as refusal:
        build([evening().log(), bench(deployment=name).log()], [])
    assert refusal.value.rule == "R33"


# --- what a reader must not learn ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((180, 96, 31), (180, 96, 31)),
        ((180, 96, 3), (180, None, None)),  # 96 too, or 3 would follow from the total
        ((180, 2, 3), (None, None, None)),  # 2 and 3 are too few together
        ((180, 7, 3), (180, None, None)),
        ((5, 4, 4), (None, None, None)),  # two 4s would follow from their sum
        ((5, 5, 4), (None, None, None)),  # which of the two 5s must not depend on the order
        ((180, 1, 2), (None, None, None)),  # their sum is 3: small itself
        ((180, 4, 0), (None, None, 0)),
        ((1, 1, 1), (None, None, None)),
        ((3, 0, 0), (None, None, None)),
        ((5, 0, 0), (5, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_small_counts_are_withheld_with_what_would_give_them_away(
    counts: tuple[int, ...], shown: tuple[int | None, ...]
) -> None:
    assert tuple(withhold(dict(zip("abc", counts, strict=True))).values()) == shown


@given(st.lists(st.integers(0, 12), min_size=2, max_size=8))
def test_no_small_count_follows_by_subtraction(counts: list[int]) -> None:
    named = {str(number): count for number, count in enumerate(counts)}
    shown = withhold(named)
    hidden = [named[name] for name, count in shown.items() if count is None]
    assert all(count is None or count == 0 or count >= WITHHELD_BELOW for count in shown.values())
    assert all(count in (None, named[name]) for name, count in shown.items())
    assert len(hidden) != 1
    assert not hidden or sum(hidden) >= WITHHELD_BELOW or len(hidden) == len(counts)


@pytest.mark.parametrize(("categories", "most"), [(2, 24), (3, 16), (4, 11), (5, 7), (7, 4)])
def test_no_withheld_count_follows_from_trying_every_list(categories: int, most: int) -> None:
    """Whoever has this program and the list's length: every withheld count has more than one answer."""
    answers: dict[tuple[int, tuple[int | None, ...]], list[set[int]]] = {}
    for counts in product(range(most + 1), repeat=categories):
        if sum(counts) > most:
            continue  # not every list of that length is tried here
        shown = tuple(withhold({str(number): count for number, count in enumerate(counts)}).values())
        possible = answers.setdefault((sum(counts), shown), [set() for _ in counts])
        for seen, count in zip(possible, counts, strict=True):
            seen.add(count)
    for (_, shown), possible in answers.items():
        assert all((len(seen) > 1) == (count is None) for seen, count in zip(possible, shown, strict=True))


@pytest.mark.parametrize("count", range(1, WITHHELD_BELOW))
@pytest.mark.parametrize("categories", range(2, 13))
def test_equal_small_counts_everywhere_are_not_the_only_answer(categories: int, count: int) -> None:
    """Here no other order helps: another list of the same length has to look the same."""
    equal = [count] * categories
    ones = [1] * (categories - 1)
    other = [2, *ones[1:], 0] if count == 1 else [*ones, sum(equal) - sum(ones)]
    for counts in (equal, other):
        assert set(withhold({str(number): each for number, each in enumerate(counts)}).values()) == {None}


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 9, 10, 40, 180]), min_size=2, max_size=8), st.data())
def test_withheld_counts_in_another_order_are_shown_alike(counts: list[int], data: st.DataObject) -> None:
    shown = list(withhold({str(number): count for number, count in enumerate(counts)}).values())
    places = [number for number, count in enumerate(shown) if count is None]
    other = list(counts)
    for place, source in zip(places, data.draw(st.permutations(places)), strict=True):
        other[place] = counts[source]
    assert list(withhold({str(number): count for number, count in enumerate(other)}).values()) == shown
    hidden = {counts[place] for place in places}
    assert len(hidden) != 1 or len(places) == len(counts)


def test_size_and_composition_are_of_one_list() -> None:
    """The longest without test subjects, whose size is published."""
    many = {Category.WANTED_ON_WARRANT: 50, Category.SUSPECTED_OF_OFFENCE: 40, Category.TEST_SUBJECT: 100}
    story = Story().begin(counts=many).up(0).down(9).tell(10, Stopped())
    fewer = {Category.WANTED_ON_WARRANT: 60, Category.SUSPECTED_OF_OFFENCE: 70}
    record = one(story.begin(100, boot=2, counts=fewer).up(110).down(120).tell(130, Stopped()))
    shown = [count for count in record.composition.categories.values() if count]
    assert (record.published.watchlist_size, shown) == (130, [60, 70])


def test_no_name_no_alert_and_no_whole_key_is_in_any_form() -> None:
    """Who signed appears by role and key; no alert, entry or score of one person appears at all."""
    for name, content in golden().items():
        for word in ("A. Officer", "control room key", "K" * 43, f"{7:032x}"):
            assert word not in content, f"{word} in {name}"
    fields = json.loads(golden()["record.json"])["deployments"][0]
    assert "scores" in fields["series"]
    assert all(at[14:16] in ("00", "15", "30", "45") for at in fields["series"]["quarters"])


def test_a_text_of_others_is_harmless() -> None:
    story = Story().begin(site='<script>alert("x")</script>').up(0).down(9)
    page = render(build([story.log()], []), UTC)
    assert "<script>" not in page
    table = to_csv(build([Story().begin(site="=HYPERLINK(1)").up(0).down(9).log()], []))
    assert "'=HYPERLINK(1)" in table


# --- the page -----------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_is_the_same_every_time() -> None:
    record = build([evening().log()], [returned()])
    page = render(record, UTC)
    assert page == render(record, UTC)
    read = Text(page)
    assert read.outside == []
    assert len(read.ids) == len(set(read.ids)), "an id stands twice"
    assert page.count("<svg") == page.count('role="img"') == 3
    assert not re.search(r"url\((?!#)", page)


def test_a_log_that_does_not_verify_is_said_first() -> None:
    page = render(build([evening().log(verified=False)], []), UTC)
    assert page.index("Do not rely on this page") < page.index("<h1>")
    assert 'class="stop"' in page
    assert not build([evening().log(verified=False)], []).verified


def test_what_cannot_be_made_into_a_record_is_refused() -> None:
    empty = Story().tell(0, started(), camera(SHUT), Stopped())
    for logs, returns, says in (
        ([empty.log()], [], "holds no deployment"),
        ([evening().log(), evening().log()], [], "is given twice"),
        ([evening().log()], [returned(deployment="another")], "in no log"),
        ([evening().log()], [returned(), returned()], "is given twice"),
    ):
        with pytest.raises(DocumentError, match=says):
            build(logs, returns)


# --- arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "p95"), [([], None), ([3.0], 3.0), ([1.0, 9.0], 9.0), ([float(n) for n in range(1, 101)], 95.0)]
)
def test_nearest_rank(times: list[float], p95: float | None) -> None:
    assert nearest_rank(times, 0.95) == p95


spans = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50), st.integers(0, 5)), max_size=6)


@given(spans)
def test_overlaid_is_the_greatest_weight_of_each_second(given_spans: list[tuple[int, int, int]]) -> None:
    made = [Span(moment(start), float(length), weight) for start, length, weight in given_spans]
    slow = sum(
        max((w for start, length, w in given_spans if start <= second < start + length), default=0)
        for second in range(160)
    )
    assert overlaid(made) == pytest.approx(slow)


@given(st.integers(0, 2**32), st.integers(0, 3000))
def test_any_evening_adds_up(seed: int, faces: int) -> None:
    record = one(evening(seed, faces))
    alerts = record.published.alerts
    assert alerts.total == 12 == sum(alerts.model_dump().values())
    assert record.published.faces_seen == faces == sum(record.series.faces)
    kinds = record.series.true, record.series.false, record.series.open
    assert [sum(kind) for kind in kinds] == [alerts.true, alerts.false, alerts.open]
    assert record.published.last_closed == moment(300 + 235 * 60)
    assert record.published.camera_open_s == timedelta(minutes=220).total_seconds()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file, content in golden().items():
        (GOLDEN / file).write_bytes(content.encode())
    SCHEMA.write_text(record_schema())
