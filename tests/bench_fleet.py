"""`make bench-fleet`: brokers, control room and units as the fleet grows. Writes JSON and a picture.

Everything shares one machine, so a figure is an upper bound of what units with a processor of their own see.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeagent.errors import EdgeAgentError
from edgeagent.fleet.ledger import Ledger
from edgeagent.fleet.report import account, costs, delays
from edgeagent.fleet.run import Fleet, Incident
from edgeagent.fleet.settings import Scenario
from tests.bench_fleet_brokers import BenchBroker, mosquitto, rabbitmq
from tests.bench_fleet_one import REST_S, STATE_UNITS, one_unit, quiet, say
from tests.bench_fleet_page import put
from tests.bench_fleet_plot import draw

ALERTS_PER_S = 10.0
"""Of the whole fleet in its steady time, so that runs differ in the number of units alone."""
STATE_EVERY_S = 30.0
"""A real unit says its state every 2 s: what that costs is measured apart (`states`), see docs/fleet.md."""
CONNECTS_PER_S = {"mosquitto": 50.0, "rabbitmq": 20.0}
"""At the start, which is to be no storm: RabbitMQ is connected to twice, as it hangs up on MQTT 5."""
WINDOW_S = 0.02
"""Around the moment of the storm: what a busy process of units reads of two clocks differs by so much."""
BROKERS = {"mosquitto": mosquitto, "rabbitmq": rabbitmq}


def main() -> None:
    asked = _arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    result: dict[str, Any] = {"machine": _machine(), "runs": [], "failed": []}
    if asked.add:
        result |= json.loads((asked.out / "fleet.json").read_text())
    result["settings"] = _settings(asked.phase)
    for name, sizes in (("mosquitto", asked.mosquitto), ("rabbitmq", asked.rabbitmq)):
        if not sizes:
            continue
        with _folder() as folder, BROKERS[name](folder / "broker", max(STATE_UNITS, *sizes)) as broker:
            if name == "mosquitto" and not asked.growth_only:
                result |= one_unit(broker().broker, folder, asked.phase)
                _write(result, asked.out)
            for units in sizes:
                _forget(result, name, units)
                try:
                    run = _grow(broker(), units, folder / f"{name}-{units}", asked.phase)
                except EdgeAgentError as error:  # the other sizes are still worth knowing
                    result["failed"].append({"broker": name, "units": units, "error": str(error)})
                    say(json.dumps(result["failed"][-1]))
                else:
                    result["runs"].append(run)
                    result["runs"].sort(key=lambda one: (one["broker"], one["units"]))
                _write(result, asked.out)
    result["machine"]["load_after"] = _load()
    _write(result, asked.out)
    if asked.docs is not None:
        put(asked.out, asked.docs)
    lost = sum(run["alerts"]["lost"] for run in result["runs"])
    unsettled = [run for run in result["runs"] if "error" in run]
    say(f"done in {time.monotonic() - began:.0f} s; lost: {lost}; {asked.out / 'fleet.json'}")
    raise SystemExit(1 if lost or unsettled or result["failed"] else 0)


def _forget(result: dict[str, Any], broker: str, units: int) -> None:
    """Of an earlier bench: this size is measured anew."""
    for part in ("runs", "failed"):
        result[part] = [one for one in result[part] if (one["broker"], one["units"]) != (broker, units)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mosquitto", type=_sizes, default="50,200,500,1000,2000", help="numbers of units")
    parser.add_argument("--rabbitmq", type=_sizes, default="50,200,500", help="numbers of units; none: ''")
    parser.add_argument("--phase", type=float, default=60.0, help="seconds of each of the three phases")
    parser.add_argument("--add", action="store_true", help="keep what OUT/fleet.json has of other sizes")
    parser.add_argument("--growth-only", action="store_true", help="leave out what one unit costs")
    parser.add_argument("--docs", type=Path, help="put what was measured into fleet.md of this folder")
    parser.add_argument("--out", type=Path, default=Path("build"))
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _machine() -> dict[str, Any]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": os.cpu_count(),
        "processor": model[0].partition(": ")[2] if model else "unknown",
        "python": sys.version.split()[0],
        "load_before": _load(),
    }


def _settings(phase_s: float) -> dict[str, Any]:
    return {
        "alerts_per_s_in_all": ALERTS_PER_S,
        "phase_s": phase_s,
        "state_every_s": STATE_EVERY_S,
        "per_process": Scenario.per_process,
    }


def _load() -> float:
    return round(os.getloadavg()[0], 1)


# --- one size ---------------------------------------------------------------------------------------------


def _grow(broker: BenchBroker, units: int, folder: Path, phase_s: float) -> dict[str, Any]:
    """Rest, steady alerts, all at once, all connections lost: one after the other."""
    scenario = Scenario(
        units=units,
        seconds=3 * phase_s,
        hits_per_minute=min(600.0, 60 * ALERTS_PER_S / units),
        seed=units,
        all_at=(phase_s,),
        state_every_s=STATE_EVERY_S,
        drain_s=180.0,
        connects_per_s=CONNECTS_PER_S[broker.name],
    )
    folder.mkdir()
    run: dict[str, Any] = {"broker": broker.name, "units": units, "processes": scenario.processes}
    run["load_before"] = _load()
    steady: dict[str, Any] = {}
    with Fleet(scenario, broker.broker, folder, quiet) as fleet:
        began = time.monotonic()
        fleet.start()
        run["connected_after_s"] = round(time.monotonic() - began, 1)
        before = fleet.usages()
        fleet.wait(REST_S)
        resting = costs(before, fleet.usages())
        before = fleet.usages()
        try:
            fleet.play(
                [
                    Incident(
                        phase_s - 0.5, "all at once", lambda: steady.update(costs(before, fleet.usages()))
                    ),
                    Incident(2 * phase_s, "all connections lost", broker.reconnect),
                ]
            )
        except EdgeAgentError as error:  # what was seen until then is still worth knowing
            run["error"] = str(error)
        played_s = time.monotonic() - fleet.ledger.zero
        if "error" not in run:
            fleet.stop()
        run |= {
            "resting": {"cores": {name: round(one["cpu_s"] / REST_S, 3) for name, one in resting.items()}},
            "steady": {
                **delays(fleet.ledger, 1.0, phase_s - 1.0),
                "cores": {name: round(one["cpu_s"] / phase_s, 3) for name, one in steady.items()},
            },
            "memory": _memory(resting, units),
            "all_at_once": _all_at_once(fleet.ledger, phase_s),
            "reconnect": {
                "how": broker.reconnect_is,
                **_reconnect(fleet.ledger, units, 2 * phase_s, played_s),
            },
            "most_late_ms": round(fleet.ledger.late_ms, 1),
        }
    run["alerts"] = account(fleet)  # every process has ended
    shutil.rmtree(folder)
    say(json.dumps(run))
    return run


def _memory(used: dict[str, Any], units: int) -> dict[str, float]:
    return {
        "units_mb": used["units"]["pss_mb"],
        "each_unit_mb": round(used["units"]["pss_mb"] / units, 2),
        "desk_mb": used["desk"]["pss_mb"],
        "broker_mb": used["broker"]["pss_mb"],
    }


def _all_at_once(ledger: Ledger, storm_s: float) -> dict[str, Any]:
    """Every unit's hit at `storm_s` exactly; others come at random moments."""
    ends = sorted(ms / 1000 for at_s, ms in ledger.received if abs(at_s - storm_s) < WINDOW_S)
    if not ends:
        return {"alerts": 0, "all_received_s": None, "alerts_per_s": None}
    exact = delays(ledger, storm_s - WINDOW_S, storm_s + WINDOW_S)
    # Until nine tenths are there: the last ones wait for their unit's next attempt.
    most = ends[max(0, round(0.9 * len(ends)) - 1)]
    return {
        "alerts": len(ends),
        "all_received_s": round(ends[-1], 2),
        "alerts_per_s": round(0.9 * len(ends) / most, 1),
        **exact,
    }


def _reconnect(ledger: Ledger, units: int, at_s: float, end_s: float) -> dict[str, Any]:
    """Counted from the moment at which the first unit was seen to be gone."""
    after = [moment for moment in ledger.moments if at_s < moment.at_s < end_s]  # then they leave for good
    gone = next((moment for moment in after if moment.connected < units), None)
    if gone is None:
        return {"least_connected": units, "half_back_s": None, "all_back_s": None}
    # From the lowest point on: connections are lost over some tenths of a second.
    low = min(after, key=lambda moment: moment.connected)
    back = [moment for moment in after if moment.at_s >= low.at_s]
    half = next((moment.at_s for moment in back if moment.connected >= units / 2), None)
    whole = next((moment.at_s for moment in back if moment.connected == units), None)
    return {
        "least_connected": low.connected,
        "half_back_s": round(half - gone.at_s, 2) if half else None,
        "all_back_s": round(whole - gone.at_s, 2) if whole else None,
        **delays(ledger, at_s, 1.5 * at_s),
    }


# --- small things -----------------------------------------------------------------------------------------


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="edgeagent-fleet-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(result: dict[str, Any], out: Path) -> None:
    (out / "fleet.json").write_text(json.dumps(result, indent=1) + "\n")
    if result["runs"]:
        draw(result, out / "fleet.png")


if __name__ == "__main__":
    main()
