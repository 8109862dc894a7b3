"""The files of one trial: keys, trust store, the authority of a test, two configurations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.demo.broker import RunningBroker
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM
from edgeagent.demo.papers import DESK_TOML, UNIT_TOML
from edgeagent.documents.keys import Role, save_identity
from tests.bench_unit import UNIT, Office

AUTHORITY = "authority-of-the-test.json"
"""Not where the unit looks: it stays LOCKED, so that only what sends alerts is at work."""


@dataclass(frozen=True)
class Where:
    """How a process reaches the broker."""

    host: str
    port: int


@dataclass(frozen=True)
class Papers:
    """The folder of one trial."""

    folder: Path
    office: Office = field(default_factory=Office)

    def write(self, broker: RunningBroker, unit: Where, desk: Where, ttl_s: float) -> None:
        """Everything that both processes read; alerts count for `ttl_s` seconds."""
        office = self.office
        save_identity(office[Role.UNIT], self.folder / "unit.key")
        save_identity(office[Role.CONTROL_ROOM], self.folder / "desk.key")
        (self.folder / "trust.json").write_bytes(office.trust_document())
        authority = office.authority(b"no list: this unit never opens one", alert_ttl_s=ttl_s)
        (self.folder / AUTHORITY).write_text(authority.model_dump_json())
        scene = self.folder / "no-scene.json"
        self._configure("unit.toml", UNIT_TOML, UNIT, broker, unit, scene=scene, unit=UNIT)
        self._configure("desk.toml", DESK_TOML, CONTROL_ROOM, broker, desk)
        (self.folder / "data").mkdir()

    def _configure(
        self, file: str, template: str, name: str, broker: RunningBroker, to: Where, **more: object
    ) -> None:
        tls = broker.issue_client(name, now=datetime.now(UTC))
        text = template.format(
            name=name,
            root=self.office.root,
            host=to.host,
            port=to.port,
            ca=tls.authority,
            certificate=tls.cert,
            key=tls.key,
            width=640,
            height=480,
            **more,
        )
        (self.folder / file).write_text(text)
