"""Everybody who signs in one run. Keys are made anew, stay in memory, and sign nothing but a bench (R33).

Protects against: false live alerts by means of the simulator. Its trust store is signed by a root that no
installation pins; its authority is of the bench's own document type; its units carry names that begin with
`fleet-`; and nothing here reads a key from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import OKPKey

from edgeagent.documents.jws import base64url, sign_general, unbase64url
from edgeagent.documents.keys import Identity, Octets32, Role, new_identity
from edgeagent.documents.table import BENCH_AUTHORITY, sign
from edgeagent.documents.trust import TYP, TrustStoreContent, trusted
from edgeagent.errors import SafeguardError
from edgeagent.fleet.names import CONTROL_ROOM, PREFIX, unit_name
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.categories import UseCase
from edgeagent.safeguards.profile import Profile, StrictModel

DEPLOYMENT = "fleet-simulation"
NO_LIST = "00" * 32
"""There is no watchlist and no model pack, and the alerts say so."""
ALERT_TTL_S = 120.0
AT_MOST_UNITS = 64
"""An authority names no more units."""
_SAID = "A simulated fleet on a bench: scripted hits of nobody, to measure brokers and the way to the desk."


class Holder(StrictModel):
    """A key holder of one run, as it is handed to a child process through its standard input."""

    role: Role
    name: str
    sign_x: Octets32
    sign_d: Octets32
    seal_d: Octets32


def packed(identity: Identity) -> Holder:
    """For the child; never for a file."""
    octets = identity.signing.as_dict(private=True)
    return Holder(
        role=identity.role,
        name=identity.name,
        sign_x=str(octets["x"]),
        sign_d=str(octets["d"]),
        seal_d=base64url(identity.sealing.private_bytes_raw()),
    )


def unpacked(holder: Holder, role: Role) -> Identity:
    """The keys of a simulated unit, or of the simulated control room.

    Raises:
        SafeguardError: R33, another role, or a unit that is not a simulated one.
    """
    expected = holder.name.startswith(PREFIX) if role is Role.UNIT else holder.name == CONTROL_ROOM
    if holder.role is not role or not expected:
        raise SafeguardError(
            f"{holder.role} {holder.name!r} is nobody of a simulated fleet",
            where="key",
            next_step="a simulation makes its keys itself; it takes none",
            rule="R33",
        )
    signing = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": holder.sign_x, "d": holder.sign_d})
    sealing = X25519PrivateKey.from_private_bytes(unbase64url(holder.seal_d))
    return Identity(holder.role, holder.name, signing, sealing)


@dataclass(frozen=True)
class Office:
    """The people and units of one run."""

    root: Identity
    bench: Identity
    control_room: Identity
    units: tuple[Identity, ...]
    now: datetime

    @classmethod
    def new(cls, units: int, now: datetime) -> Self:
        """Fresh keys from the system's random source: no seed leads back to them."""
        return cls(
            new_identity(Role.ROOT, "fleet root"),
            new_identity(Role.BENCH, "fleet bench"),
            new_identity(Role.CONTROL_ROOM, CONTROL_ROOM),
            tuple(new_identity(Role.UNIT, unit_name(number)) for number in range(units)),
            now,
        )

    def trust(self, units: Sequence[Identity]) -> bytes:
        """A trust store with these units, the control room and the bench."""
        day = timedelta(days=1)
        content = TrustStoreContent(
            sequence=1,
            issued_at=self.now,
            root_x=str(self.root.signing.as_dict(private=False)["x"]),
            profile=_profile(),
            keys=tuple(
                trusted(who, not_before=self.now - day, not_after=self.now + 7 * day)
                for who in (self.bench, self.control_room, *units)
            ),
        )
        return sign_general(content.model_dump_json().encode(), TYP, self.root.signing)

    def authority(self, units: Sequence[Identity]) -> bytes:
        """A bench authority for at most 64 units, signed by the bench key of this run (R33)."""
        body = Authority(
            kind=Kind.BENCH,
            deployment=DEPLOYMENT,
            sequence=1,
            units=tuple(unit.name for unit in units),
            site="no place: a simulated fleet",
            use_case=UseCase.EVENT,
            necessity=_SAID,
            proportionality=_SAID,
            is_assembly_or_protest=False,
            signage_confirmed=True,
            urgent=False,
            issued_at=self.now,
            start=self.now,
            end=self.now + timedelta(hours=24),
            watchlist_sha256=NO_LIST,
            model_pack_sha256=NO_LIST,
            threshold=0.5,
            margin=0.05,
            agreeing_frames=3,
            alert_ttl_s=ALERT_TTL_S,
            realert_s=1.0,
            retention_h=1.0,
            lease_max_s=6.0,
            alert_key=self.control_room.seal_key,
        )
        return sign(BENCH_AUTHORITY, body, self.bench)


def _profile() -> Profile:
    return Profile(
        name="simulated fleet",
        watchlist_max_age_h=24.0,
        watchlist_max_entries=2000,
        deployment_max_h=24.0,
        urgent_max_h=24.0,
        lease_max_s=6.0,
        clock_step_s=2.0,
        clock_skew_s=2.0,
        retention_max_h=1.0,
        threshold_min=0.4,
        threshold_usual=0.5,
        certified_fpir_max=0.001,
        alert_ttl_max_s=ALERT_TTL_S,
        independent_approval=False,
        false_alert_limit=0.001,
        false_alert_confidence=0.995,
        false_alerts_most=50,
        overdue_alerts_most=5,
        verdict_within_s=1800.0,
    )
