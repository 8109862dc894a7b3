"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeagent.config import DeskConfig, TrustSection
from edgeagent.documents.keys import Identity, Role, load_identity
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TrustStore, open_trust_store
from edgeagent.errors import KeyFileError
from edgeagent.system.files import read_bounded

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def json_option(command: Command) -> Command:
    """`--json`: print for a program rather than a person."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(command)


def out_option(command: Command) -> Command:
    """`--out`: the file to write."""
    return click.option("--out", required=True, type=FILE, help="File to write.")(command)


def config_option(default: str) -> Callable[[Command], Command]:
    """`--config` with its usual place."""

    def decorate(command: Command) -> Command:
        return click.option(
            "--config", type=FILE, default=default, show_default=True, help="Configuration file."
        )(command)

    return decorate


def trust_options(command: Command) -> Command:
    """`--trust` and `--root`: the trust store and the thumbprint that it must be signed by."""
    command = click.option("--root", required=True, help="Thumbprint of the root key.")(command)
    return click.option("--trust", "trust_file", required=True, type=FILE, help="Trust store.")(command)


def open_trust(file: Path, root: str) -> TrustStore:
    """The trust store, verified against the pinned root."""
    return open_trust_store(read_bounded(file, TRUST_STORE_LIMIT, KeyFileError), root)


def configured_trust(config: TrustSection, file: Path) -> TrustStore:
    """The trust store of a configuration whose paths are seen from `file`'s folder."""
    return open_trust(file.parent / config.store, config.root)


def desk_identity(config: DeskConfig) -> Identity:
    """The control room's keys.

    Raises:
        KeyFileError: not a control room's key.
    """
    return identity_with_role(config.path(config.desk.key), Role.CONTROL_ROOM)


def identity_with_role(file: Path, *roles: Role) -> Identity:
    """Private keys whose holder has one of the roles.

    Raises:
        KeyFileError: another role.
    """
    identity = load_identity(file)
    if identity.role not in roles:
        wanted = " or ".join(roles)
        raise KeyFileError(
            f"is a {identity.role} key, not {wanted}", where=str(file), next_step="use the right person's key"
        )
    return identity
