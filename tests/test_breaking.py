"""The list of `make break` fits the program, has every rule, and its bench tells noticed from unnoticed."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests.breaking.bench import ROOT, Bench, Break, breaks, broken
from tests.rules.table import RULES

BREAKS = breaks()
SIGNS = next(one for one in BREAKS if one.rule == 22)


@pytest.mark.parametrize("one", BREAKS, ids=[f"R{one.rule}-{one.what}" for one in BREAKS])
def test_a_break_fits_the_program_and_leaves_it_a_program(one: Break) -> None:
    sound = (ROOT / "edgeagent" / one.file).read_text()
    assert ast.dump(ast.parse(broken(sound, one))) != ast.dump(ast.parse(sound))


def test_every_rule_is_broken_at_least_once() -> None:
    assert {one.rule for one in BREAKS} == set(RULES)


def test_a_break_is_noticed_and_none_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    harmless = replace(SIGNS, new=SIGNS.old + "  # as it was")
    assert bench.tried(SIGNS).by.startswith("test_r22_signage.py::")
    assert bench.tried(harmless).by == ""


def test_a_break_that_no_longer_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times"):
        broken("", SIGNS)
