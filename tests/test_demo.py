"""`edgeagent demo`: the main job as a newcomer sees it, with Mosquitto and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeagent.demo.broker import CERTIFICATE_DAYS
from edgeagent.system.certificates import WARNING_DAYS
from tests.broker_tools import require

KEYS = {
    "alerts",
    "alerts_of_subject",
    "false_alerts",
    "faces_processed",
    "faces_deleted",
    "lease_lapse_to_camera_closed_ms",
    "frames",
    "capture_to_alert_ms_p50",
    "capture_to_alert_ms_p95",
    "broker",
}
WITHOUT_MOSQUITTO = """
import sys
import edgeagent.demo.broker
edgeagent.demo.broker.find_mosquitto = lambda: None
from edgeagent.cli import main
main(sys.argv[1:])
"""


def _demo(folder: Path, seconds: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Run it in a session of its own, so that nothing outlives the test whatever happens."""
    process = subprocess.Popen(
        [sys.executable, *(program or ("-m", "edgeagent")), "demo", "--out", "pictures"],
        cwd=folder,
        env={**os.environ, "EDGEAGENT_DEMO_SECONDS": seconds, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
    assert _session(process.pid) == [], "the demo left processes behind"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _session(leader: int) -> list[str]:
    """Names of the living processes of a session."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = file.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, session = fields.split()[:4]
        if int(session) == leader and state != "Z":
            found.append(name)
    return found


def _passes(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert set(summary) >= KEYS
    assert summary["alerts"] == summary["alerts_of_subject"] >= 1
    assert summary["false_alerts"] == 0
    assert summary["faces_processed"] == summary["faces_deleted"] > summary["alerts"]
    assert 0 <= summary["lease_lapse_to_camera_closed_ms"] <= 1000  # R16
    assert summary["frames"] > 20
    assert 0 < summary["capture_to_alert_ms_p50"] <= summary["capture_to_alert_ms_p95"]
    assert (folder / "pictures" / "alert.png").stat().st_size > 10_000
    assert [path.name for path in folder.glob("edgeagent-demo-*")] == [], "keys were left behind"
    return summary


def test_no_state_of_the_demo_warns_that_a_certificate_ends() -> None:
    assert CERTIFICATE_DAYS > WARNING_DAYS + 1


@pytest.mark.timeout(150)
def test_the_main_job(tmp_path: Path) -> None:
    require("mosquitto")
    done = _demo(tmp_path, "12")
    summary = _passes(done, tmp_path)
    assert summary["broker"].startswith("mosquitto")
    for said in ("STANDBY", "LIVE", "camera open", "ALERT entry", "camera closed", "PASS"):
        assert said in done.stdout


@pytest.mark.timeout(150)
def test_the_main_job_without_mosquitto(tmp_path: Path) -> None:
    """No switch chooses the broker: it is taken where Mosquitto is not found, and the demo says so."""
    require("amqtt")
    done = _demo(tmp_path, "12", "-c", WITHOUT_MOSQUITTO)
    summary = _passes(done, tmp_path)
    assert summary["broker"].startswith("amqtt")
    assert "no Mosquitto here" in done.stdout


@pytest.mark.parametrize("seconds", ["", "ten", "11.9", "-12", "nan", "inf", "3001", "12s"])
def test_a_length_that_cannot_be_is_refused_by_name(seconds: str, tmp_path: Path) -> None:
    done = _demo(tmp_path, seconds)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"ConfigError: EDGEAGENT_DEMO_SECONDS: {seconds!r} is not a number from 12 to 3000"
    )
    assert list(tmp_path.iterdir()) == [], "something was made before the refusal"


def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    """Not even SIGKILL leaves a unit or a control room behind."""
    require("mosquitto")
    environment = os.environ | {"EDGEAGENT_DEMO_SECONDS": "60", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "edgeagent", "demo", "--out", str(tmp_path / "pictures")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        assert any("officers take their places" in line for line in demo.stdout)
        assert len(_session(demo.pid)) >= 4, "demo, broker, unit, control room"
        demo.kill()
        demo.wait(5)
        until = time.monotonic() + 5
        while _session(demo.pid) and time.monotonic() < until:
            time.sleep(0.1)
        assert _session(demo.pid) == []
