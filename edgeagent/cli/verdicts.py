"""`edgeagent alerts open | decide | outcome`: two people decide about an alert (R20, R21, R29)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from edgeagent.cli.options import FILE, config_option, configured_trust, identity_with_role, json_option
from edgeagent.config import load_desk_config
from edgeagent.controlroom.verdicts import Known, Verdicts
from edgeagent.documents.keys import Role
from edgeagent.documents.words import span
from edgeagent.safeguards.verdict import Choice, Finding, Result
from edgeagent.system.clock import SystemClock


def desk_verdicts(config: Path) -> Verdicts:
    """The desk's verdicts, kept beside the ids of the alerts that arrived."""
    desk = load_desk_config(config)
    return Verdicts(desk.path(desk.desk.data), configured_trust(desk.trust, desk.file))


@click.command("open")
@config_option("desk.toml")
@json_option
def open_(config: Path, as_json: bool) -> None:
    """List alerts without an outcome, with their age, and whose turn it is."""
    now = SystemClock().now().wall
    with desk_verdicts(config) as verdicts:
        waiting = verdicts.open_alerts()
    if as_json:
        click.echo(json.dumps([_for_program(known, now) for known in waiting]))
        return
    for known in waiting:
        bench = "  (bench)" if known.kind == "bench" else ""
        age = span(max((now - known.made_at).total_seconds(), 0.0))
        click.echo(f"{known.alert}  {known.unit}  {age:>12} old, waits for the {known.waits_for}{bench}")
    click.echo(f"{len(waiting)} open", err=True)


def _for_program(known: Known, now: datetime) -> dict[str, object]:
    return {
        "alert": known.alert,
        "unit": known.unit,
        "deployment": known.deployment,
        "kind": known.kind,
        "age_s": round((now - known.made_at).total_seconds(), 1),
        "waits_for": known.waits_for,
    }


@click.command()
@click.argument("alert")
@config_option("desk.toml")
@click.option("--engage", "choice", flag_value=Choice.ENGAGE.value, help="An officer should look as well.")
@click.option(
    "--reject", "choice", flag_value=Choice.REJECT.value, help="It is not the person; this ends it."
)
@click.option("--key", "key_file", required=True, type=FILE, help="The operator's own key.")
def decide(alert: str, config: Path, choice: str | None, key_file: Path) -> None:
    """The operator's decision about ALERT (or the first digits of it), after looking at both pictures."""
    if choice is None:
        raise click.UsageError("decide: --engage or --reject")
    operator = identity_with_role(key_file, Role.OPERATOR)
    with desk_verdicts(config) as verdicts:
        known = verdicts.find(alert)
        verdicts.decide(known, Choice(choice), operator, SystemClock().now())
    then = "an officer decides next" if choice == Choice.ENGAGE else "ended: no action"
    click.echo(f"{known.alert}: {operator.name} decided to {choice}; {then}")


@click.command()
@click.argument("alert")
@config_option("desk.toml")
@click.option("--finding", required=True, type=click.Choice([str(one) for one in Finding]))
@click.option("--outcome", "result", required=True, type=click.Choice([str(one) for one in Result]))
@click.option("--key", "key_file", required=True, type=FILE, help="The officer's own key.")
def outcome(alert: str, config: Path, finding: str, result: str, key_file: Path) -> None:
    """What the officer found and what came of ALERT; another person than the operator."""
    officer = identity_with_role(key_file, Role.OFFICER)
    with desk_verdicts(config) as verdicts:
        known = verdicts.find(alert)
        judged = verdicts.conclude(known, Finding(finding), Result(result), officer, SystemClock().now())
    click.echo(f"{known.alert}: {judged.was.replace('_', ', ')} alert, {result.replace('_', ' ')}")
