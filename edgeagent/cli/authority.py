"""`edgeagent authority`: sign a deployment authority, add a second signature, read one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from edgeagent.cli.options import (
    FILE,
    FOLDER,
    identity_with_role,
    json_option,
    open_trust,
    out_option,
    trust_options,
)
from edgeagent.cli.revoke import revoke
from edgeagent.config import read_table
from edgeagent.documents.jws import add_signatures, strict_json, unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.parse import parse
from edgeagent.documents.table import AUTHORITY, BENCH_AUTHORITY, sign, typ_of, verify
from edgeagent.documents.trust import TrustedKey
from edgeagent.documents.watchlist_file import FILE_LIMIT
from edgeagent.errors import ConfigError, DocumentError
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.model_use import use_allowed
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic
from edgeagent.system.modelpack import default_pack_folder, load_pack


@click.group()
def authority() -> None:
    """Sign and read deployment authorities: where, why, when, with which list and threshold."""


@authority.command("sign")
@click.option("--key", "key_file", required=True, type=FILE, help="Authorising officer's, or bench, key.")
@click.option("--from", "terms_file", required=True, type=FILE, help="TOML file of what is authorised.")
@click.option("--watchlist", "watchlist_file", required=True, type=FILE, help="The list it is for.")
@click.option("--alert-key", "desk_file", required=True, type=FILE, help="Desk's public key; crops go to it.")
@click.option("--models", type=FOLDER, default=None, help="Model pack; the installed one if not given.")
@out_option
def sign_authority(
    key_file: Path, terms_file: Path, watchlist_file: Path, desk_file: Path, models: Path | None, out: Path
) -> None:
    """Sign an authority; hashes of the watchlist and the model pack are filled in."""
    identity = identity_with_role(key_file, Role.AUTHORISING_OFFICER, Role.BENCH)
    desk = parse(TrustedKey, read_bounded(desk_file, 4096), str(desk_file))
    pack = load_pack(models or default_pack_folder())
    terms = _read_terms(terms_file) | {
        "issued_at": SystemClock().now().wall,
        "watchlist_sha256": hashlib.sha256(read_bounded(watchlist_file, FILE_LIMIT)).hexdigest(),
        "model_pack_sha256": pack.sha256,
        "alert_key": desk.seal.model_dump(),
    }
    body = _authority(terms, terms_file)
    use_allowed(body, pack.use)
    kind = AUTHORITY if body.kind is Kind.LIVE else BENCH_AUTHORITY
    write_atomic(out, sign(kind, body, identity))
    click.echo(f"{out}: {body.kind} authority for {body.deployment} until {body.end.isoformat()}")


def _read_terms(file: Path) -> dict[str, Any]:
    return read_table(file, AUTHORITY.limit, "copy deploy/authority-example.toml and write your own terms")


def _authority(terms: dict[str, Any], file: Path) -> Authority:
    try:
        return Authority.model_validate_json(json.dumps(terms, default=lambda moment: moment.isoformat()))
    except ValidationError as cause:
        fault = cause.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(str(fault["msg"]), where=f"{file}: {key}", next_step="correct the value") from None


@authority.command()
@click.option("--key", "key_file", required=True, type=FILE, help="Independent approver's key.")
@click.argument("file", type=FILE)
@out_option
def approve(key_file: Path, file: Path, out: Path) -> None:
    """Add the independent approver's signature to an authority FILE that was read and agreed with (R27)."""
    identity = identity_with_role(key_file, Role.INDEPENDENT_APPROVER)
    document = read_bounded(file, AUTHORITY.limit)
    if typ_of(document) != AUTHORITY.typ:
        raise DocumentError("is not a live authority", where=str(file), next_step="check the file's name")
    payload = unbase64url(strict_json(document)["payload"])
    parse(Authority, payload, str(file))
    write_atomic(out, add_signatures(document, payload, AUTHORITY.typ, identity.signing))
    click.echo(f"{out}: approved by {identity.name}")


@authority.command()
@click.argument("file", type=FILE)
@trust_options
@json_option
def inspect(file: Path, trust_file: Path, root: str, as_json: bool) -> None:
    """Verify FILE and print what it says and who signed it."""
    document = read_bounded(file, AUTHORITY.limit)
    kind = BENCH_AUTHORITY if typ_of(document) == BENCH_AUTHORITY.typ else AUTHORITY
    verified = verify(kind, document, open_trust(trust_file, root), SystemClock().now())
    said = verified.body.model_dump(mode="json")
    said["signed_by"] = [f"{key.name} ({key.role})" for key in verified.signers]
    said["sha256"] = hashlib.sha256(document).hexdigest()
    if as_json:
        click.echo(json.dumps(said))
        return
    for name, value in said.items():
        click.echo(f"{name:22} {value}")


authority.add_command(revoke)
