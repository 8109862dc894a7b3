"""Playing the demo: the real programs as real processes, and what they said, judged against the scene."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeagent.demo.papers import DEPLOYMENT, Papers
from edgeagent.demo.tied import tied
from edgeagent.errors import EdgeAgentError

STOP_S = 6.0
READY_S = 60.0
LAPSE_S = 12.0

Event = dict[str, Any]
Tell = Callable[[str], None]


@dataclass
class Program:
    """A running `edgeagent` command whose lines of JSON are collected."""

    name: str
    process: subprocess.Popen[str]
    events: queue.Queue[Event]

    @staticmethod
    def start(folder: Path, *arguments: str) -> Program:
        """Start it; what it says to a person goes to a log in the folder."""
        with (folder / f"{arguments[0]}.log").open("w") as log:
            process = subprocess.Popen(
                tied([sys.executable, "-m", "edgeagent", *arguments]),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        events: queue.Queue[Event] = queue.Queue()
        threading.Thread(target=_collect, args=(process, events), daemon=True).start()
        return Program(arguments[0], process, events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)

    def kill(self) -> None:
        """End it as a crash or a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)


def _collect(process: subprocess.Popen[str], events: queue.Queue[Event]) -> None:
    for line in process.stdout or ():
        if line.startswith("{"):
            events.put(json.loads(line))


@dataclass
class Seen:
    """What the control room saw.

    Attributes:
        alerts: first arrivals only, with their opened crops.
        live, last: the last state of the unit while LIVE, and the last of all.
    """

    alerts: list[Event] = field(default_factory=list)
    live: Event = field(default_factory=dict)
    last: Event = field(default_factory=dict)


def play(folder: Path, papers: Papers, seconds: float, tell: Tell) -> Seen:
    """Run unit and control room for a while, then have the officers leave; what the control room saw.

    Raises:
        EdgeAgentError: a program ended, or the unit did not become ready.
    """
    seen = Seen()
    watch = ("alerts", "watch", "--config", str(papers.alerts_desk), "--bench", "--crops", "--json")
    with (
        Program.start(folder, *watch) as desk,
        Program.start(folder, "run", "--config", str(papers.unit)) as unit,
    ):
        programs = (desk, unit)
        _follow(desk, seen, tell, programs, READY_S, lambda: _ready(seen.last))
        if not _ready(seen.last):
            raise EdgeAgentError(
                "the unit did not become ready", where=str(folder), next_step="read run.log there"
            )
        hold = ("lease", "hold", "--config", str(papers.lease_desk), "--deployment", DEPLOYMENT)
        tell("officers take their places: the control room holds the lease")
        with Program.start(folder, *hold, "--officers", "4", "--bench", "--json") as lease:
            _follow(desk, seen, tell, (*programs, lease), seconds, lambda: False)
            tell("officers leave: the lease holder is killed, nobody says goodbye to the unit")
            lease.kill()
        _follow(desk, seen, tell, programs, LAPSE_S, lambda: _closed(seen.last))
        _follow(desk, seen, tell, programs, STOP_S, lambda: _settled(seen.last))
    return seen


def _ready(state: Event) -> bool:
    """Whether an authority is in force: only a lease is missing, which also vouches for the clock."""
    return state.get("deployment") is not None and state.get("rule") == "R16"


def _closed(state: Event) -> bool:
    return state.get("state") == "STANDBY" and state.get("camera") == "closed"


def _settled(state: Event) -> bool:
    return _closed(state) and state.get("faces", {}).get("in_live_alerts") == 0


def _follow(
    desk: Program,
    seen: Seen,
    tell: Tell,
    programs: tuple[Program, ...],
    limit_s: float,
    done: Callable[[], bool],
) -> None:
    """Take what the control room says until it is enough or time is up."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until and not done():
        for program in programs:
            if program.process.poll() is not None:
                raise EdgeAgentError(
                    f"ended by itself ({program.process.returncode})",
                    where=f"edgeagent {program.name}",
                    next_step="read the log in the demo's folder",
                )
        try:
            event = desk.events.get(timeout=0.1)
        except queue.Empty:
            continue
        if event["event"] == "state":
            _take_state(event, seen, tell)
        elif event["event"] == "alert" and event["first"]:
            seen.alerts.append(event)
            tell(_alert_line(event, seen.last))


def _take_state(state: Event, seen: Seen, tell: Tell) -> None:
    keys = ("state", "camera", "reason", "problem")
    if [state[key] for key in keys] != [seen.last.get(key) for key in keys]:
        problem = f"; {state['problem']}" if state["problem"] else ""
        why = f"{state['reason']} [{state['rule']}]{problem}"
        tell(f"unit {state['state']:<8} camera {state['camera']:<8} {why}")
    seen.last = state
    if state["state"] == "LIVE":
        seen.live = state


def _alert_line(alert: Event, state: Event) -> str:
    return (
        f"ALERT entry {alert['entry']}: score {alert['score']:.3f} to {alert['best_score']:.3f} in "
        f"{alert['agreeing_frames']} frames, threshold {alert['threshold']:.2f}; lease {state.get('state')}; "
        f"{alert['capture_to_alert_ms']:.0f} ms after capture"
    )
