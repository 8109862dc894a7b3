"""A unit, a control room and a TLS authority for tests of enrolment: new keys each time, real files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from edgeagent.agent.enrol import Pending, begin
from edgeagent.agent.enrol_state import Place
from edgeagent.controlroom.enrol_decide import Approved, Authority, approve
from edgeagent.controlroom.enrol_desk import Room, invite
from edgeagent.controlroom.enrol_register import open_register
from edgeagent.documents.enrol_invitation import Invitation, new_token, read_invitation
from edgeagent.documents.enrol_request import Asked, UnitKeys, make_request, tls_digest
from edgeagent.documents.jws import base64url
from edgeagent.documents.keys import Role
from edgeagent.documents.trust import open_trust_store
from edgeagent.safeguards.instant import Instant
from edgeagent.system.certificates import make_authority
from edgeagent.system.enrol_keys import Kept
from edgeagent.system.files import write_atomic
from edgeagent.system.revocation import write_crl
from tests.desk import NOW, UNIT, Desk, identity

BROKER = "broker.test:8883"
PASSPHRASE = b"a long passphrase of a test"


def invitation(desk: Desk, **changes: Any) -> Invitation:
    """An invitation of the desk's control room with an invented authority."""
    said: dict[str, Any] = {
        "unit": UNIT,
        "broker": BROKER,
        "token": new_token(),
        "root": desk[Role.ROOT].kid,
        "control_room_ca": "ab" * 32,
        "control_room_key": desk[Role.CONTROL_ROOM].seal_key.x,
    }
    return Invitation(**(said | changes))


def unit_keys(seed: int = 0, name: str = UNIT) -> UnitKeys:
    """A unit's keys; the TLS key alone is new each time."""
    return UnitKeys(identity(Role.UNIT, name, seed), ec.generate_private_key(ec.SECP256R1()))


def asked(keys: UnitKeys, told: Invitation, **changes: Any) -> Asked:
    """What a unit with these keys asks."""
    said: dict[str, Any] = {
        "unit": told.unit,
        "number": 1,
        "nonce": base64url(bytes(16)),
        "root": told.root,
        "authority_sha256": told.control_room_ca,
        "control_room_key": told.control_room_key,
        "sign_x": str(keys.identity.signing.as_dict(private=False)["x"]),
        "seal_x": keys.identity.seal_key.x,
        "tls_sha256": tls_digest(keys.tls.public_key()),
        "kept": Kept.FILE,
    }
    return Asked(**(said | changes))


def request(desk: Desk) -> bytes:
    """A genuine request's file."""
    keys, told = unit_keys(), invitation(desk)
    return make_request(keys, told, asked(keys, told))


@dataclass(frozen=True)
class Scene:
    """A control room's files and the folders of units, under one folder."""

    path: Path
    desk: Desk
    now: Instant = NOW

    def __post_init__(self) -> None:
        self.ca.mkdir(parents=True)
        make_authority(self.ca, "test-authority", now=self.now.wall, passphrase=PASSPHRASE)
        write_crl(self.ca, days=90, now=self.now.wall, passphrase=PASSPHRASE)

    @property
    def ca(self) -> Path:
        return self.path / "ca"

    @property
    def register(self) -> Path:
        return self.path / "register"

    @cached_property
    def store(self) -> bytes:
        """The trust store's file; no unit is in it yet."""
        keys = tuple(key for key in self.desk.keys if key.role is not Role.UNIT)
        return self.desk.trust_document(keys=keys)

    def room(self, **changes: Any) -> Room:
        root = self.desk[Role.ROOT].kid
        store = changes.pop("store", self.store)
        said: dict[str, Any] = {
            "identity": self.desk[Role.CONTROL_ROOM],
            "root": root,
            "trust": open_trust_store(store, root),
            "trust_file": store,
            "now": self.now,
        }
        return Room(**(said | changes))

    def authority(self, days: int = 365) -> Authority:
        return Authority(self.ca, PASSPHRASE, days)

    def place(self, name: str = UNIT) -> Place:
        home = self.path / name
        return Place(home / "etc", home / "data", home / "drop-ins", None)

    def card(self, unit: str = UNIT, days: int = 14, room: Room | None = None) -> Invitation:
        """Invite a unit and read what its card says."""
        with open_register(self.register) as book:
            content = invite(book, room or self.room(), unit, BROKER, self.ca / "ca.crt", days)
        file = self.path / f"card-{unit}.toml"
        write_atomic(file, content)
        return read_invitation(file)

    def begin(self, told: Invitation, name: str | None = None, **options: Any) -> Pending:
        said: dict[str, Any] = {"again": False, "kept": Kept.FILE} | options
        place = self.place(name or told.unit)
        return begin(place, told, said.pop("kept"), **said)

    def approve(self, document: bytes, code: str, *, replaces: bool = False, **room: Any) -> Approved:
        with open_register(self.register) as book:
            return approve(book, self.room(**room), document, code, self.authority(), replaces=replaces)

    def later(self, **span: float) -> Instant:
        return Instant(
            self.now.monotonic_ns, self.now.wall + timedelta(**span), synchronised=self.now.synchronised
        )
