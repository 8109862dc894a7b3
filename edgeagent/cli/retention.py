"""`edgeagent retention`: until when alerts can be read, and the end of that (R3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.options import (
    FILE,
    FOLDER,
    config_option,
    configured_trust,
    identity_with_role,
    json_option,
    out_option,
)
from edgeagent.config import load_desk_config
from edgeagent.controlroom.retention import Holdings, Kept, erase_rows, new_alert_key, survey
from edgeagent.controlroom.retention_erasure import Eraser, ErasureLog, begun_in
from edgeagent.documents.keys import Role, save_identity
from edgeagent.documents.words import span
from edgeagent.errors import ClockError, SafeguardError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock

EXIT_OVERDUE = 1
LOG = "retention.jsonl"
"""The log of erasures, beside the desk's configuration."""
FOLDERS = click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="DIR…")


@click.group()
def retention() -> None:
    """Keep alerts no longer than the authority allows: the life of each deployment's alert key (R3)."""


@retention.command()
@click.argument("deployment")
@click.option("--from", "desk_file", required=True, type=FILE, help="The control room's private key.")
@out_option
def key(deployment: str, desk_file: Path, out: Path) -> None:
    """Make the alert key of DEPLOYMENT: the control room's key file with a sealing key for it alone.

    Give its public half (`keys public`) to whoever signs the authority, name it in desk.toml, and keep it
    nowhere else: copies of it cannot be found and destroyed.
    """
    identity = new_alert_key(identity_with_role(desk_file, Role.CONTROL_ROOM))
    save_identity(identity, out)
    click.echo(f"{out}: alert key of {deployment}, {identity.seal_key.x[:12]}…")


@retention.command()
@FOLDERS
@config_option("desk.toml")
@json_option
def status(folders: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """Show until when the alerts of each deployment in DIR… can be read.

    Exit 1 if any are overdue, or something does not end by itself: a key of no known authority, a link.

    DIR holds signed authorities, control-room key files and files of received alerts, at any depth.
    """
    desk, now = load_desk_config(config), SystemClock().now()
    holdings = survey(folders, configured_trust(desk.trust, desk.file), now)
    begun = list(begun_in(folders))
    late = [one for one in holdings.kept if one.overdue(now)]
    if as_json:
        click.echo(json.dumps(_for_program(holdings, now) | {"unfinished": [str(path) for path, _ in begun]}))
    else:
        _print(holdings, now)
        for path, deployment in begun:
            click.secho(f"{path}: erasing the key of {deployment} was begun, not finished", fg="red")
    if late or holdings.doubtful or begun:
        raise click.exceptions.Exit(EXIT_OVERDUE)


@retention.command()
@FOLDERS
@config_option("desk.toml")
@click.option("--deployment", help="This deployment's now, even if its time has not come.")
@click.option("--yes", is_flag=True, help="With --deployment, do not ask.")
@click.option("--clock-checked", is_flag=True, help="You looked: the date and time here are right.")
@json_option
def expire(
    folders: tuple[Path, ...],
    config: Path,
    deployment: str | None,
    yes: bool,
    clock_checked: bool,
    as_json: bool,
) -> None:
    """Destroy the alert keys in DIR… whose time has come, and what is kept of their alerts. For a timer.

    Whatever copy of a sealed alert there is then opens for nobody. Erasures are logged in retention.jsonl
    beside the configuration. Exit: 0 nothing is overdue any more, 1 something still is.
    """
    desk, now = load_desk_config(config), SystemClock().now()
    trust = configured_trust(desk.trust, desk.file)
    holdings = survey(folders, trust, now)
    chosen = _chosen(holdings, deployment, now, yes=yes, clock_checked=clock_checked)
    with ErasureLog(desk.path(LOG), desk.desk.name) as log:
        eraser = Eraser(log)
        done = [{"deployment": name, "what": "alert_key"} for name in eraser.finish_begun(folders, now)]
        for one in chosen:
            done += _erase(one, eraser, log, now)
    for each in done:
        click.echo(f"{each['deployment']}: {each['what'].replace('_', ' ')} destroyed", err=as_json)
    left = survey(folders, trust, now)
    if as_json:
        click.echo(json.dumps(_for_program(left, now) | {"erased": done}))
    elif not done:
        click.echo("nothing is due")
    late = [one for one in left.kept if one.overdue(now)]
    for one in late:
        click.secho(_line(one, now), fg="red", err=True)
    for finding in _findings(left):
        click.secho(finding, fg="red", err=True)
    if late or left.problems or left.links:
        raise click.exceptions.Exit(EXIT_OVERDUE)


def _chosen(
    holdings: Holdings, deployment: str | None, now: Instant, *, yes: bool, clock_checked: bool
) -> list[Kept]:
    """What may be erased now.

    Raises:
        ClockError: nobody vouches for the clock, which decides.
        SafeguardError: R3, no such deployment, or its key still serves another.
    """
    if deployment is None:
        due = [one for one in holdings.kept if one.overdue(now)]
        if due and not (now.synchronised or clock_checked):
            raise ClockError(
                "nobody vouches for this machine's clock",
                where="clock",
                next_step="set up time synchronisation, or look at the clock and add --clock-checked",
            )
        return due
    named = [one for one in holdings.kept if one.deployment == deployment]
    if not named or named[0].shared:
        what = f"its key still serves {', '.join(named[0].shared)}" if named else "no authority of it is here"
        raise SafeguardError(what, where=deployment, next_step="edgeagent retention status DIR…", rule="R3")
    if not yes:
        early = "" if named[0].overdue(now) else f", {span((named[0].due - now.wall).total_seconds())} early"
        click.confirm(f"Destroy the alert key of {deployment}{early}, for good?", abort=True, err=True)
    return named


def _erase(one: Kept, eraser: Eraser, log: ErasureLog, now: Instant) -> list[dict[str, str]]:
    done = []
    for path in one.keys:
        if path not in one.held:  # a key that still serves another deployment is not destroyed early
            eraser.key(path, one.deployment, now)
            done.append({"deployment": one.deployment, "what": "alert_key"})
    for store in one.stores:
        log.reserve("received_alerts", one.deployment, now)
        if erase_rows(store, one.deployment):
            log.commit()
            done.append({"deployment": one.deployment, "what": "received_alerts"})
    return done


# --- what it looks like -------------------------------------------------------------------------------------


def _print(holdings: Holdings, now: Instant) -> None:
    if not holdings.kept:
        click.echo("no authority here")
    for one in holdings.kept:
        colour = "red" if one.overdue(now) else "green" if not one.readable else None
        click.secho(_line(one, now), fg=colour, bold=one.overdue(now))
    for finding in _findings(holdings):
        click.secho(finding, fg="red")


def _findings(holdings: Holdings) -> list[str]:
    """What does not end by itself, in words."""
    return [
        *(f"cannot be relied on, so its key does not end by itself: {each}" for each in holdings.problems),
        *(f"{path}: a private key to which no authority here seals alerts" for path in holdings.orphans),
        *(
            f"{path}: a link; what it leads to was not looked at and is not destroyed"
            for path in holdings.links
        ),
    ]


def _line(one: Kept, now: Instant) -> str:
    away = (one.due - now.wall).total_seconds()
    when = f"{one.due:%Y-%m-%d %H:%M} UTC"
    if not one.readable:
        return f"{one.deployment}: no key found here (limit {when})"
    word = f"until {when} (in {span(away)})" if away > 0 else f"OVERDUE since {when} ({span(-away)})"
    rows = sum(one.stores.values())
    what = ", ".join(
        [f"key in {path}" for path in one.keys] + ([f"{rows} received alerts by number"] if rows else [])
    )
    shared = f"; the key also serves {', '.join(one.shared)}" if one.shared else ""
    return f"{one.deployment}: readable {word}: {what}{shared}"


def _for_program(holdings: Holdings, now: Instant) -> dict[str, Any]:
    return {
        "as_of": now.wall.isoformat(),
        "deployments": [
            {
                "deployment": one.deployment,
                "due": one.due.isoformat(),
                "readable": one.readable,
                "overdue": one.overdue(now),
                "keys": [str(path) for path in one.keys],
                "shared_with": list(one.shared),
                "received_alerts": sum(one.stores.values()),
            }
            for one in holdings.kept
        ],
        "problems": list(holdings.problems),
        "orphans": [str(path) for path in holdings.orphans],
        "links": [str(path) for path in holdings.links],
    }
