"""`edgeagent keys ca`: a small offline authority for the broker's TLS certificates."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.options import FILE, FOLDER, json_option
from edgeagent.errors import KeyFileError
from edgeagent.system.certificates import issue, issue_for_request, make_authority
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded
from edgeagent.system.revocation import (
    REASONS,
    Issued,
    crl_warning,
    list_issued,
    renew,
    revoke,
    write_crl,
)

DAYS = click.IntRange(1, 825)
"""At most: what browsers and OpenSSL's own advice have settled on for certificates of machines."""
USUAL_DAYS = 365
CRL_DAYS = 90
LEAST_PASSPHRASE = 16
PASSPHRASE_LIMIT = 1024
REQUEST_LIMIT = 8192

_folder = click.option(
    "--folder", required=True, type=FOLDER, help="The authority's folder; best on a medium kept in a safe."
)
_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="File with the passphrase, mode 0600; without it you are asked.",
)
_days = click.option("--days", default=USUAL_DAYS, show_default=True, type=DAYS, help="How long it is valid.")
_crl_days = click.option(
    "--crl-days",
    default=CRL_DAYS,
    show_default=True,
    type=DAYS,
    help="How long the CRL is valid; afterwards a broker refuses everybody.",
)


@click.group()
def ca() -> None:
    """Make, renew and revoke the TLS certificates of broker, units and desks.

    The authority works offline: its folder belongs on a medium of its own, not on the broker. A force that
    has a public-key infrastructure or step-ca uses that instead; docs/brokers.md says what it must put into
    the certificates, and how openssl does the same.
    """


@ca.command()
@_folder
@click.option("--name", default="edgeagent", show_default=True, help="Name of the authority.")
@_crl_days
@_passphrase
@json_option
def init(folder: Path, name: str, crl_days: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Make an authority, its private key encrypted, and an empty CRL."""
    passphrase = read_passphrase(passphrase_file, new=True)
    now = _now()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = make_authority(folder, name, now=now, passphrase=passphrase)
    crl = write_crl(folder, days=crl_days, now=now, passphrase=passphrase)
    _say(as_json, certificate=made.cert, key=made.key, crl=crl)


@ca.command("issue")
@click.argument("name")
@_folder
@click.option(
    "--host", "hosts", multiple=True, help="NAME is a broker, reached under this name or address; repeat."
)
@click.option("--request", type=FILE, help="PEM request made on the device, so that its key stays there.")
@_days
@_passphrase
@json_option
def issue_command(
    name: str,
    folder: Path,
    hosts: tuple[str, ...],
    request: Path | None,
    days: int,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a certificate for NAME: a unit or desk, or with --host a broker."""
    if hosts and request:
        raise click.UsageError("--request is for a unit or desk, --host for a broker")
    passphrase, now = read_passphrase(passphrase_file), _now()
    if request is not None:
        content = read_bounded(request, REQUEST_LIMIT, KeyFileError)
        made = issue_for_request(folder, name, content, days=days, now=now, passphrase=passphrase)
        _say(as_json, certificate=made)
        return
    both = issue(folder, name, server=bool(hosts), hosts=hosts, days=days, now=now, passphrase=passphrase)
    _say(as_json, certificate=both.cert, key=both.key)


@ca.command("renew")
@click.argument("name")
@_folder
@_days
@_passphrase
@json_option
def renew_command(name: str, folder: Path, days: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a new certificate for NAME's present key: only the .crt has to be copied to the device."""
    passphrase = read_passphrase(passphrase_file)
    _say(as_json, certificate=renew(folder, name, days=days, now=_now(), passphrase=passphrase))


@ca.command("revoke")
@click.argument("name")
@_folder
@click.option("--reason", type=click.Choice(sorted(REASONS)), default="key-compromise", show_default=True)
@_crl_days
@_passphrase
@json_option
def revoke_command(
    name: str, folder: Path, reason: str, crl_days: int, passphrase_file: Path | None, as_json: bool
) -> None:
    """Revoke all of NAME's certificates and write the CRL, which must then go to every broker.

    A broker does not end connections that stand: see docs/brokers.md.
    """
    passphrase = read_passphrase(passphrase_file)
    gone = revoke(folder, name, reason=reason, crl_days=crl_days, now=_now(), passphrase=passphrase)
    _say(as_json, crl=folder / "ca.crl", revoked=[one.serial for one in gone])


@ca.command()
@_folder
@click.option("--days", default=CRL_DAYS, show_default=True, type=DAYS, help="How long it is valid.")
@_passphrase
@json_option
def crl(folder: Path, days: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Write the CRL anew: well before it ends, since from then on a broker refuses everybody."""
    passphrase = read_passphrase(passphrase_file)
    _say(as_json, crl=write_crl(folder, days=days, now=_now(), passphrase=passphrase))


@ca.command("list")
@_folder
@json_option
def list_command(folder: Path, as_json: bool) -> None:
    """Show every certificate issued here, and what ends soon; needs no passphrase."""
    now = _now()
    issued = list_issued(folder)
    newest = {one.name: one for one in issued if one.counts(now)}
    rows = [_row(one, now, last=newest.get(one.name, one) is one) for one in issued]
    ending = crl_warning(folder, now)
    if as_json:
        click.echo(json.dumps({"certificates": rows, "crl_warning": ending}))
        return
    for row in rows:
        kind = "broker" if row["hosts"] else "client"
        note = f"  {row['warning']}" if row["warning"] else ""
        click.echo(f"{row['name']:<24} {kind}  {row['state']:<8} until {row['until'][:10]}{note}")
    if ending:
        click.echo(ending)


def read_passphrase(file: Path | None, *, new: bool = False) -> bytes:
    """The passphrase from a file that only its owner reads, or from the terminal.

    There is no environment variable for it: those are handed to every child process and end up in logs.

    Raises:
        KeyFileError: the file is readable by others, or a new passphrase is too short.
    """
    if file is None:
        text = click.prompt("Passphrase of the authority", hide_input=True, confirmation_prompt=new, err=True)
        content = str(text).encode()
    else:
        _refuse_shared(file)
        content = read_bounded(file, PASSPHRASE_LIMIT, KeyFileError).rstrip(b"\r\n")
    if new and len(content) < LEAST_PASSPHRASE:
        raise KeyFileError(
            f"is shorter than {LEAST_PASSPHRASE} characters",
            where="passphrase",
            next_step="Use five random words or more.",
        )
    return content


def _refuse_shared(file: Path) -> None:
    """A pipe of the shell (`<(…)`) has no others; a file may."""
    try:
        mode = os.stat(file).st_mode  # noqa: PTH116 - follows what the shell hands over
    except OSError as error:
        raise KeyFileError(
            f"cannot be read: {error.strerror}", where=str(file), next_step="Check the path."
        ) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise KeyFileError(
            "may be read by others",
            where=str(file),
            next_step=f"chmod 600 {file}, and change the passphrase.",
        )


def _row(one: Issued, now: datetime, *, last: bool) -> dict[str, Any]:
    """`last`: none newer of its name counts, so that its end matters."""
    expired = one.certificate.not_valid_after_utc <= now
    state = "revoked" if one.revoked_at is not None else "expired" if expired else "valid"
    return {
        "name": one.name,
        "serial": one.serial,
        "hosts": list(one.hosts),
        "state": state,
        "until": one.certificate.not_valid_after_utc.isoformat(),
        "reason": one.reason,
        "warning": one.warning(now) if last else "",
    }


def _now() -> datetime:
    return SystemClock().now().wall.astimezone(UTC)


def _say(as_json: bool, **made: Path | list[str]) -> None:
    """One line a file, or one JSON object."""
    plain = {name: value if isinstance(value, list) else str(value) for name, value in made.items()}
    if as_json:
        click.echo(json.dumps(plain))
        return
    for name, value in plain.items():
        click.echo(f"{name}: {value if isinstance(value, str) else ', '.join(value)}")
