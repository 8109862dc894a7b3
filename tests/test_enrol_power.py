"""An enrolment killed at any step is finished by the same command; nothing is trusted half-way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.enrol_power_cuts import PROCEDURES

ROOT = Path(__file__).parents[1]
LEAST = 4
"""Cuts of each procedure, so that a test that cuts nothing does not pass for one."""


def test_a_cut_is_mended_by_the_same_command() -> None:
    """Every second step, in a process of its own, since it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.enrol_power_cuts", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    cuts = {row["procedure"]: row["cuts"] for row in map(json.loads, done.stdout.splitlines())}
    assert set(cuts) == {procedure.name for procedure in PROCEDURES}
    assert min(cuts.values()) >= LEAST, cuts
