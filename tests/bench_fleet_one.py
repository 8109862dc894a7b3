"""What one unit costs, alone and against a bare client: a part of `make bench-fleet`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeagent.documents.trust import open_trust_store
from edgeagent.fleet.hits import BenchPaper, bench_alert
from edgeagent.fleet.office import Office
from edgeagent.fleet.report import account, costs, delays
from edgeagent.fleet.run import Fleet
from edgeagent.fleet.settings import FleetBroker, Scenario
from edgeagent.fleet.tasks import Tasks
from edgeagent.fleet.usage import cpu_s, private_mb, usage
from edgeagent.system.clock import SystemClock

REST_S, IDLE_S = 10.0, 30.0
STATES_EVERY_S = (2.0, 30.0)
STATE_UNITS = 100


def one_unit(broker: FleetBroker, folder: Path, seconds: float) -> dict[str, Any]:
    """What is asked of one unit, and what a state costs."""
    result: dict[str, Any] = {"publisher": _publisher(broker, folder)}
    result["one_unit"] = _one_unit(broker, folder, seconds)
    result["bare"] = _bare(broker, result["one_unit"]["octets"], seconds)
    result["ratios"] = _ratios(result["one_unit"], result["bare"])
    result["states"] = _states(broker, folder)
    return result


def quiet(what: str, share: float) -> None:
    """Says what is being done, without a bar."""
    if what and not what.endswith("connected"):
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")


def say(text: str) -> None:
    """A line of the result, at once."""
    print(text, flush=True)


def _one_unit(broker: FleetBroker, folder: Path, seconds: float) -> dict[str, Any]:
    """Capture to receipt of a single unit, two alerts a second, states as the daemon says them."""
    place = folder / "one"
    place.mkdir()
    scenario = Scenario(units=1, seconds=seconds, hits_per_minute=120.0, seed=1, state_every_s=2.0)
    with Fleet(scenario, broker, place, quiet) as fleet:
        fleet.start()
        fleet.wait(3.0)
        before = fleet.usages()
        fleet.play([])
        cost = costs(before, fleet.usages())
        fleet.stop()
        alerts = account(fleet)
        result = {**delays(fleet.ledger, 0.0, seconds), "alerts": alerts, "octets": _alert_octets()}
        made = max(1, alerts["made"])
        for part, key in (("units", "unit"), ("desk", "desk"), ("broker", "broker")):
            result[f"{key}_cpu_ms_each"] = round(1000 * cost[part]["cpu_s"] / made, 2)
    say(json.dumps({"one_unit": result}))
    return result


def _alert_octets() -> int:
    """How long an alert of the simulation is on the wire."""
    now = SystemClock().now()
    office = Office.new(1, now.wall)
    trust = open_trust_store(office.trust(office.units), office.root.kid)
    paper = BenchPaper.of(office.authority(office.units), trust, now)
    return len(bench_alert(office.units[0], paper, 1, now.wall, now).message)


def _states(broker: FleetBroker, folder: Path) -> dict[str, Any]:
    """Processor time of one signed state, from the difference between two fleets that rest."""
    cores: list[dict[str, float]] = []
    for every_s in STATES_EVERY_S:
        place = folder / f"states-{every_s}"
        place.mkdir()
        scenario = Scenario(
            units=STATE_UNITS, seconds=1.0, hits_per_minute=0.0, seed=1, state_every_s=every_s
        )
        with Fleet(scenario, broker, place, quiet) as fleet:
            fleet.start()
            fleet.wait(REST_S)
            before = fleet.usages()
            fleet.wait(IDLE_S)
            resting = costs(before, fleet.usages())
            fleet.stop()
            cores.append({part: one["cpu_s"] / IDLE_S for part, one in resting.items()})
    more = STATE_UNITS * (1 / STATES_EVERY_S[0] - 1 / STATES_EVERY_S[1])
    result = {
        "units": STATE_UNITS,
        "cpu_ms_each": {part: round(1000 * (cores[0][part] - cores[1][part]) / more, 2) for part in cores[0]},
        "resting_mcores_each_unit": {
            part: round(1000 * cores[1][part] / STATE_UNITS, 2) for part in cores[1]
        },
    }
    say(json.dumps({"states": result}))
    return result


def _publisher(broker: FleetBroker, folder: Path) -> dict[str, Any]:
    """Memory and processor time of one idle publisher, in a process without cameras, networks or pictures."""
    place = folder / "publisher"
    place.mkdir()
    scenario = Scenario(units=1, seconds=1.0, hits_per_minute=0.0, seed=1, state_every_s=2.0)
    tasks = Tasks(scenario, broker, Office.new(1, datetime.now(UTC)), place)
    (task,) = tasks.workers().values()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench_fleet_publisher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(task.model_dump_json() + "\n")
        process.stdin.flush()
        ready = process.stdout.readline().split()
        if not ready:
            raise SystemExit("the publisher does not start")
        time.sleep(3.0)
        before, began = cpu_s(process.pid), time.monotonic()
        time.sleep(IDLE_S)
        used = cpu_s(process.pid) - before
        now, private = usage([process.pid]), private_mb(process.pid)
    finally:
        process.stdin.close()
        process.wait(10)
    result = {
        "private_mb": round(private, 1),
        "pss_mb": round(now.pss_mb, 1),
        "rss_mb": round(now.rss_mb, 1),
        "cpu_percent_of_a_core": round(100 * used / (time.monotonic() - began), 2),
        "picture_libraries_loaded": ready[1:],
    }
    say(json.dumps({"publisher": result}))
    return result


def _bare(broker: FleetBroker, octets: int, seconds: float) -> dict[str, Any]:
    """The base line on the same broker: paho alone, QoS 1, an answer from the desk."""
    command = ["tests.bench_fleet_bare", broker.certificates, broker.host, str(broker.ports[0])]
    numbers = [str(octets), "2", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", *command, *numbers], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(json.dumps({"bare": result}))
    return result


def _ratios(real: dict[str, Any], bare: dict[str, Any]) -> dict[str, float]:
    """What durability, signatures and sealing cost, as multiples of the bare client."""

    def ratio(mine: float, other: float) -> float:
        return round(mine / other, 1) if other else 0.0

    return {
        "to_desk_p50": ratio(real["capture_to_receipt_ms"]["p50"], bare["to_desk_ms"]["p50"]),
        "to_desk_p95": ratio(real["capture_to_receipt_ms"]["p95"], bare["to_desk_ms"]["p95"]),
        "and_back_p50": ratio(real["capture_to_release_ms"]["p50"], bare["and_back_ms"]["p50"]),
        "unit_cpu_each": ratio(real["unit_cpu_ms_each"], bare["unit_cpu_ms_each"]),
        "desk_cpu_each": ratio(real["desk_cpu_ms_each"], bare["desk_cpu_ms_each"]),
    }
