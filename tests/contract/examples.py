"""Makes docs/examples: one message of each kind, what each says, trust store, everybody's private keys.

    python -m tests.contract.examples docs

The keys follow from a sentence that is written here, so they protect nothing. They are made so that nothing
can come to trust them: no configuration pins their root, and none is valid after the first of January 2020.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import OKPKey

from edgeagent.alerts.alert import Circumstances, Sealed, make_alert
from edgeagent.alerts.contract import CHANNELS
from edgeagent.alerts.envelope import unwrap, wrap
from edgeagent.documents.explain import KINDS
from edgeagent.documents.jws import base64url, sign_general, strict_json, unbase64url
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import CameraState, Presence
from edgeagent.documents.table import DECISION, DocumentType, sign
from edgeagent.documents.trust import TYP, TrustStoreContent, trusted
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.verdict import Result
from edgeagent.vision.types import CHIP_SIZE, Chip
from tests import desk

WARNING = "EXAMPLE ONLY: these private keys are public. Nothing may trust them."
UNIT, DEPLOYMENT = "example-unit", "example-deployment"
FIRST_DAY, LAST_DAY = datetime(2019, 12, 31, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)
NOON = datetime(2020, 1, 1, 12, 0, tzinfo=UTC)
NOW = Instant(1_000 * SECOND, NOON, synchronised=True)


def example_identity(role: Role) -> Identity:
    """Keys that anybody can make again."""
    name = UNIT if role is Role.UNIT else f"example {role}".replace("_", " ")

    def octets(use: str) -> bytes:
        return hashlib.sha256(f"{WARNING} {name} {use}".encode()).digest()

    private = Ed25519PrivateKey.from_private_bytes(octets("sign"))
    x = base64url(private.public_key().public_bytes_raw())
    d = base64url(private.private_bytes_raw())
    signing = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x, "d": d})
    return Identity(role, name, signing, X25519PrivateKey.from_private_bytes(octets("seal")))


PEOPLE = {role: example_identity(role) for role in Role}


def trust_store() -> bytes:
    """Whose keys count in the examples, signed by their root."""
    content = TrustStoreContent(
        sequence=1,
        issued_at=FIRST_DAY,
        root_x=str(PEOPLE[Role.ROOT].signing.as_dict(private=False)["x"]),
        profile=desk.profile(name="EXAMPLE ONLY"),
        keys=tuple(
            trusted(who, not_before=FIRST_DAY, not_after=LAST_DAY)
            for role, who in PEOPLE.items()
            if role is not Role.ROOT
        ),
    )
    return sign_general(content.model_dump_json().encode(), TYP, PEOPLE[Role.ROOT].signing)


def keys() -> dict[str, Any]:
    """The private keys as JWK, and the thumbprint of the root."""
    holders = {
        who.name: {
            "role": role,
            "kid": who.kid,
            "sign": who.signing.as_dict(private=True) | {"alg": "Ed25519"},
            "seal": {
                **who.seal_key.model_dump(),
                "d": base64url(who.sealing.private_bytes_raw()),
            },
        }
        for role, who in PEOPLE.items()
    }
    return {"warning": WARNING, "root": PEOPLE[Role.ROOT].kid, "holders": holders}


def pattern() -> Chip:
    """(112, 112, 3) uint8: rings on a slope of colour. It is nobody's face."""
    y, x = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE]
    rings = np.cos(np.hypot(x - 56, y - 60) / 4) * 60 + 128
    pixels = np.dstack([rings, rings, 128 + (x - 56)]).astype(np.uint8)
    cv2.putText(pixels, "EXAMPLE", (18, 66), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return Chip(pixels)


def alert() -> Sealed:
    """A bench's alert about a drawing, made by the code that makes real ones."""
    office = desk.Desk()
    authority = office.bench_authority(
        deployment=DEPLOYMENT, units=(UNIT,), alert_key=PEOPLE[Role.CONTROL_ROOM].seal_key
    )
    about = Circumstances(authority, "ef" * 32, 7, NOON - timedelta(milliseconds=34), 41)
    return make_alert(
        Hit(0, 0, 0.712, 0.808, 4), desk.test_subject(1), pattern(), about, PEOPLE[Role.UNIT], NOW
    )


@dataclass(frozen=True)
class Story:
    """One alert and everything that is said around it."""

    sealed: Sealed

    @property
    def alert(self) -> str:
        """Its identifier."""
        return self.sealed.alert.alert

    def state(self) -> StrictModel:
        """The unit is at work, lacks this alert's verdict, and asks for the next lease."""
        return desk.state(
            unit=UNIT,
            deployment=DEPLOYMENT,
            kind=Kind.BENCH,
            at=NOON,
            state=Presence.LIVE,
            reason="lease held",
            camera=CameraState.OPEN,
            buffers_wiped=False,
            lapse_to_closed_ms=19.8,
            frames=474,
            rate=desk.rate(alerts=1, false_alerts=0, unjudged=(self.alert,)),
        )

    def health(self) -> StrictModel:
        """A Raspberry Pi whose power supply was too weak some time ago."""
        return desk.health(unit=UNIT, kind=Kind.BENCH, at=NOON)

    def lease(self) -> StrictModel:
        """The answer to the challenge of that state."""
        return desk.lease(unit=UNIT, deployment=DEPLOYMENT, issued_at=NOON)

    def receipt(self) -> StrictModel:
        """The control room has it."""
        return desk.receipt(alert=self.alert, unit=UNIT, received_at=NOON + timedelta(seconds=1))

    def verdict(self) -> StrictModel:
        """An operator decided to engage; an officer confirmed the match, and nothing had to follow."""
        decided = desk.decision(
            alert=self.alert,
            kind=Kind.BENCH,
            unit=UNIT,
            deployment=DEPLOYMENT,
            test_subject=True,
            made_at=NOON,
            decided_at=NOON + timedelta(seconds=20),
        )
        return desk.verdict(
            sign(DECISION, decided, PEOPLE[Role.OPERATOR]),
            outcome=Result.NO_ACTION,
            concluded_at=NOON + timedelta(minutes=5),
        )

    def review(self) -> StrictModel:
        """As if the rate had suspended matching."""
        return desk.review(
            unit=UNIT, deployment=DEPLOYMENT, alerts=1, reviewed_at=NOON + timedelta(minutes=9)
        )

    def revocation(self) -> StrictModel:
        """The end."""
        return desk.revocation(units=(UNIT,), deployment=DEPLOYMENT, issued_at=NOON + timedelta(hours=1))


SIGNERS = {
    "state": (Role.UNIT,),
    "health": (Role.UNIT,),
    "lease": (Role.CONTROL_ROOM,),
    "receipt": (Role.CONTROL_ROOM,),
    "verdict": (Role.OFFICER,),
    "review": (Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER),
    "revocation": (Role.AUTHORISING_OFFICER,),
}


def messages() -> dict[str, bytes]:
    """Every kind of message as MQTT carries it."""
    story = Story(alert())
    made = {"alert": story.sealed.message}
    for name, roles in SIGNERS.items():
        body: Callable[[], StrictModel] = getattr(story, name)
        token = sign(KINDS[f"edgeagent-{name}"], body(), *(PEOPLE[role] for role in roles))
        made[name] = wrap(name, token, identifier=f"example-{name}", source="example", time=NOON)
    return made


def said(kind: DocumentType[Any], message: bytes) -> Any:
    """What a message's token says, as it stands: nothing is verified."""
    token = unwrap(message, kind.typ.removeprefix("edgeagent-"))
    payload = token.split(b".")[1] if kind.compact else strict_json(token)["payload"]
    return strict_json(unbase64url(payload))


def files() -> dict[str, str]:
    """Name and text of every file of docs/examples."""
    made = messages()
    pages = {"keys": keys(), "trust-store": strict_json(trust_store())}
    for channel in CHANNELS:
        pages[channel.name] = strict_json(made[channel.name])
        pages[f"{channel.name}.said"] = said(channel.kind, made[channel.name])
    return {f"{name}.json": json.dumps(page, indent=1) + "\n" for name, page in pages.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) / "examples"
    folder.mkdir(exist_ok=True)
    for name, page in files().items():
        (folder / name).write_text(page)
