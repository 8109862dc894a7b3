"""What each process of a run is to do: who sits in it, with which keys, which way to the broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeagent.documents.jws import base64url
from edgeagent.fleet.names import CONTROL_ROOM, unit_name
from edgeagent.fleet.office import AT_MOST_UNITS, Office, packed
from edgeagent.fleet.script import script
from edgeagent.fleet.settings import FleetBroker, Scenario
from edgeagent.fleet.wire import DeskTask, Endpoint, Seat, WorkerTask


@dataclass(frozen=True)
class Tasks:
    """The tasks of one run; with its private keys, so for pipes only."""

    scenario: Scenario
    broker: FleetBroker
    office: Office
    folder: Path

    def workers(self) -> dict[str, WorkerTask]:
        """By the name of each process of units."""
        scenario, office = self.scenario, self.office
        hits: dict[int, list[float]] = {number: [] for number in range(scenario.units)}
        for hit in script(scenario):
            hits[hit.unit].append(hit.at_s)
        gap_s = scenario.processes / scenario.connects_per_s
        return {
            f"units-{index + 1:02}": WorkerTask(
                root=office.root.kid,
                trust=base64url(office.trust(office.units[first : first + scenario.per_process])),
                folder=str(self.folder),
                seats=self._seats(first, hits),
                seed=scenario.seed,
                state_every_s=scenario.state_every_s,
                connect_gap_s=gap_s,
            )
            for index, first in enumerate(range(0, scenario.units, scenario.per_process))
        }

    def _seats(self, first: int, hits: dict[int, list[float]]) -> tuple[Seat, ...]:
        numbers = range(first, min(first + self.scenario.per_process, self.scenario.units))
        seats: list[Seat] = []
        for start in range(0, len(numbers), AT_MOST_UNITS):
            group = numbers[start : start + AT_MOST_UNITS]
            authority = base64url(self.office.authority([self.office.units[n] for n in group]))
            seats += [
                Seat(
                    number=number,
                    holder=packed(self.office.units[number]),
                    endpoint=self._endpoint(unit_name(number), number, cut=bool(self.scenario.outages)),
                    authority=authority,
                    hits=tuple(hits[number]),
                )
                for number in group
            ]
        return tuple(seats)

    def desk(self) -> DeskTask:
        """The control room's; its trust store has every unit."""
        return DeskTask(
            root=self.office.root.kid,
            trust=base64url(self.office.trust(self.office.units)),
            folder=str(self.folder),
            holder=packed(self.office.control_room),
            endpoint=self._endpoint(CONTROL_ROOM, 0, cut=False),
        )

    def _endpoint(self, name: str, number: int, *, cut: bool) -> Endpoint:
        port = self.broker.ports[number % len(self.broker.ports)]
        certificate, key = self.broker.certificate(name)
        return Endpoint(
            host=self.broker.host,
            port=port,
            through=str(self._socket(port)) if cut else None,
            ca=self.broker.ca,
            certificate=str(certificate),
            key=str(key),
        )

    def cables(self) -> Iterator[tuple[str, str, int]]:
        """Socket, host and port, one for each node of the broker."""
        for port in self.broker.ports:
            yield str(self._socket(port)), self.broker.host, port

    def _socket(self, port: int) -> Path:
        return self.folder / f"cable-{port}"
