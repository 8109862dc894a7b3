"""What a simulation is asked to do, and where its broker is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from edgeagent.config import FileName, read_table
from edgeagent.errors import ConfigError, KeyFileError
from edgeagent.fleet.names import CONTROL_ROOM, unit_name
from edgeagent.safeguards.profile import StrictModel

CONFIG_LIMIT = 65_536
MOST_UNITS = 2500
"""More keys than this do not fit into one trust store (1,000,000 octets)."""
MOST_PER_PROCESS = 150
"""A unit holds six descriptors, and select(), on which the link waits, takes none above 1023."""

Port = Annotated[int, Field(ge=1, le=65_535)]


class FleetBroker(StrictModel):
    """Where the broker is, and the TLS certificates that it admits.

    Attributes:
        ports: of each node; unit number i uses `ports[i % len(ports)]`, the control room the first.
        certificates: folder with NAME.crt and NAME.key of `control-room` and of every `fleet-…`.
        pids: the broker's processes, if they run here: their memory and processor time are measured.
    """

    host: Annotated[str, Field(min_length=1, max_length=253)]
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=16)]
    ca: FileName
    certificates: FileName
    pids: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(max_length=64)] = ()

    def certificate(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a client."""
        folder = Path(self.certificates)
        return folder / f"{name}.crt", folder / f"{name}.key"


class _File(StrictModel):
    broker: FleetBroker


def load_broker(file: Path) -> FleetBroker:
    """Read `[broker]` of a TOML file; paths are seen from its folder.

    Raises:
        ConfigError: missing, not TOML, or a key unknown, missing or impossible.
    """
    table = read_table(file, CONFIG_LIMIT, "write its section [broker]; docs/fleet.md has an example")
    try:
        broker = _File.model_validate_json(json.dumps(table, default=str)).broker
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(
            str(fault["msg"]), where=f"{file}: {key}", next_step="docs/fleet.md has an example"
        ) from None
    beside = file.absolute().parent
    return broker.model_copy(
        update={"ca": str(beside / broker.ca), "certificates": str(beside / broker.certificates)}
    )


def check_certificates(broker: FleetBroker, units: int) -> None:
    """Refuse at once what would fail later.

    Raises:
        KeyFileError: naming the first file that is not there.
    """
    names = [CONTROL_ROOM, *map(unit_name, range(units))]
    for file in (Path(broker.ca), *(file for name in names for file in broker.certificate(name))):
        if not file.is_file():
            raise KeyFileError(
                "is not there",
                where=str(file),
                next_step="issue it with `edgeagent keys ca issue`, by an authority that is for trials only",
            )


@dataclass(frozen=True)
class Outage:
    """All units lose their network."""

    at_s: float
    lasts_s: float


@dataclass(frozen=True)
class Scenario:
    """What happens. Times are seconds after every unit is connected.

    Attributes:
        seconds: how long hits are made.
        hits_per_minute: of each unit, at random times.
        all_at: when every unit has a hit at once.
        outages: when the units' network is cut.
        kills: when the process of some units is killed (SIGKILL) and started again from its outboxes.
        state_every_s: how often each unit says its signed state.
        drain_s: how long to wait at the end for what is still in an outbox.
        connects_per_s: how many units begin to connect in a second.
    """

    units: int
    seconds: float
    hits_per_minute: float
    seed: int
    all_at: tuple[float, ...] = ()
    outages: tuple[Outage, ...] = ()
    kills: tuple[float, ...] = ()
    state_every_s: float = 2.0
    per_process: int = 100
    drain_s: float = 120.0
    connects_per_s: float = 100.0

    def __post_init__(self) -> None:
        _within("units", self.units, 1, MOST_UNITS)
        _within("per-process", self.per_process, 1, MOST_PER_PROCESS)
        _within("seconds", self.seconds, 1, 86_400)
        _within("hits-per-minute", self.hits_per_minute, 0, 600)
        _within("state-every", self.state_every_s, 0.5, 3600)
        for at_s in (*self.all_at, *self.kills, *(outage.at_s for outage in self.outages)):
            _within("time of an event", at_s, 0, self.seconds)

    @property
    def processes(self) -> int:
        """How many processes hold the units."""
        return -(-self.units // self.per_process)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(
            f"{value:g} is not between {low:g} and {high:g}", where=name, next_step="correct the value"
        )
