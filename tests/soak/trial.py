"""One run: the real daemon as a process, a real broker, a lease, a desk that answers, and a crowd."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.controlroom.verdicts import Verdicts
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import UnitState
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.verdict import Choice, Finding, Result
from tests.bench_unit import CLOCK, Bench, Officers, Process, Watch, make_bench
from tests.soak.sample import Sample, on_disk, taken
from tests.soak.street import HEIGHT, STAYS, WIDTH, write_pictures

SAMPLE_EVERY_S = 1.0
LEASE_S = 6.0
"""The usual length: a busy machine must not let it lapse, which would start a new capture process."""
REALERT_S = 4.0
"""So the one subject makes some three times the published number of alerts for so many people."""
SPARE = 1.2
"""More pictures than are needed: the camera may be closed and opened again under heavy load."""
STUCK_S = 60.0
PEOPLE_A_FRAME = 6


class StoppedError(Exception):
    """The unit ended, or nobody passes any more."""


Told = Callable[[Sample], None]


@dataclass
class Run:
    """What was seen of a run."""

    samples: list[Sample] = field(default_factory=list)
    leases: int | None = None
    verdicts: int | None = None
    tally: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    interrupted: bool = False
    closed_in_order: bool = False
    stopped: str = ""


class Desk:
    """Operator and officer: every alert is decided on and concluded, as the unit's state asks (R20)."""

    def __init__(self, watch: Watch, verdicts: Verdicts, bench: Bench) -> None:
        self._watch, self._verdicts, self._bench = watch, verdicts, bench
        self._seen = 0
        self.last: UnitState | None = None
        self.sent = 0

    def work(self, seconds: float) -> None:
        """Take what comes within `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._watch.take(left):
                self._answer(CLOCK.now())

    def _answer(self, now: Instant) -> None:
        watch, office = self._watch, self._bench.office
        for arrival in watch.alerts:
            if arrival.first:
                self._verdicts.decide(
                    self._verdicts.find(arrival.alert.alert), Choice.ENGAGE, office[Role.OPERATOR], now
                )
                said = Finding.CONFIRMED_MATCH, Result.NO_ACTION, office[Role.OFFICER]
                self._verdicts.conclude(self._verdicts.find(arrival.alert.alert), *said, now)
        for state in watch.states:
            self.last = state
            for topic, message in self._verdicts.answers(state, now):
                watch.link.publish(topic, message)
                self.sent += 1
        for kept in (watch.alerts, watch.states, watch.raw):
            kept.clear()


def soak(folder: Path, people: int, told: Told, unit: Callable[[Bench], Process] = Bench.unit) -> Run:
    """Run until so many people have passed, or until Ctrl-C; `unit` starts the daemon."""
    run = Run()
    frames = round(people / PEOPLE_A_FRAME * SPARE) + 60
    pictures = write_pictures(folder / "street", frames)
    benches = make_bench(folder, source=f"pictures:{pictures}")
    bench = next(benches)
    _set_sizes(bench)
    bench.put(lease_max_s=LEASE_S, agreeing_frames=STAYS, realert_s=REALERT_S)
    with _ended(benches), unit(bench) as process, _desk(bench) as desk:
        with Officers(bench, seconds=LEASE_S) as officers:
            began = time.monotonic()
            try:
                for sample in _samples(bench, process, desk, people, began):
                    run.samples.append(sample)
                    told(sample)
            except KeyboardInterrupt:
                run.interrupted = True
            except StoppedError as why:
                run.stopped = str(why)
            run.wall_s = time.monotonic() - began
            run.leases = len(officers.leases)
        desk.work(LEASE_S + 1.0)
        run.closed_in_order = desk.last is not None and desk.last.buffers_wiped
        run.verdicts = desk.sent
    run.tally = _last_tally(bench)
    return run


def _set_sizes(bench: Bench) -> None:
    text = bench.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("width", "height"))]
    at = next(i for i, line in enumerate(lines) if line.startswith("source")) + 1
    lines[at:at] = [f"width = {WIDTH}", f"height = {HEIGHT}", "fps = 60"]  # as fast as the machine can
    bench.config.write_text("\n".join(lines))


@contextlib.contextmanager
def _ended(benches: Iterator[Bench]) -> Iterator[None]:
    yield
    for _ in benches:
        raise AssertionError("one bench only")


@contextlib.contextmanager
def _desk(bench: Bench) -> Iterator[Desk]:
    with Watch(bench) as watch, Verdicts(bench.path / "watch.sqlite", bench.office.trust()) as verdicts:
        watch.ready(60)
        yield Desk(watch, verdicts, bench)


def _samples(bench: Bench, process: Process, desk: Desk, people: int, began: float) -> Iterator[Sample]:
    passed, moved_s = 0, began
    while passed < people:
        desk.work(SAMPLE_EVERY_S)
        state, now = desk.last, time.monotonic()
        whole = taken(process.pid)
        if whole is None:
            raise StoppedError(f"the unit ended: {process.said()[-2000:]}")
        if state is not None and state.rate is not None and state.rate.passed > passed:
            passed, moved_s = state.rate.passed, now
            children = process.capture_children()
            yield Sample(
                t_s=now - began,
                people=passed,
                detections=state.faces.processed,
                frames=state.frames,
                alerts=state.alerts.made,
                unit=whole,
                capture=taken(children[0]) if children else None,
                disk=on_disk(bench.data),
            )
        elif now - moved_s > STUCK_S:
            raise StoppedError(f"nobody passed for {STUCK_S:g} s: {process.said()[-2000:]}")


def _last_tally(bench: Bench) -> dict[str, Any]:
    """The unit's own last count, from its audit log (R25)."""
    last: dict[str, Any] = {}
    for file in sorted(bench.data.rglob("audit-*.jsonl")):
        for line in file.read_text().splitlines():
            body = json.loads(line).get("body")
            if isinstance(body, dict) and body.get("event") == "tally":
                last = body
    return last
