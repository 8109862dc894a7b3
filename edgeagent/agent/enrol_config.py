"""What the daemon's files must say for an enrolment: where its keys lie, whom it trusts, which broker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeagent.agent.enrol_state import Place
from edgeagent.config import load_config
from edgeagent.errors import ConfigError
from edgeagent.system.enrol_keys import Kept, best_keeping

UNIT_KEY = "unit.key"
TLS_KEY = "tls.key"
SERVICE = "edgeagent.service"
THROUGH = "/run/edgeagent-broker"
CREDENTIALS = Path("/run/credentials") / SERVICE
"""Where the service manager shows the daemon what it opened for it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an enrolment is about.

    Attributes:
        broker: host, colon, port.
        root: thumbprint of the root key.
    """

    unit: str
    broker: str
    root: str
    kept: Kept


@dataclass(frozen=True, slots=True)
class Names:
    """Where the daemon finds what is installed, as the configuration writes it."""

    key: str
    tls_key: str
    certificate: str
    authority: str = "tls/ca.crt"
    trust: str = "trust.json"


def names_of(unit: str, kept: Kept) -> Names:
    """Sealed keys are opened by the service manager, for the service alone, in memory."""
    certificate = f"tls/{unit}.crt"
    if kept is Kept.FILE:
        return Names(key=UNIT_KEY, tls_key=f"tls/{unit}.key", certificate=certificate)
    return Names(key=str(CREDENTIALS / UNIT_KEY), tls_key=str(CREDENTIALS / TLS_KEY), certificate=certificate)


def keeping(place: Place) -> Kept:
    """How this unit keeps its keys, if nobody says: as its configuration says, else as well as it can.

    Raises:
        ConfigError: it has a TPM and a configuration that does not use it.
    """
    best = best_keeping()
    if not place.config.exists():
        return best
    if load_config(place.config).unit.key.startswith(f"{CREDENTIALS}/"):
        return Kept.TPM2 if best is Kept.TPM2 else Kept.HOST
    if best is Kept.TPM2:
        raise ConfigError(
            "keeps the key in a file, and this machine has a TPM",
            where=f"{place.config}: unit.key",
            next_step=f'make it "{CREDENTIALS / UNIT_KEY}", or say --keep file',
        )
    return Kept.FILE


def drop_in_text(sealed: dict[str, Path]) -> bytes:
    """For the service: open these for it at its start, in memory that is not swapped."""
    lines = [f"LoadCredentialEncrypted={name}:{path}" for name, path in sealed.items()]
    head = "# Written by edgeagent enrol finish: the unit's private keys are sealed; see docs/enrolment.md.\n"
    return (head + "[Service]\n" + "\n".join(lines) + "\n").encode()


def config_text(terms: Terms) -> bytes:
    """A first configuration: the usual places and the first camera."""
    names = names_of(terms.unit, terms.kept)
    host, _, port = terms.broker.rpartition(":")
    return f"""# Written by edgeagent enrol finish; the camera's lines are yours to change.

[unit]
name = "{terms.unit}"
key = "{names.key}"

[trust]
store = "{names.trust}"
root = "{terms.root}"

[documents]
authority = "documents/authority.json"
watchlist = "documents/watchlist.edgelist"
certificate = "documents/certificate.json"

[data]
folder = "/var/lib/edgeagent"

[camera]
source = "v4l2:/dev/edgeagent-camera"

[broker]
host = "{host}"
port = {port}
through = "{THROUGH}"
ca = "{names.authority}"
certificate = "{names.certificate}"
key = "{names.tls_key}"
""".encode()


def check_config(place: Place, terms: Terms) -> None:
    """A configuration that is there already is never overwritten, so it must say the same.

    Raises:
        ConfigError: naming the line and what it must be.
    """
    if not place.config.exists():
        return
    config = load_config(place.config)
    names = names_of(terms.unit, terms.kept)
    host, _, port = terms.broker.rpartition(":")
    said = {
        "unit.name": (config.unit.name, terms.unit),
        "unit.key": (config.path(config.unit.key), place.folder / names.key),
        "trust.store": (config.path(config.trust.store), place.folder / names.trust),
        "trust.root": (config.trust.root, terms.root),
        "broker.host": (config.broker.host, host),
        "broker.port": (config.broker.port, int(port)),
        "broker.ca": (config.path(config.broker.ca), place.folder / names.authority),
        "broker.certificate": (config.path(config.broker.certificate), place.folder / names.certificate),
        "broker.key": (config.path(config.broker.key), place.folder / names.tls_key),
    }
    for key, (found, wanted) in said.items():
        if found != wanted:
            raise ConfigError(
                "is not what this enrolment installs",
                where=f"{place.config}: {key}",
                next_step=f'make it "{wanted}", or move the file away to have one written',
            )
