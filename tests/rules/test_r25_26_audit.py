"""R25, R26 end to end: what a real unit did is in its log, which verifies after a kill, and without which
the camera stays closed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.audit.chain import Head, decode
from edgeagent.audit.events import (
    Act,
    AlertMade,
    AlertReceived,
    CameraMoved,
    DeploymentLoaded,
    Entry,
    Erased,
    Event,
    GateMoved,
    LeaseHeld,
    Sealed,
    Started,
    Stopped,
    Tally,
)
from edgeagent.audit.log import FOLDER
from edgeagent.audit.segments import lines_of, segments
from edgeagent.audit.verify import Published, verify_log
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import CameraState, Presence, UnitState
from edgeagent.safeguards.gate import State
from tests.bench_unit import Bench, Officers, Process, Watch

pytest_plugins = ["tests.bench_fixtures"]


def log_files(bench: Bench) -> list[Path]:
    return [path for _, path in segments(bench.data / FOLDER)]


def entries(bench: Bench) -> list[Event]:
    return [decode(line).body for file in log_files(bench) for line in lines_of(file)]


def of(kind: type, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def verified(bench: Bench, states: list[UnitState]) -> dict[str, Any]:
    """What the command says, with every line that any state of the unit named."""
    known: list[str] = []
    for state in states:
        if state.audit_sequence:
            known += ["--at-least", f"{state.audit_sequence}:{state.audit_sha256}"]
    store = ("--trust", "trust.json", "--root", bench.office.root)
    done = bench.run_command("audit", "verify", str(bench.data / FOLDER), *store, *known, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_what_a_unit_did_is_in_its_log_and_the_counts_are_those_of_its_state(bench: Bench) -> None:
    bench.put()
    with Watch(bench) as watch:
        with bench.unit() as unit:
            with Officers(bench):
                watch.state(Presence.LIVE)
                watch.until(lambda: watch.alerts)
            watch.state(Presence.STANDBY)
            watch.until(lambda: watch.last.alerts.pending == 0)
            unit.signal(signal.SIGTERM)
            watch.until(lambda: watch.last.problem == "the daemon was stopped")
            assert unit.wait(60) == 0
        watch.drain()
        said, last, events = verified(bench, watch.states), watch.last, entries(bench)
        assert said["good"]
        assert said["sealed"] == said["last"] == last.audit_sequence
        _tells_the_story(events)
        at = max(i for i, one in enumerate(events) if isinstance(one, Tally))
        tally, since = of(Tally, events)[-1], of(AlertReceived, events[at:])
        assert (tally.frames, tally.processed, tally.deleted + len(since)) == (
            last.frames,
            last.faces.processed,
            last.faces.deleted,
        )
        assert 0 < tally.passed <= tally.compared <= tally.processed
        assert tally.leases >= 1
        made, received = of(AlertMade, events), of(AlertReceived, events)
        assert len(made) == last.alerts.made
        assert len(received) == last.alerts.received
        assert {event.alert for event in made} >= {arrival.alert.alert for arrival in watch.alerts}
        assert {event.signer.kid for event in received} == {bench.office[Role.CONTROL_ROOM].kid}
    content = b"".join(file.read_bytes() for file in log_files(bench))
    assert b"blue-0001" not in content, "the log says who was seen"


def _tells_the_story(events: list[Event]) -> None:
    """In this order, and the camera opens only after the line that lets it."""
    live = next(i for i, one in enumerate(events) if isinstance(one, GateMoved) and one.after is State.LIVE)
    opened = next(
        i for i, one in enumerate(events) if isinstance(one, CameraMoved) and one.state is CameraState.OPEN
    )
    loaded = next(i for i, one in enumerate(events) if isinstance(one, DeploymentLoaded))
    leased = next(i for i, one in enumerate(events) if isinstance(one, LeaseHeld))
    made = next(i for i, one in enumerate(events) if isinstance(one, AlertMade))
    assert isinstance(events[0], Started)
    assert isinstance(events[1], Sealed)
    assert loaded < leased < live < opened < made
    closed = next(
        i for i, one in enumerate(events) if isinstance(one, CameraMoved) and one.state is CameraState.CLOSED
    )
    just_before = {one.event for one in events[closed - 4 : closed]}
    assert just_before >= {"tally", "erased"}
    assert isinstance(events[closed + 1], Sealed)
    assert isinstance(events[-2], Stopped)
    assert of(Erased, events)


def _live(watch: Watch, seen: int) -> None:
    watch.until(lambda: any(state.state is Presence.LIVE for state in watch.states[seen:]))


def _one_more_alert(watch: Watch, alerts: int) -> None:
    watch.until(lambda: len(watch.alerts) > alerts)


def test_a_kill_at_any_moment_leaves_a_log_that_goes_on_and_verifies(bench: Bench) -> None:
    bench.put()
    with Watch(bench) as watch, Officers(bench):
        for start in range(3):
            with bench.unit() as unit:
                seen, alerts = len(watch.states), len(watch.alerts)
                _live(watch, seen)
                _one_more_alert(watch, alerts)
                unit.kill()
            watch.drain()
            published = [
                Published(Head(s.audit_sequence, s.audit_sha256), "state")
                for s in watch.states
                if s.audit_sequence
            ]
            verdict = verify_log(log_files(bench), bench.office.trust(), published)
            assert verdict.good, verdict.fault
            assert verdict.starts == start + 1
        seen = len(watch.states)
        with bench.unit():
            watch.until(lambda: any(s.state is not Presence.LOST for s in watch.states[seen:]))
            watch.until(lambda: watch.last.alerts.pending == 0 and watch.last.state is Presence.LIVE)
        watch.drain()
        events = entries(bench)
        alerts_made = {event.alert for event in of(AlertMade, events)}
        assert {arrival.alert.alert for arrival in watch.alerts} <= alerts_made
        # A kill between the line and the outbox leaves a line too many, never one too few.
        assert 0 <= len(alerts_made) - watch.last.alerts.made <= 4
        assert verified(bench, watch.states)["starts"] == 4


def _fill(file: Path) -> None:
    """Take what room there is."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(512)):
            pass


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """The log's folder on a file system of its own, of 64 KiB."""
    place = bench.data / FOLDER
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("missing: the right to mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_without_room_for_the_log_the_camera_closes_and_nothing_is_disclosed(
    bench: Bench, small_disk: Path
) -> None:
    bench.put()
    with Watch(bench) as watch, Officers(bench), bench.unit() as unit:
        watch.state(Presence.LIVE, 40, camera=CameraState.OPEN)
        _fill(small_disk / "filler")
        locked = watch.state(Presence.LOCKED, 40, camera=CameraState.CLOSED)
        assert locked.rule == "R25"
        assert "No space left on device" in locked.problem
        assert locked.buffers_wiped
        assert unit.capture_children() == []
        alerts = len(watch.alerts)
        watch.take(2)
        watch.drain()
        assert len(watch.alerts) == alerts
        assert watch.last.state is Presence.LOCKED
        assert verify_log(log_files(bench), bench.office.trust()).good


DISK_THAT_FAILS = """
import errno
from edgeagent.audit.segments import Segment
from edgeagent.cli import main

append = Segment.append

def failing(segment, line):
    if b'"after":"LIVE"' in line:
        raise OSError(errno.EIO, "Input/output error")
    append(segment, line)

Segment.append = failing
main()
"""


def test_a_camera_whose_opening_cannot_be_logged_is_not_opened(bench: Bench) -> None:
    """Officers come, and the disk fails at this very line: the camera is not even tried."""
    bench.put()
    command = [sys.executable, "-c", DISK_THAT_FAILS, "run", "--config", "unit.toml"]
    with Watch(bench) as watch, Process(command, bench.path, "run.log") as unit:
        with _captures(unit) as started, Officers(bench):
            locked = watch.state(Presence.LOCKED, 40, rule="R25")
        assert "Input/output error" in locked.problem
        watch.drain()
        assert {state.camera for state in watch.states} == {CameraState.CLOSED}
        assert started == set(), "a capture process was started"
        moves = of(GateMoved, entries(bench))
        assert State.LIVE not in {move.after for move in moves}


@contextlib.contextmanager
def _captures(unit: Process) -> Iterator[set[int]]:
    """Capture processes of the unit that lived meanwhile: no state tells of one that ends at once."""
    started: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            started.update(unit.capture_children())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield started
    finally:
        done.set()
        looking.join()


def test_without_a_log_from_the_start_the_unit_says_so_and_takes_no_list_into_use(bench: Bench) -> None:
    bench.data.mkdir(parents=True, exist_ok=True)
    (bench.data / FOLDER).write_text("in the way")
    bench.put()
    with Watch(bench) as watch, bench.unit(), Officers(bench):
        locked = watch.problem("audit: cannot be written", 40)
        assert (locked.rule, locked.deployment) == ("R25", None)


def test_the_vocabulary_has_no_room_for_a_face_or_a_template() -> None:
    """By construction: each text is short, patterned, or one of a list; no list of numbers exists."""
    schema = Entry.model_json_schema()
    texts = list(_texts(schema))
    assert len(texts) > 45
    for name, text in texts:
        closed = {"enum", "const", "pattern", "maxLength"} & set(text) or text.get("format") == "date-time"
        assert closed, name
        assert text.get("maxLength", 0) <= 300 or name == "token", name
    lists = [one for one in _parts(schema) if one.get("type") == "array"]
    assert {one["items"].get("$ref") for one in lists} == {"#/$defs/Signer"}
    assert {act.value for act in Act} >= {"collection", "consultation", "alteration", "disclosure", "erasure"}


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        yield schema
    for one in inner:
        yield from _parts(one)


def _texts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in _parts(schema):
        for name, field in part.get("properties", {}).items():
            for one in _parts(field):
                if one.get("type") == "string":
                    yield name, one
