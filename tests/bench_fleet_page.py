"""The measured part of docs/fleet.md, from build/fleet.json: `python -m tests.bench_fleet_page`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- made by make bench-fleet: begin -->", "<!-- made by make bench-fleet: end -->"
NAMES = {"mosquitto": "Mosquitto", "rabbitmq": "RabbitMQ ×3"}
SIZED, DAEMON_STATE_S, HALF, LEAST_RUNS = 50_000, 2.0, 0.5, 2
BUSY = 1.0
"""A machine whose load was above this before the bench was not its own."""


def put(build: Path, docs: Path) -> None:
    """Replace the part between the marks, and the picture."""
    page = docs / "fleet.md"
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    result = json.loads((build / "fleet.json").read_text())
    page.write_text(f"{before}{BEGIN}\n{measured(result)}{END}{after}")
    shutil.copyfile(build / "fleet.png", docs / "fleet.png")


def measured(result: dict[str, Any]) -> str:
    """Everything that was printed, as Markdown."""
    runs = result["runs"]
    parts = [
        _machine(result),
        _one(result),
        _states(result),
        _growth(runs),
        _storms(runs),
        _failed(result),
        _sizing(result),
    ]
    return "\n".join(filter(None, parts))


def _machine(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    load = f"load {machine['load_before']} before it"
    loaded = machine["load_before"] > BUSY
    verdict = (
        "**Other programs used the cores at the same time: these figures say little but that it works.**"
        if loaded
        else "Nothing else was running when it began; each row has the load before it."
    )
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cpus']} cores, Python {machine['python']}; "
        f"{load}. {verdict} {settings['alerts_per_s_in_all']:g} alerts/s of the whole fleet in the steady "
        f"phase of {settings['phase_s']:g} s, a state of each unit every {settings['state_every_s']:g} s.\n"
    )


def _one(result: dict[str, Any]) -> str:
    publisher, one = result.get("publisher"), result.get("one_unit")
    bare, ratios = result.get("bare"), result.get("ratios")
    if not (publisher and one and bare and ratios):
        return ""
    to_desk, back = one["capture_to_receipt_ms"], one["capture_to_release_ms"]
    rows = [
        (
            "capture to the control room's receipt, p50 / p95",
            _two(to_desk),
            _two(bare["to_desk_ms"]),
            f"{ratios['to_desk_p50']} / {ratios['to_desk_p95']}",
        ),
        (
            "capture to the receipt at the unit, p50 / p95",
            _two(back),
            _two(bare["and_back_ms"]),
            f"{ratios['and_back_p50']} (p50)",
        ),
        (
            "processor time of the unit, each alert",
            f"{one['unit_cpu_ms_each']} ms",
            f"{bare['unit_cpu_ms_each']} ms",
            ratios["unit_cpu_each"],
        ),
        (
            "processor time of the control room, each alert",
            f"{one['desk_cpu_ms_each']} ms",
            f"{bare['desk_cpu_ms_each']} ms",
            ratios["desk_cpu_each"],
        ),
    ]
    lines = [f"| {what} | {real} | {other} | {ratio} |" for what, real, other, ratio in rows]
    pictures = ", ".join(publisher["picture_libraries_loaded"]) or "none"
    return (
        "One unit on Mosquitto, two alerts a second, against bare paho (QoS 1, as many octets, no outbox, "
        "audit log, signature or sealing):\n\n"
        f"| {to_desk['count']} alerts of {one['octets']} octets | edgeagent | bare paho | ratio |\n"
        "|---|---|---|---|\n" + "\n".join(lines) + "\n\n"
        f"Its publisher alone, idle for 30 s: private {publisher['private_mb']} MB, "
        f"PSS {publisher['pss_mb']} MB, RSS {publisher['rss_mb']} MB, "
        f"{publisher['cpu_percent_of_a_core']} % of a core; picture libraries loaded: {pictures}.\n"
    )


def _states(result: dict[str, Any]) -> str:
    states = result.get("states")
    if not states:
        return ""
    each, rest = states["cpu_ms_each"], states["resting_mcores_each_unit"]
    return (
        f"One signed state costs {each['units']} ms of processor time at the unit, {each['desk']} ms at the "
        f"control room and {each['broker']} ms at the broker. A simulated unit that rests, with a state "
        f"every 30 s, costs {rest['units']} thousandths of a core.\n"
    )


def _growth(runs: list[dict[str, Any]]) -> str:
    head = (
        "| broker | units | capture to receipt p50 / p95 / p99, ms | unit, control room, broker: cores | "
        "a unit, MB | control room, MB | broker, MB | alerts made = received | lost | load before |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_growth_row(run) for run in runs)


def _growth_row(run: dict[str, Any]) -> str:
    delay, cores, memory = run["steady"]["capture_to_receipt_ms"], run["steady"]["cores"], run["memory"]
    alerts = run["alerts"]
    same = alerts["made"] == alerts["at_control_room"]
    count = f"{alerts['made']}" if same else f"{alerts['made']} ≠ {alerts['at_control_room']}"
    return (
        f"| {NAMES[run['broker']]} | {run['units']} | {delay['p50']} / {delay['p95']} / {delay['p99']} | "
        f"{', '.join(str(cores.get(part, '?')) for part in ('units', 'desk', 'broker'))} | "
        f"{memory['each_unit_mb']} | "
        f"{memory['desk_mb']} | {memory['broker_mb']} | {count} | {alerts['lost']} | {run['load_before']} |\n"
    )


def _storms(runs: list[dict[str, Any]]) -> str:
    head = (
        "| broker | units | all hit at once: last receipt, s | receipts/s | p50 / p99, ms | arrived again | "
        "all connections lost: half back, s | all back, s |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_storm_row(run) for run in runs)


def _storm_row(run: dict[str, Any]) -> str:
    hit, back = run["all_at_once"], run["reconnect"]
    delay = hit.get("capture_to_receipt_ms", {"p50": None, "p99": None})
    return (
        f"| {NAMES[run['broker']]} | {run['units']} | {hit['all_received_s']} | {hit['alerts_per_s']} | "
        f"{delay['p50']} / {delay['p99']} | {run['alerts']['arrived_again']} | {back['half_back_s']} | "
        f"{back['all_back_s']} |\n"
    )


def _failed(result: dict[str, Any]) -> str:
    failed = [*result["failed"], *(run for run in result["runs"] if "error" in run)]
    lines = [f"- {NAMES[run['broker']]}, {run['units']} units: {run['error']}" for run in failed]
    return "Runs that did not come to their end:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _sizing(result: dict[str, Any]) -> str:
    """What 50,000 units come to, each row reckoned from one measured figure by the rule beside it."""
    states = result.get("states")
    runs = [run for run in result["runs"] if run["broker"] == "mosquitto"]
    if not states or len(runs) < LEAST_RUNS:
        return ""
    small, large = runs[0], runs[-1]
    more = large["units"] - small["units"]
    kib = 1024 * (large["memory"]["broker_mb"] - small["memory"]["broker_mb"]) / more
    desk_ms, broker_ms = states["cpu_ms_each"]["desk"], states["cpu_ms_each"]["broker"]
    desks, brokers = _processes(desk_ms), _processes(2 * broker_ms)
    rate, back_s = large["all_at_once"]["alerts_per_s"], large["reconnect"]["all_back_s"]
    rows = [
        (
            "control rooms",
            f"{desk_ms} ms a state, one thread",
            "a state of each unit every 2 s; a core half busy",
            f"{_number(desks)} processes, {_number(SIZED / desks)} units each",
        ),
        (
            "Mosquitto, processor",
            f"{broker_ms} ms a state, one thread",
            "a lease for each state, taken as another state; a core half busy",
            f"{_number(brokers)} processes, {_number(SIZED / brokers)} units each",
        ),
        (
            "Mosquitto, memory",
            f"{kib:.0f} KiB a unit, from {small['units']} to {large['units']} units",
            "linear",
            f"{SIZED * kib / 1024 / 1024:.1f} GiB in all",
        ),
        (
            "every unit of one control room hits at once",
            f"{rate} receipts/s, with the units and the broker on the same cores",
            f"{_number(SIZED / desks)} alerts at that rate",
            _seconds(SIZED / desks, rate),
        ),
        (
            "every connection of one broker is lost at once",
            f"{large['units']} units back in {back_s} s, with the units on the same cores",
            f"{_number(SIZED / brokers)} units, linear",
            _seconds(SIZED / brokers, large["units"] / back_s if back_s else None),
        ),
    ]
    head = "| 50,000 units | measured | rule | reckoned |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _processes(ms_each: float) -> float:
    """How many single-threaded processes 50,000 units need, each half busy, at a state every 2 s."""
    return max(1.0, SIZED / DAEMON_STATE_S * ms_each / 1000 / HALF)


def _seconds(number: float, a_second: float | None) -> str:
    return f"{number / a_second:.0f} s" if a_second else "not known"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _two(spread: dict[str, Any]) -> str:
    return f"{spread['p50']} / {spread['p95']} ms"


if __name__ == "__main__":
    put(Path("build"), Path("docs"))
