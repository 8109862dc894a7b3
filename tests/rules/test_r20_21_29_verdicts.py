"""R20, R21, R29 without a console: two people sign, each with a key; an alert stays open till its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from edgeagent.alerts.alert import Sealed
from edgeagent.alerts.envelope import unwrap
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.receiver import Receiver
from edgeagent.controlroom.verdicts import Known, Verdicts
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import Alert, Decision, UnitState, Verdict
from edgeagent.documents.table import DECISION, REVIEW, VERDICT, sign, verify
from edgeagent.documents.verdict import Judgement, judgement
from edgeagent.errors import DocumentError, EdgeAgentError, SafeguardError
from edgeagent.safeguards.alert_rate import AlertRate, alert_made, guarded, people_passed, time_passed
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.people import all_differ, same_person
from edgeagent.safeguards.verdict import Choice, Class, Finding, Result, classify, consistent, two_people
from tests.desk import (
    DEPLOYMENT,
    NOW,
    SUSPENSION,
    UNIT,
    Desk,
    as_dict,
    at,
    decision,
    identity,
    profile,
    rate,
    review,
    state,
    verdict,
)

DESK = Desk()
OPERATOR, OFFICER = DESK[Role.OPERATOR], DESK[Role.OFFICER]


def judge(
    choice: Choice = Choice.ENGAGE,
    *,
    operator: Identity = OPERATOR,
    officer: Identity = OFFICER,
    **said: Any,
) -> Judgement:
    """Two people's words put together, as the unit does."""
    decided = sign(DECISION, decision(choice=choice), operator)
    ended = sign(VERDICT, verdict(decided, **said), officer)
    return judgement(verify(VERDICT, ended, DESK.trust, NOW), DESK.trust, NOW)


# --- two people ---------------------------------------------------------------------------------------------


def test_an_alert_and_a_decision_instruct_nobody() -> None:
    for model in (Alert, Decision, Verdict):
        assert not {"instruction", "action", "command", "order"} & set(model.model_fields)


def test_an_operator_and_then_an_officer() -> None:
    judged = judge()
    assert (judged.was, judged.operator.name, judged.officer and judged.officer.name) == (
        Class.TRUE_CONFIRMED,
        "operator",
        "officer",
    )


def test_an_operator_alone_can_only_reject() -> None:
    nobody: dict[str, Any] = {"finding": Finding.NOT_ENGAGED, "outcome": Result.NO_ACTION}
    rejected = judge(Choice.REJECT, officer=OPERATOR, **nobody)
    assert (rejected.was, rejected.officer) == (Class.FALSE_UNCONFIRMED, None)
    said: dict[str, Any]
    for said in ({}, nobody):
        with pytest.raises(DocumentError, match="not signed by an officer"):
            judge(officer=OPERATOR, **said)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Ann Sørensen", "ANN SØRENSEN", True),
        ("Supt Lee", "Supt  Lee ", True),
        ("Ann Strauß", "ANN STRAUSS", True),
        (normalize("NFC", "José Díaz"), normalize("NFD", "José Díaz"), True),
        ("Ann Lee", "Ann\u200bLee", True),  # zero width
        ("Ann Lee", "Ann Lee\u200d", True),
        ("Ann Lee", "Ann\u00a0Lee", True),
        ("Ann Lee", "\uff21nn Lee", True),  # full width
        ("PC 123", "PC123", True),
        ("PC 123", "pc-123.", True),
        ("PC 123", "PC 124", False),
        ("PC 12", "PC 123", False),
        ("Ann Lee", "Anna Lee", False),
        ("José Díaz", "Jose Diaz", False),
        ("operator", "second operator", False),
    ],
)
def test_names_that_a_reader_takes_for_one_are_one(a: str, b: str, same: bool) -> None:
    """R20, R21, R27: wherever two people must differ."""
    assert same_person(a, b) is same_person(b, a) is same
    assert all_differ((a, "somebody else", b)) is not same
    with pytest.raises(SafeguardError) if same else nullcontext():
        two_people(a, b)


def test_another_operator_or_an_officer_cannot_end_a_rejection() -> None:
    nobody: dict[str, Any] = {"finding": Finding.NOT_ENGAGED, "outcome": Result.NO_ACTION}
    other = identity(Role.OPERATOR, "second operator")
    desk_with = Desk()
    trust = desk_with.trust_with(keys=(*desk_with.keys, desk_with.trusted(other)))
    for signer in (OFFICER, other):
        decided = sign(DECISION, decision(choice=Choice.REJECT), OPERATOR)
        ended = sign(VERDICT, verdict(decided, **nobody), signer)
        with pytest.raises(DocumentError, match="operator who rejected it"):
            judgement(verify(VERDICT, ended, trust, NOW), trust, NOW)


@pytest.mark.parametrize("name", ["operator", "Operator", "  operator ", "OPERATOR"])
def test_one_person_with_two_keys_is_one_person(name: str) -> None:
    """R21: the trust store names people; capitals and blanks make nobody another one."""
    same = identity(Role.OFFICER, name)
    keys = tuple(key for key in DESK.keys if key.role is not Role.OFFICER)
    trust = DESK.trust_with(keys=(*keys, DESK.trusted(same)))
    ended = sign(VERDICT, verdict(sign(DECISION, decision(), OPERATOR)), same)
    with pytest.raises(SafeguardError, match="one person") as refused:
        judgement(verify(VERDICT, ended, trust, NOW), trust, NOW)
    assert refused.value.rule == "R21"


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.OPERATOR, Role.OFFICER)])
def test_nobody_else_decides(role: Role) -> None:
    with pytest.raises(DocumentError, match="may not be signed"):
        sign(DECISION, decision(), DESK[role])
    with pytest.raises(DocumentError, match="may not be signed"):
        sign(VERDICT, verdict(sign(DECISION, decision(), OPERATOR)), DESK[role])


def test_a_decision_that_was_swapped_or_altered_inside_is_refused() -> None:
    strange = identity(Role.OPERATOR, "operator", seed=99)
    with pytest.raises(DocumentError, match="not in the trust store"):
        judge(operator=strange)
    decided = sign(DECISION, decision(), OPERATOR)
    body = verdict(decided).model_copy(update={"decision": decided.decode()[:-8] + "AAAAAAAA"})
    with pytest.raises(DocumentError, match="altered"):
        judgement(verify(VERDICT, sign(VERDICT, body, OFFICER), DESK.trust, NOW), DESK.trust, NOW)


# --- outcomes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "finding", "column"),
    [
        (Choice.ENGAGE, Finding.CONFIRMED_MATCH, Class.TRUE_CONFIRMED),
        (Choice.ENGAGE, Finding.CONFIRMED_NO_MATCH, Class.FALSE_CONFIRMED),
        (Choice.ENGAGE, Finding.NOT_FOUND, Class.TRUE_UNCONFIRMED),
        (Choice.ENGAGE, Finding.NOT_ENGAGED, Class.FALSE_UNCONFIRMED),
        (Choice.REJECT, Finding.NOT_ENGAGED, Class.FALSE_UNCONFIRMED),
    ],
)
def test_each_alert_belongs_to_one_published_column(choice: Choice, finding: Finding, column: Class) -> None:
    assert classify(choice, finding) is column
    consistent(choice, finding, Result.NO_ACTION)


@pytest.mark.parametrize("finding", [Finding.NOT_FOUND, Finding.NOT_ENGAGED])
@pytest.mark.parametrize("outcome", [one for one in Result if one is not Result.NO_ACTION])
def test_nothing_comes_of_somebody_who_was_not_spoken_to(finding: Finding, outcome: Result) -> None:
    with pytest.raises(SafeguardError, match="nobody was spoken to") as refused:
        judge(finding=finding, outcome=outcome)
    assert refused.value.rule == "R29"


@pytest.mark.parametrize("finding", [one for one in Finding if one is not Finding.NOT_ENGAGED])
def test_nobody_acts_on_a_rejected_alert(finding: Finding) -> None:
    with pytest.raises(SafeguardError, match="rejected") as refused:
        judge(Choice.REJECT, officer=OPERATOR, finding=finding, outcome=Result.NO_ACTION)
    assert refused.value.rule == "R21"


def test_outcomes_that_never_come_suspend_matching_whatever_the_rate() -> None:
    """Six late ones of ten million people are too many; five are the profile's limit."""
    limits = profile()
    made = people_passed(AlertRate(deployment=DEPLOYMENT), 10_000_000)
    for number in range(limits.overdue_alerts_most + 1):
        late = time_passed(made, limits, NOW.wall + timedelta(hours=1))
        assert guarded(late, limits, SUSPENSION).suspended == ""
        made = alert_made(made, f"{number:032x}", NOW.wall)
    late = time_passed(made, limits, NOW.wall + timedelta(hours=1))
    assert "without a verdict" in guarded(late, limits, SUSPENSION).suspended


def test_an_outcome_is_mandatory_and_from_a_closed_list() -> None:
    decided = sign(DECISION, decision(), OPERATOR)
    said = as_dict(verdict(decided))
    for changed in ({}, {"outcome": None}, {"outcome": "unknown"}, {"outcome": "pending"}, {"outcome": ""}):
        payload = {key: value for key, value in said.items() if key != "outcome"} | changed
        with pytest.raises(ValueError, match="outcome"):
            Verdict.model_validate_json(json.dumps(payload))


@pytest.mark.parametrize("minutes", [-10, 1])
def test_an_outcome_before_the_decision_or_in_the_future_is_refused(minutes: int) -> None:
    with pytest.raises(DocumentError, match="times that cannot be"):
        judge(concluded_at=NOW.wall + timedelta(minutes=minutes))


# --- the desk's file ----------------------------------------------------------------------------------------


@pytest.fixture
def verdicts(tmp_path: Path) -> Iterator[Verdicts]:
    with Verdicts(tmp_path / "desk.sqlite", DESK.trust) as kept:
        yield kept


LATER = at(60)


def take(verdicts: Verdicts, sealed: Sealed) -> None:
    """As the control room does, in the same file."""
    topics = Topics(sealed.alert.unit, bench=sealed.alert.kind is Kind.BENCH)
    with Receiver(verdicts.path, DESK[Role.CONTROL_ROOM], DESK.trust) as receiver:
        receiver.take(topics.alert, sealed.message, NOW)


def arrived(verdicts: Verdicts, **authority: Any) -> Known:
    sealed = DESK.alert(**authority)
    take(verdicts, sealed)
    return verdicts.find(sealed.alert.alert)


def asks(known: Known, **changes: Any) -> tuple[UnitState, Instant]:
    return state(kind=known.kind, rate=rate(unjudged=(known.alert,), **changes)), LATER


def test_an_alert_is_open_until_its_outcome_whoever_forgot_it(verdicts: Verdicts) -> None:
    known = arrived(verdicts)
    assert [one.waits_for for one in verdicts.open_alerts()] == ["operator"]
    verdicts.decide(known, Choice.ENGAGE, OPERATOR, LATER)
    assert [one.waits_for for one in verdicts.open_alerts()] == ["officer"]
    with Verdicts(verdicts.path, DESK.trust) as again:  # another process
        known = again.find(known.alert[:8])
        again.conclude(known, Finding.NOT_FOUND, Result.NO_ACTION, OFFICER, LATER)
    assert verdicts.open_alerts() == []


def test_repeated_arrivals_open_an_alert_once_and_never_open_it_again(verdicts: Verdicts) -> None:
    sealed = DESK.alert()
    for _ in range(2):
        take(verdicts, sealed)
    assert len(verdicts.open_alerts()) == 1
    verdicts.decide(verdicts.find(sealed.alert.alert), Choice.REJECT, OPERATOR, LATER)
    take(verdicts, sealed)
    assert verdicts.open_alerts() == []


def test_the_first_decision_stands(verdicts: Verdicts) -> None:
    known = arrived(verdicts)
    verdicts.decide(known, Choice.ENGAGE, OPERATOR, LATER)
    with pytest.raises(SafeguardError, match="decided already"):
        verdicts.decide(known, Choice.REJECT, OPERATOR, LATER)
    known = verdicts.find(known.alert)
    verdicts.conclude(known, Finding.CONFIRMED_NO_MATCH, Result.NO_ACTION, OFFICER, LATER)
    for stale in (known, verdicts.find(known.alert)):
        with pytest.raises(SafeguardError, match="outcome already"):
            verdicts.conclude(stale, Finding.CONFIRMED_MATCH, Result.ARREST, OFFICER, LATER)


def test_an_officer_does_not_come_first_nor_after_a_rejection(verdicts: Verdicts) -> None:
    known = arrived(verdicts)
    with pytest.raises(SafeguardError, match="no operator's decision"):
        verdicts.conclude(known, Finding.CONFIRMED_MATCH, Result.ARREST, OFFICER, LATER)
    verdicts.decide(known, Choice.REJECT, OPERATOR, LATER)
    with pytest.raises(SafeguardError, match="outcome already"):
        verdicts.conclude(verdicts.find(known.alert), Finding.CONFIRMED_MATCH, Result.ARREST, OFFICER, LATER)


def test_the_wrong_key_keeps_nothing(verdicts: Verdicts) -> None:
    known = arrived(verdicts)
    stranger = identity(Role.OPERATOR, "operator", seed=99)
    for choice in Choice:
        with pytest.raises(DocumentError, match="trust store"):
            verdicts.decide(known, choice, stranger, LATER)
        with pytest.raises(DocumentError, match="may not be signed"):
            verdicts.decide(known, choice, OFFICER, LATER)
    verdicts.decide(known, Choice.ENGAGE, OPERATOR, LATER)
    with pytest.raises(EdgeAgentError):
        verdicts.conclude(verdicts.find(known.alert), Finding.CONFIRMED_MATCH, Result.ARREST, OPERATOR, LATER)
    assert [one.waits_for for one in verdicts.open_alerts()] == ["officer"]


@pytest.mark.parametrize("prefix", ["", "%", "_", "zz", "x' OR 1=1 --"])
def test_what_names_no_single_alert_is_refused(prefix: str, verdicts: Verdicts) -> None:
    arrived(verdicts)
    arrived(verdicts)
    with pytest.raises(SafeguardError, match=r"no alert|several"):
        verdicts.find(prefix)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_unit_that_asks_is_answered_on_its_own_topic(kind: Kind, verdicts: Verdicts) -> None:
    known = arrived(verdicts, kind=kind)
    said, now = asks(known)
    assert verdicts.answers(said, now) == []
    verdicts.decide(known, Choice.REJECT, OPERATOR, LATER)
    ((topic, message),) = verdicts.answers(said, now)
    assert topic == f"lfr{'-bench' if kind is Kind.BENCH else ''}/v1/{UNIT}/verdict"
    taken = verify(VERDICT, unwrap(message, "verdict"), DESK.trust, LATER)
    assert judgement(taken, DESK.trust, LATER).decision.alert == known.alert
    assert verdicts.answers(said, now) == [], "not again at once"
    assert len(verdicts.answers(said, at(71))) == 1, "again while it still asks"


def test_other_units_and_deployments_get_none_of_it(verdicts: Verdicts) -> None:
    known = arrived(verdicts)
    verdicts.decide(known, Choice.REJECT, OPERATOR, LATER)
    unjudged = rate(unjudged=(known.alert,))
    changes: dict[str, Any]
    for changes in ({"unit": "unit-2"}, {"deployment": "another-one"}, {"deployment": None}):
        assert verdicts.answers(state(**({"rate": unjudged} | changes)), LATER) == []
    assert verdicts.answers(state(rate=None), LATER) == []


def test_a_review_is_sent_only_while_the_unit_says_that_it_is_suspended(verdicts: Verdicts) -> None:
    document = sign(REVIEW, review(), DESK[Role.AUTHORISING_OFFICER])
    with pytest.raises(DocumentError):
        verdicts.submit(document[:-9], LATER)
    assert verdicts.submit(document, LATER).body.deployment == DEPLOYMENT
    assert verdicts.answers(state(rate=rate(unjudged=())), LATER) == []
    ((topic, message),) = verdicts.answers(state(rate=rate(unjudged=(), suspended=True)), LATER)
    assert topic == f"lfr/v1/{UNIT}/review"
    assert verify(REVIEW, unwrap(message, "review"), DESK.trust, LATER).body == review()
