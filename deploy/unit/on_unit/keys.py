"""Which private keys a unit has, never what is in them; `edgeagent enrol` makes them on the unit."""

from __future__ import annotations

import tomllib
from pathlib import Path

from unit.on_unit.places import Places

CREDENTIALS = Path("/run/credentials/edgeagent.service")
"""Where the service manager shows the daemon what it opened for it."""


def keys_of(places: Places) -> dict[str, str]:
    """Each key's name, and how it is kept: sealed to this machine, or a file."""
    sealed = [path for path in places.sealed.glob("*") if path.is_file()]
    open_files = [*places.etc.glob("*.key"), *places.etc.glob("tls/*.key")]
    kept = {path.name: "file" for path in open_files}
    return dict(sorted((kept | {path.name: "sealed" for path in sealed}).items()))


def missing(places: Places, config: Path) -> list[str]:
    """Private keys that the configuration wants and that nobody has made yet on this unit."""
    table = tomllib.loads(config.read_text())
    gone = []
    for path in (Path(table["unit"]["key"]), Path(table["broker"]["key"])):
        credential = path.parent == CREDENTIALS
        there = (places.sealed / path.name) if credential else (places.etc / path)
        if not there.exists():
            gone.append(str(path))
    return gone
