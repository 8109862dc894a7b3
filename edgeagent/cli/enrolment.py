"""`edgeagent enrolment`: at the control room, inviting units and deciding on what they ask."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgeagent.cli.ca import DAYS, USUAL_DAYS, read_passphrase
from edgeagent.cli.options import FILE, FOLDER, config_option, desk_identity, json_option
from edgeagent.config import DeskConfig, load_desk_config
from edgeagent.controlroom.enrol_decide import Authority, approve, refuse
from edgeagent.controlroom.enrol_desk import Room, examine, invite
from edgeagent.controlroom.enrol_register import Because, Event, Line, open_register
from edgeagent.documents.enrol_request import REQUEST_LIMIT, Asked
from edgeagent.documents.trust import TRUST_STORE_LIMIT, open_trust_store
from edgeagent.errors import KeyFileError
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic

CONFIG = "/etc/edgeagent/desk.toml"
REGISTER = "enrolment"
"""Beside the desk's configuration, unless --register says otherwise."""

_config = config_option(CONFIG)
_register = click.option("--register", type=FOLDER, help="The register's folder; else beside the file.")
_request = click.argument("request", type=FILE)


@click.group()
def enrolment() -> None:
    """At the control room: invite a unit, look at its request, approve or refuse it.

    The code is never shown here. It comes from the unit itself, read out by somebody who stands before it.
    """


@enrolment.command("invite")
@click.argument("unit")
@click.option("--days", default=14, show_default=True, type=click.IntRange(1, 90), help="Until it expires.")
@click.option("--out", required=True, type=FILE, help="enrolment.toml, for the card's boot partition.")
@_config
@_register
def invite_command(unit: str, days: int, out: Path, config: Path, register: Path | None) -> None:
    """Make UNIT's enrolment.toml with a token that counts once; its earlier ones count no more."""
    desk = load_desk_config(config)
    broker = f"{desk.broker.host}:{desk.broker.port}"
    with open_register(_folder(desk, register)) as book:
        content = invite(book, _room(desk), unit, broker, desk.path(desk.broker.ca), days)
    write_atomic(out, content, mode=0o600)
    click.echo(f"{out}: invitation of {unit}, good for {days} days and one enrolment; keep it as a secret")


@enrolment.command()
@_request
@_config
@_register
@json_option
def show(request: Path, config: Path, register: Path | None, as_json: bool) -> None:
    """Check REQUEST as far as it can be without its code, and say what it asks."""
    desk = load_desk_config(config)
    with open_register(_folder(desk, register)) as book:
        checked, invited = examine(book, _room(desk), _read(request), desk.path(desk.broker.ca))
        old = book.enrolled(checked.asked.unit)
    asked = checked.asked
    if as_json:
        click.echo(json.dumps({**asked.model_dump(mode="json"), "begun": invited.decided is not None}))
        return
    click.echo(f"{request}\n{_lines(asked)}")
    if old is not None and old.kid != asked.kid:
        click.echo(f"name         TAKEN by key {old.kid[:12]}…: approving needs --replaces")
    click.echo("→ have the code read from the unit, then: edgeagent enrolment approve REQUEST --code …")


def _lines(asked: Asked) -> str:
    return "\n".join(
        (
            f"unit         {asked.unit}, request {asked.number} of its card",
            f"signing key  {asked.kid}",
            f"TLS key      {asked.tls_sha256[:32]}… (SHA-256)",
            f"keys kept    {asked.kept} (the unit's word)",
            "proven       all three keys, the token, and that it was told to trust this control room",
            "NOT proven   which machine this is: only the code shows that",
        )
    )


@enrolment.command("approve")
@_request
@click.option("--code", required=True, help="As somebody reads it from the unit itself.")
@click.option("--ca-folder", required=True, type=FOLDER, help="The TLS authority's folder.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Of the authority, mode 0600.")
@click.option("--replaces", is_flag=True, help="It takes the place of a unit of this name: revoke that one.")
@click.option("--days", default=USUAL_DAYS, show_default=True, type=DAYS, help="How long its keys count.")
@_config
@_register
@json_option
def approve_command(
    request: Path,
    code: str,
    ca_folder: Path,
    passphrase_file: Path | None,
    replaces: bool,
    days: int,
    config: Path,
    register: Path | None,
    as_json: bool,
) -> None:
    """Approve REQUEST, if CODE is the one that its unit shows."""
    desk = load_desk_config(config)
    authority = Authority(ca_folder, read_passphrase(passphrase_file), days)
    with open_register(_folder(desk, register)) as book:
        made = approve(book, _room(desk), _read(request), code, authority, replaces=replaces)
    if as_json:
        said = {"folder": made.folder, "key": made.key, "crl": made.crl}
        plain = {name: None if path is None else str(path) for name, path in said.items()}
        click.echo(json.dumps({**plain, "revoked": [str(path) for path in made.revoked]}))
        return
    click.echo(f"approved: {made.folder}")
    click.echo("→ take this folder to the unit: edgeagent enrol finish FOLDER")
    click.echo(
        f"→ have the root's holder sign the next trust store with {made.key}"
        + "".join(f" and {path}" for path in made.revoked)
        + "; until it is installed here, this desk believes nothing that the unit says"
    )
    if made.crl is not None:
        click.echo(f"→ take {made.crl} to every broker, and restart it: the old certificate is revoked")


@enrolment.command("refuse")
@_request
@click.option("--because", required=True, type=click.Choice([str(reason) for reason in Because]))
@_config
@_register
def refuse_command(request: Path, because: str, config: Path, register: Path | None) -> None:
    """Refuse REQUEST for good: its token is used up."""
    desk = load_desk_config(config)
    with open_register(_folder(desk, register)) as book:
        refuse(book, _room(desk), _read(request), Because(because), desk.path(desk.broker.ca))
    click.echo(f"refused: {request}; its unit needs a new invitation")


@enrolment.command("list")
@_config
@_register
@json_option
def list_command(config: Path, register: Path | None, as_json: bool) -> None:
    """Show the register: who was invited, approved and refused, when, by which key."""
    with open_register(_folder(load_desk_config(config), register)) as book:
        lines = list(book.lines)
    if as_json:
        click.echo(json.dumps([line.model_dump(mode="json") for line in lines]))
        return
    for line in lines:
        click.echo(_row(line))


def _row(line: Line) -> str:
    notes = {
        Event.INVITED: f"until {line.expires_at:%Y-%m-%d}" if line.expires_at else "",
        Event.APPROVED: f"key {line.key.kid[:12]}…" if line.key else "",
        Event.REFUSED: line.because or "",
    }
    more = ", takes the place of another" if line.replacing else ""
    said = f"{line.by}  {notes.get(line.event, '')}{more}"
    return f"{line.at:%Y-%m-%d %H:%M}  {line.unit:<20} {line.event:<13} {said}"


def _folder(desk: DeskConfig, register: Path | None) -> Path:
    return register or desk.path(REGISTER)


def _room(desk: DeskConfig) -> Room:
    content = read_bounded(desk.path(desk.trust.store), TRUST_STORE_LIMIT, KeyFileError)
    trust = open_trust_store(content, desk.trust.root)
    return Room(desk_identity(desk), desk.trust.root, trust, content, SystemClock().now())


def _read(request: Path) -> bytes:
    return read_bounded(request, REQUEST_LIMIT)
