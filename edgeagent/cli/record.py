"""`edgeagent record`: the published record of deployments, from their units' audit logs (R30)."""

from __future__ import annotations

import json
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from edgeagent.audit.verify import Published, published_line
from edgeagent.cli.interruption import progress
from edgeagent.cli.options import FILE, identity_with_role, json_option, open_trust, out_option, trust_options
from edgeagent.controlroom.record.build import build
from edgeagent.controlroom.record.log import files_of, read_log
from edgeagent.controlroom.record.model import Record
from edgeagent.controlroom.record.page import render
from edgeagent.controlroom.record.stretches import UnitLog
from edgeagent.controlroom.record.table import to_csv
from edgeagent.documents.deployment_return import DEPLOYMENT_RETURN, DeploymentReturn
from edgeagent.documents.keys import Role
from edgeagent.documents.table import STATE, sign, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import ConfigError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic

EXIT_UNVERIFIED = 1
LOG = click.Path(path_type=Path)


class _MakeUnlessNamed(click.Group):
    """`edgeagent record LOG…` is `edgeagent record make LOG…`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_MakeUnlessNamed)
def record() -> None:
    """Make the published record of deployments (R30). `record LOG…` is short for `record make LOG…`."""


@record.command()
@click.argument("logs", nargs=-1, required=True, type=LOG, metavar="LOG…")
@click.option(
    "--format", "form", type=click.Choice(["html", "csv", "json"]), default="html", show_default=True
)
@click.option("--return", "returns", multiple=True, type=FILE, help="Signed return; one a deployment.")
@click.option("--state", "states", multiple=True, type=FILE, help="A state that a unit published later.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of the page, e.g. Europe/London.")
@click.option("--out", type=FILE, help="File to write; else to the screen.")
@trust_options
def make(
    logs: tuple[Path, ...],
    form: str,
    returns: tuple[Path, ...],
    states: tuple[Path, ...],
    zone: str,
    out: Path | None,
    trust_file: Path,
    root: str,
) -> None:
    """Make the record from each unit's LOG: its audit folder, or one file of it.

    Each log is verified first. If one does not verify, the record is made, says so, and the exit is 1. No
    person is named: signers appear by role and key, the list by counts of which small ones are withheld.
    """
    trust, now = open_trust(trust_file, root), SystemClock().now()
    shown = _zone(zone)
    lines = _published(states, trust)
    read = _read(logs, trust, lines)
    made = build(read, [_return(file, trust, now) for file in returns])
    text = _text(made, form, shown)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(out, text.encode())
        click.echo(f"{out}: {_summary(made)}", err=True)
    for log in read:
        click.echo(click.style(f"{log.unit}: {log.verdict}", fg="green" if log.verified else "red"), err=True)
    if not made.verified:
        raise click.exceptions.Exit(EXIT_UNVERIFIED)


def _text(made: Record, form: str, zone: tzinfo) -> str:
    if form == "json":
        return made.model_dump_json(indent=1) + "\n"
    return to_csv(made) if form == "csv" else render(made, zone)


def _summary(made: Record) -> str:
    count = len(made.deployments)
    what = "test" if made.test else "deployment"
    return f"record of {count} {what}{'' if count == 1 else 's'}"


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise ConfigError("is no time zone", where="--zone", next_step="e.g. Europe/London") from cause


def _published(states: tuple[Path, ...], trust: TrustStore) -> dict[str, list[Published]]:
    said: dict[str, list[Published]] = {}
    for file in states:
        unit, line = published_line(read_bounded(file, STATE.limit), trust, file.name)
        said.setdefault(unit, []).append(line)
    return said


def _read(logs: tuple[Path, ...], trust: TrustStore, published: dict[str, list[Published]]) -> list[UnitLog]:
    """Every log; a bar on the terminal shows how far, since a log may have a gigabyte."""
    files = [files_of(log) for log in logs]
    octets = sum(path.stat().st_size for each in files for path in each)
    with progress(octets, "verifying") as done:
        read = [read_log(each, trust, progress=done) for each in files]
    again = [
        read_log(each, trust, published[log.unit], progress=lambda _: None)
        if log.verified and log.unit in published
        else log
        for each, log in zip(files, read, strict=True)
    ]
    strangers = set(published) - {log.unit for log in read}
    if strangers:
        raise ConfigError(
            f"is of {min(strangers)}, whose log is not given", where="--state", next_step="give that log too"
        )
    return again


def _return(file: Path, trust: TrustStore, now: Instant) -> DeploymentReturn:
    return verify(DEPLOYMENT_RETURN, read_bounded(file, DEPLOYMENT_RETURN.limit), trust, now).body


@record.command("return")
@click.option("--key", "key_file", required=True, type=FILE, help="Control room's private key.")
@click.option("--deployment", required=True, help="Deployment identifier, as in the authority.")
@click.option("--subjects", required=True, type=click.IntRange(0), help="Test subjects who walked past.")
@click.option("--passes", required=True, type=click.IntRange(0), help="How often they walked past in all.")
@click.option("--officer-hours", type=click.FloatRange(0), help="If not what the leases say.")
@out_option
@json_option
def sign_return(
    key_file: Path,
    deployment: str,
    subjects: int,
    passes: int,
    officer_hours: float | None,
    out: Path,
    as_json: bool,
) -> None:
    """Sign what only the control room knows: how often test subjects walked past, and officers' hours."""
    if passes < subjects:
        raise ConfigError(
            "is less than the subjects who walked past", where="--passes", next_step="count every pass"
        )
    body = DeploymentReturn(
        deployment=deployment,
        issued_at=SystemClock().now().wall,
        subjects=subjects,
        passes=passes,
        officer_hours=officer_hours,
    )
    write_atomic(out, sign(DEPLOYMENT_RETURN, body, identity_with_role(key_file, Role.CONTROL_ROOM)))
    said = body.model_dump(mode="json")
    click.echo(json.dumps(said) if as_json else f"{out}: {passes} passes of {subjects} test subjects")
