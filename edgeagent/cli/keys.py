"""`edgeagent keys`: private keys, the trust store, and TLS certificates."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import click
from pydantic import ValidationError

from edgeagent.cli.ca import ca
from edgeagent.cli.options import FILE, config_option, identity_with_role, out_option
from edgeagent.config import load_config, read_table
from edgeagent.documents.deployment_key import key_file, load_key, new_key, save_key, sign_key
from edgeagent.documents.jws import sign_general
from edgeagent.documents.keys import Role, load_identity, new_identity, save_identity
from edgeagent.documents.parse import parse
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.trust import TYP, TrustedKey, TrustStoreContent, trusted
from edgeagent.errors import ConfigError, SafeguardError
from edgeagent.safeguards.profile import Profile
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic

PUBLIC_LIMIT = 4096
DAYS = click.IntRange(1, 3650)


@click.group()
def keys() -> None:
    """Make keys, say whose count (the trust store), and make TLS certificates."""


keys.add_command(ca)


@keys.command()
@click.argument("role", type=click.Choice([str(role) for role in Role]))
@click.argument("name")
@out_option
def new(role: str, name: str, out: Path) -> None:
    """Make the private keys of ROLE for NAME (a person, or the unit's name)."""
    identity = new_identity(Role(role), name)
    save_identity(identity, out)
    click.echo(f"{out}: {role} key of {name}, thumbprint {identity.kid}")


@keys.command()
@click.argument("file", type=FILE)
@click.option("--days", default=365, show_default=True, type=DAYS, help="How long the key shall count.")
@out_option
def public(file: Path, days: int, out: Path) -> None:
    """Write the public halves of a private key FILE, for the root's holder to put into the trust store."""
    now = SystemClock().now().wall
    key = trusted(
        load_identity(file), not_before=now - timedelta(minutes=5), not_after=now + timedelta(days=days)
    )
    write_atomic(out, json.dumps(key.model_dump(mode="json"), indent=1).encode() + b"\n")
    click.echo(f"{out}: public {key.role} key of {key.name}, thumbprint {key.kid}")


@keys.command()
@click.option("--root", "root_file", required=True, type=FILE, help="The root's private key.")
@click.option("--profile", "profile_file", required=True, type=FILE, help="TOML file of the limits in force.")
@click.option(
    "--sequence", required=True, type=click.IntRange(min=1), help="One more than the last trust store's."
)
@click.argument("public_files", nargs=-1, type=FILE)
@out_option
def trust(
    root_file: Path, profile_file: Path, sequence: int, public_files: tuple[Path, ...], out: Path
) -> None:
    """Sign a trust store with the PUBLIC_FILES and the profile."""
    root = identity_with_role(root_file, Role.ROOT)
    content = TrustStoreContent(
        sequence=sequence,
        issued_at=SystemClock().now().wall,
        root_x=str(root.signing.as_dict(private=False)["x"]),
        profile=read_profile(profile_file),
        keys=tuple(parse(TrustedKey, read_bounded(file, PUBLIC_LIMIT), str(file)) for file in public_files),
    )
    write_atomic(out, sign_general(content.model_dump_json().encode(), TYP, root.signing))
    click.echo(f"{out}: {len(content.keys)} keys; pin this root on every unit:\n{root.kid}")


@keys.command()
@click.argument("deployment")
@config_option("/etc/edgeagent/edgeagent.toml")
@out_option
def deployment(deployment: str, config: Path, out: Path) -> None:
    """On the unit: make the one-time key that alone will open DEPLOYMENT's watchlist (R6).

    Hand the written public half to whoever builds the list. The private half stays on this unit and is
    destroyed when the deployment ends. Run again, it writes the public half of the same key.
    """
    unit = load_config(config)
    identity = identity_with_role(unit.path(unit.unit.key), Role.UNIT)
    data = unit.data_folder
    if HighWater(data / "seen.json").is_closed(deployment):
        raise SafeguardError(
            f"deployment {deployment} is over on this unit",
            where="deployment",
            next_step="a new deployment needs a new name",
            rule="R6",
        )
    if key_file(data, deployment).exists():
        key = load_key(data, identity.name, deployment)
    else:
        key = new_key(identity.name, deployment, SystemClock().now())
        save_key(key, data)
    write_atomic(out, sign_key(key, identity) + b"\n")
    click.echo(f"{out}: one-time key of {identity.name} for {deployment}, thumbprint {key.public.kid}")


def read_profile(file: Path) -> Profile:
    """A profile from its TOML file.

    Raises:
        ConfigError: naming the field.
    """
    try:
        limits = read_table(file, PUBLIC_LIMIT, "copy deploy/profile-example.toml and set your own limits")
        return Profile.model_validate(limits)
    except ValidationError as cause:
        fault = cause.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(str(fault["msg"]), where=f"{file}: {key}", next_step="correct the value") from None
