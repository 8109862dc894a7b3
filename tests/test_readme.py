"""The README says what is so: its table of rules is the one that the tests make, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent.cli.main import edgeagent
from tests.rules.table import main as rules_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_rules_is_up_to_date() -> None:
    table = CliRunner().invoke(rules_table, ["--markdown"]).output.strip()
    assert table in README, "paste the output of: python -m tests.rules.table --markdown"
    assert "NO TEST" not in table


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", README))))
def test_every_make_target_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("words", sorted(set(re.findall(r"`edgeagent ([a-z-]+(?: [a-z-]+)?)", README))))
def test_every_command_named_exists(words: str) -> None:
    done = CliRunner().invoke(edgeagent, [*words.split(), "--help"])
    assert done.exit_code == 0, done.output
