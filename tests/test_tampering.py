"""The tampering matrix: every attempt is refused by name, and the attempts are the ones they say they are."""

from __future__ import annotations

from collections import Counter

import pytest

from edgeagent.documents.explain import KINDS
from edgeagent.documents.trust import TYP
from tests.tampering import Result, Subject, attempt, line, main, paths, subjects, tamperings

SUBJECTS = pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.kind.typ)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Every attempt."""
    return [attempt(one) for one in tamperings(tmp_path_factory.mktemp("tampering"))]


def test_nothing_is_accepted(results: list[Result]) -> None:
    assert [line(result) for result in results if not result.refusal] == []


def test_every_field_of_every_kind_is_tried(results: list[Result]) -> None:
    tried = Counter((result.attempt.kind, result.attempt.field) for result in results)
    for subject in subjects():
        for path in paths(subject.body):
            assert tried[subject.kind.typ, ".".join(map(str, path))] >= 10
    assert {kind for kind, _ in tried} == {*KINDS, TYP}


@SUBJECTS
def test_what_is_tampered_with_is_genuine_before(subject: Subject) -> None:
    """Else a refusal would show nothing."""
    assert subject.check(subject.signed(subject.body))
    assert subject.check(subject.signed(subject.twin))
    differing = [name for name in subject.body if subject.twin[name] != subject.body[name]]
    assert len(differing) >= len(subject.body) - 2


def test_the_rules_are_named_where_a_rule_refuses(results: list[Result]) -> None:
    rules = {result.rule for result in results if result.refusal == "SafeguardError"}
    assert {"R6", "R7", "R14", "R16"} <= rules
    assert "" not in rules


def test_the_table_ends_with_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.endswith(" 0 accepted")
