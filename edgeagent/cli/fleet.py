"""`edgeagent fleet`: many simulated units against a broker, on a bench."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.interruption import Interruption
from edgeagent.cli.options import FILE, FOLDER, json_option
from edgeagent.errors import ConfigError
from edgeagent.fleet.report import account, costs, delays
from edgeagent.fleet.run import Fleet, Tell
from edgeagent.fleet.settings import Outage, Scenario, load_broker

BAR = 1000


class _OutageType(click.ParamType[Outage]):
    """AT:SECONDS."""

    name = "at:seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Outage:
        """Two numbers with a colon between them."""
        if isinstance(value, Outage):
            return value
        at_s, _, lasts_s = str(value).partition(":")
        try:
            return Outage(float(at_s), float(lasts_s))
        except ValueError:
            self.fail(f"{value!r} is not AT:SECONDS, such as 10:5", param, ctx)


@click.group()
def fleet() -> None:
    """Simulate a fleet of units on a bench."""


@fleet.command()
@click.option("--units", required=True, type=int, help="How many.")
@click.option("--broker-config", required=True, type=FILE, help="TOML file with [broker]; see docs/fleet.md.")
@click.option("--seconds", default=60.0, show_default=True, help="How long hits are made.")
@click.option("--hits-per-minute", default=1.0, show_default=True, help="Of each unit, at random times.")
@click.option("--all-at", multiple=True, type=float, help="Second at which every unit has a hit; repeat.")
@click.option(
    "--outage", "outages", multiple=True, type=_OutageType(), help="Cut the units' network; repeat."
)
@click.option(
    "--kill", "kills", multiple=True, type=float, help="Second at which a process is killed; repeat."
)
@click.option("--state-every", default=2.0, show_default=True, help="Seconds between a unit's states.")
@click.option("--per-process", default=100, show_default=True, help="Units that share a process.")
@click.option("--seed", default=1, show_default=True, help="Of hits, kills and jitter; never of a key.")
@click.option("--folder", type=FOLDER, help="Keep outboxes, logs and the control room's file here; empty.")
@json_option
def simulate(
    units: int,
    broker_config: Path,
    seconds: float,
    hits_per_minute: float,
    all_at: tuple[float, ...],
    outages: tuple[Outage, ...],
    kills: tuple[float, ...],
    state_every: float,
    per_process: int,
    seed: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run the real outbox, signing, sealing and link of many units, and the real receiver, without cameras.

    For a broker of your own, never one on duty: it ends at once when it hears a live unit (R33). Keys are
    made for the run and forgotten; alerts are a bench's, on bench topics, and no control room trusts them.
    """
    scenario = Scenario(
        units=units,
        seconds=seconds,
        hits_per_minute=hits_per_minute,
        seed=seed,
        all_at=all_at,
        outages=outages,
        kills=kills,
        state_every_s=state_every,
        per_process=per_process,
    )
    broker = load_broker(broker_config)
    with _folder(folder) as place, _teller() as tell, Fleet(scenario, broker, place, tell) as running:
        running.start()
        before = running.usages()
        running.play([])
        cost = costs(before, running.usages())
        running.stop()
        result = {
            "units": units,
            "processes": scenario.processes,
            "seed": seed,
            "alerts": account(running),
            **delays(running.ledger, 0.0, seconds),
            "most_late_ms": round(running.ledger.late_ms, 1),
            "cost": cost,
        }
    _show(result, as_json)
    alerts = result["alerts"]
    raise click.exceptions.Exit(1 if alerts["lost"] or alerts["made"] != alerts["received"] else 0)


@contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    """The folder that was asked for, which must be empty, or one that is removed afterwards."""
    if asked is None:
        made = Path(tempfile.mkdtemp(prefix="edgeagent-fleet-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    asked.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(asked.iterdir()):
        raise ConfigError("is not empty", where=str(asked), next_step="name a new folder")
    yield asked


@contextmanager
def _teller() -> Iterator[Tell]:
    """A progress bar on standard error, with what is being done; Ctrl-C counts between two steps."""
    with Interruption() as end, click.progressbar(length=BAR, label="", file=sys.stderr) as bar:

        def tell(what: str, share: float) -> None:
            bar.label = what or bar.label
            bar.update(max(0, int(min(share, 1.0) * BAR) - bar.pos))
            end.step()

        yield tell


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result))
        return
    alerts, cost = result["alerts"], result["cost"]
    click.echo(
        f"{result['units']} units in {result['processes']} process(es): {alerts['made']} alerts made, "
        f"{alerts['at_control_room']} at the control room, {alerts['expired']} expired, "
        f"{alerts['lost']} lost, {alerts['arrived_again']} arrived again"
    )
    for name in ("capture_to_receipt_ms", "capture_to_release_ms"):
        said = result[name]
        click.echo(
            f"{name.replace('_', ' ')}: p50 {said['p50']}, p95 {said['p95']}, p99 {said['p99']}, "
            f"most {said['most']}"
        )
    for part, used in cost.items():
        if part == "broker" and not used["pss_mb"]:
            continue  # it was not said which process that is
        click.echo(f"{part}: {used['pss_mb']} MB (PSS), {used['cpu_s']} s of processor time")
