"""The judge of `make soak` finds a leak, and calls nothing flat that it cannot see to be; a short run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.soak.judge import MOST_AN_HOUR, PEOPLE_AN_HOUR, Said, more, slope
from tests.soak.sample import Taken, on_disk, taken
from tests.soak.street import A_WAVE
from tests.soak.trial import soak

HOURS = np.linspace(0, 6, 900)
WARMING = 8 * (1 - np.exp(-HOURS / 0.1))


def noise(spread: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, spread, len(HOURS))


@pytest.mark.parametrize(
    ("what", "series", "said"),
    [
        ("nothing changes", 180 + 0 * HOURS, Said.FLAT),
        ("noise and a warm-up", 180 + WARMING + noise(0.4), Said.FLAT),
        ("a saw-tooth", 180 + 20 * (HOURS * 7 % 1), Said.FLAT),
        ("one step of 1 MB", 180 + 1.0 * (HOURS > 3.5), Said.FLAT),
        ("a late step of 5 MB", 180 + 5.0 * (HOURS > 5), Said.UNCLEAR),
        ("it shrinks", 180 - 2 * HOURS + noise(0.4), Said.FLAT),
        ("a leak of 84 octets a person", 180 + HOURS * PEOPLE_AN_HOUR * 84e-6, Said.GROWS),
        ("the same under noise", 180 + WARMING + HOURS + noise(0.4), Said.GROWS),
        ("a step every half hour", 180 + np.floor(HOURS * 2), Said.GROWS),
        ("too noisy to say", 180 + noise(40), Said.UNCLEAR),
    ],
)
def test_the_judge(what: str, series: np.ndarray, said: Said) -> None:
    assert slope(list(HOURS), list(series), MOST_AN_HOUR).said is said, what


def test_the_slope_is_right_and_its_interval_holds_it() -> None:
    found = slope(list(HOURS), list(180 + 2.5 * HOURS + noise(0.4)), MOST_AN_HOUR)
    assert found.low < 2.5 < found.high
    assert found.per_unit == pytest.approx(2.5, abs=0.1)


def test_a_short_series_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        slope([0.0, 0.1, 0.2], [1.0, 1.0, 1.0], MOST_AN_HOUR)


def test_descriptors_that_stay_open_are_counted() -> None:
    assert more(list(HOURS), [13 + int(hour) for hour in HOURS]) == 5
    assert more(list(HOURS), [13 + (i % 3 == 0) for i in range(len(HOURS))]) == 0


HOLDER = """
import sys
sys.stdin.readline()
kept = bytes(range(256)) * (32 << 12)
held = open(sys.argv[1], "wb")
held.write(bytes(1000))
held.flush()
print("held", flush=True)
sys.stdin.readline()
"""


def test_the_kernel_and_the_folder_are_read(tmp_path: Path) -> None:
    """Another process is measured: this one has memory of earlier tests to give out again."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "held")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        before = until_still(holder.pid)
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "held\n"
        after = taken(holder.pid)
        assert on_disk(tmp_path)["other"] == 1000
        holder.stdin.close()
    assert after is not None
    assert after.anonymous - before.anonymous >= (32 << 10) * 0.9
    assert after.fds == before.fds + 1
    assert taken(2**22 + 1) is None


def until_still(pid: int) -> Taken:
    """What a process takes once it waits: two equal readings of one that has started."""
    last, until = None, time.monotonic() + 60
    while time.monotonic() < until:
        now = taken(pid)
        if now and last and (now.anonymous, now.fds) == (last.anonymous, last.fds) and now.fds == 3:
            return now
        last = now
        time.sleep(0.3)
    pytest.fail("the process did not come to rest")


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the unit lets nobody else look into it")
def test_a_short_run_of_the_real_daemon(tmp_path: Path) -> None:
    run = soak(tmp_path, 20 * A_WAVE, lambda sample: None)
    last = run.samples[-1]
    assert last.people >= 20 * A_WAVE
    assert last.detections >= 2 * last.people * 0.9, "each is seen in two frames"
    assert last.alerts >= 1
    assert run.leases
    assert run.closed_in_order
    assert run.tally["processed"] == run.tally["deleted"] + run.tally["in_live_alerts"]  # R1
    assert last.unit.rss > last.unit.anonymous > 50_000
    assert last.disk["audit log"] > 0
