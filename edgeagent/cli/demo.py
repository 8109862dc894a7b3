"""`edgeagent demo`: the main job, end to end, on one machine."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgeagent.cli.options import FOLDER
from edgeagent.demo.broker import start_broker
from edgeagent.demo.judge import Judge, Verdict
from edgeagent.demo.papers import (
    make_authority,
    make_certificate,
    make_configuration,
    make_keys,
    make_watchlist,
)
from edgeagent.demo.picture import alert_picture, save_picture
from edgeagent.demo.play import Event, Seen, play
from edgeagent.demo.scene import write_street
from edgeagent.errors import ConfigError
from edgeagent.system.modelpack import default_pack_folder, load_pack
from edgeagent.system.networks import detector_of

SECONDS_VARIABLE = "EDGEAGENT_DEMO_SECONDS"
DEFAULT_SECONDS = 30.0
LEAST_SECONDS, MOST_SECONDS = 12.0, 3000.0
SCENE_SPARE_S = 30.0
THRESHOLD = 0.55
SEED = 7
LAPSE_LIMIT_MS = 1000.0


@click.command()
@click.option("--out", type=FOLDER, default="demo-output", show_default=True, help="Folder for the picture.")
@click.option(
    "--keep", is_flag=True, help="Keep the folder with keys, documents and logs, and say where it is."
)
def demo(out: Path, keep: bool) -> None:
    """Watch a real alert travel from a frame to a control room, then the camera close.

    Everything is real but the street: keys, signed documents, broker, unit and control room. The people are
    stand-ins from public-domain portraits, and it runs under a bench authority, so its alerts are marked as
    tests. EDGEAGENT_DEMO_SECONDS sets how long people walk past (default 30). The last line is JSON.
    """
    seconds = _seconds()
    folder = Path(tempfile.mkdtemp(prefix="edgeagent-demo-"))
    try:
        passed = _run(folder, out, seconds)
    finally:
        if keep:
            click.echo(f"kept: {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    raise click.exceptions.Exit(0 if passed else 1)


def _seconds() -> float:
    text = os.environ.get(SECONDS_VARIABLE, str(DEFAULT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ConfigError(
            f"{text!r} is not a number from {LEAST_SECONDS:g} to {MOST_SECONDS:g}",
            where=SECONDS_VARIABLE,
            next_step="correct it, or leave it out",
        )
    return seconds


def _run(folder: Path, out: Path, seconds: float) -> bool:
    tell = _teller()
    tell("making keys for everybody, and the trust store that says whose signature counts")
    root = make_keys(folder)
    certificate = make_certificate(folder)
    tell(f"certificate of the model pack: {certificate['people']} people, worth nothing for live use [R28]")
    tell("building and signing the watchlist: one stand-in for a consenting test subject")
    make_watchlist(folder, root, THRESHOLD)
    scene = write_street(folder / "scene", seconds + SCENE_SPARE_S, SEED)
    with start_broker(folder / "broker", now=datetime.now(UTC)) as broker:
        stand_in = "; a stand-in in Python, as there is no Mosquitto here" if broker.kind == "amqtt" else ""
        tell(f"broker: {broker.name}, TLS with client certificates{stand_in}")
        papers = make_configuration(folder, root, broker, scene)
        tell("signing a bench authority: where, why, until when, which list, which threshold")
        make_authority(folder, THRESHOLD)
        tell("starting the unit and the control room")
        seen = play(folder, papers, seconds, tell)
    tell("judging every alert against the scene")
    judge = Judge(scene, detector_of(load_pack(default_pack_folder())))
    verdicts = [judge.verdict(alert) for alert in seen.alerts]
    if verdicts:
        crowded = max(range(len(verdicts)), key=lambda index: len(verdicts[index].others))
        tell(f"picture: {_save_picture(out, seen.alerts[crowded], verdicts[crowded])}")
    summary, passed = _summary(seen, verdicts, broker.name)
    tell("PASS" if passed else "FAIL: see the figures below")
    click.echo(json.dumps(summary))
    return passed


def _teller() -> Any:
    started = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {text}")

    return tell


def _save_picture(out: Path, alert: Event, verdict: Verdict) -> Path:
    lines = [
        f"ALERT  entry {alert['entry']} ({alert['category']})",
        f"score {alert['score']:.3f}, threshold {alert['threshold']:.2f}",
        f"{alert['agreeing_frames']} frames agree, frame {alert['frame']}",
        "lease held: officers on the ground",
        f"{alert['capture_to_alert_ms']:.0f} ms from capture to desk",
        "left: all that the alert carried",
        "An operator decides, then an officer.",
    ]
    picture = alert_picture(verdict.frame, verdict.face, verdict.place, verdict.others, verdict.crop, lines)
    return save_picture(out, picture)


def _summary(seen: Seen, verdicts: list[Verdict], broker: str) -> tuple[dict[str, Any], bool]:
    delays = [float(alert["capture_to_alert_ms"]) for alert in seen.alerts]
    faces = seen.last.get("faces", {})
    lapse_ms = seen.last.get("lapse_to_closed_ms")
    right = sum(verdict.right for verdict in verdicts)
    summary = {
        "alerts": len(verdicts),
        "alerts_of_subject": right,
        "false_alerts": len(verdicts) - right,
        "faces_processed": faces.get("processed", 0),
        "faces_deleted": faces.get("deleted", 0),
        "lease_lapse_to_camera_closed_ms": None if lapse_ms is None else round(lapse_ms, 1),
        "frames": seen.last.get("frames", 0),
        "capture_to_alert_ms_p50": round(float(np.percentile(delays, 50)), 1) if delays else None,
        "capture_to_alert_ms_p95": round(float(np.percentile(delays, 95)), 1) if delays else None,
        "buffers_wiped": bool(seen.last.get("buffers_wiped")),
        "broker": broker,
    }
    closed = seen.last.get("camera") == "closed" and lapse_ms is not None and lapse_ms <= LAPSE_LIMIT_MS
    deleted = summary["faces_processed"] == summary["faces_deleted"] and summary["buffers_wiped"]
    return summary, bool(right >= 1 and right == len(verdicts) and closed and deleted)
