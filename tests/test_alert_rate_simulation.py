"""The simulation behind docs/alert-rate.md has the guard's own counts; the profile keeps what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from edgeagent.cli.keys import read_profile
from tests import alert_rate_simulation as simulation
from tests.alert_rate_simulation import EXAMPLE, MEDIAN, Setting, simulate, suspending

LIMITS = read_profile(EXAMPLE)


def run(false_rate: float, deployments: int, lost: float = 0.0) -> simulation.Outcome:
    return simulate(Setting(MEDIAN, false_rate, lost, LIMITS), deployments, np.random.default_rng(1))


def test_the_counts_that_suspend_are_those_of_the_page() -> None:
    assert list(suspending(LIMITS)[:6]) == [10, 148, 436, 824, 1280, 1786]
    page = (EXAMPLE.parents[1] / "docs" / "alert-rate.md").read_text()
    for false, people in enumerate(suspending(LIMITS)[:6], 1):
        assert f"| {false} | {people:,} |" in page


def test_half_the_limit_seldom_stops_and_five_times_it_always_does() -> None:
    assert run(LIMITS.false_alert_limit / 2, 3000).share.high < 0.01
    assert run(LIMITS.false_alert_limit * 5, 300).share.low > 0.98


def test_a_force_that_returns_no_verdict_is_stopped() -> None:
    assert run(1e-5, 300, lost=1.0).share.low > 0.8


def test_the_command_prints_every_row_and_draws(tmp_path: Path) -> None:
    done = CliRunner().invoke(simulation.main, ["--deployments", "100", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if " 1 in " in line]
    assert len(rows) == len(simulation.settings())
    assert (tmp_path / "alert-rate.png").stat().st_size > 10_000
