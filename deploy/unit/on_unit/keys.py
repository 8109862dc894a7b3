"""Which private keys a unit has, never what is in them; `edgeagent enrol` makes them on the unit."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from unit.on_unit.places import Places, UnitError

CREDENTIALS = Path("/run/credentials/edgeagent.service")
"""Where the service manager shows the daemon what it opened for it."""
ENROLLED = "enrolled"
NAMED = (("unit", "key"), ("broker", "key"))
"""Where a configuration names a private key."""


def keys_of(places: Places) -> dict[str, str]:
    """Each key's name, and how it is kept: sealed to this machine, or a file."""
    kept = {path.name: "file" for path in _open(places)}
    return dict(sorted((kept | {path.name: "sealed" for path in _sealed(places)}).items()))


def private_files(places: Places) -> dict[str, str]:
    """Every file that holds a private key, as a path on the unit, and what it is: to be destroyed some day.

    More than `keys_of`: also those of an enrolment that is not finished, of deployments that are not closed.
    """
    kinds = {
        "file": _open(places),
        "sealed": _sealed(places),
        "of an enrolment": list(places.staging.glob("*.key")),
        "of a deployment": list(places.data.glob("deployment-keys/*.key")),
    }
    found = {f"/{path.relative_to(places.root)}": kind for kind, paths in kinds.items() for path in paths}
    return dict(sorted(found.items()))


def missing(places: Places, config: Path) -> dict[str, str]:
    """Private keys that the configuration names and that are not on this unit: key of the file, and path."""
    table = tomllib.loads(config.read_text())
    gone = {}
    for section, key in NAMED:
        path = Path(table[section][key])
        credential = path.parent == CREDENTIALS
        there = (places.sealed / path.name) if credential else (places.etc / path)
        if not there.exists():
            gone[f"{section}.{key}"] = str(path)
    return gone


def enrolled(places: Places) -> bool:
    """Whether this unit has its keys: its enrolment says so, or its present configuration finds them."""
    state = places.staging / "state.json"
    try:
        if state.exists() and json.loads(state.read_bytes()).get("stage") == ENROLLED:
            return True
        return not missing(places, places.etc / "edgeagent.toml")
    except (OSError, ValueError, KeyError, AttributeError):
        return False  # nothing there that a daemon could run with


def refuse_lost_keys(places: Places, config: Path) -> dict[str, str]:
    """What a unit that is not enrolled yet waits for.

    Raises:
        UnitError: the unit is enrolled, and would be stopped by a configuration that does not find its keys.
    """
    gone = missing(places, config)
    if gone and enrolled(places):
        has = ", ".join(f"{path} ({kind})" for path, kind in private_files(places).items()) or "none"
        named = ", ".join(f"{key} = {path}" for key, path in gone.items())
        raise UnitError(
            f"names private keys that are not on this unit, which is enrolled: {named}; it has {has}",
            where="edgeagent.toml",
            next_step="correct the path in the unit's folder at the desk; deploying makes no keys",
        )
    return gone


def _open(places: Places) -> list[Path]:
    return [*places.etc.glob("*.key"), *places.etc.glob("tls/*.key")]


def _sealed(places: Places) -> list[Path]:
    return [path for path in places.sealed.glob("*") if path.is_file()]
