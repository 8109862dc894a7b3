"""A simulator of everybody who signs: real keys, real signatures, and one changed field a test.

Every builder makes something valid for `NOW` and takes keyword overrides. Keys follow from a seed, so that a
failure can be repeated. `raw_*` build what the product itself would refuse to sign.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import OKPKey

from edgeagent.agent.deployment import Unit
from edgeagent.alerts.alert import Circumstances, Sealed, make_alert
from edgeagent.alerts.envelope import wrap
from edgeagent.audit.checkpoint import Checkpoint
from edgeagent.config import (
    BrokerSection,
    CameraSection,
    Config,
    DataSection,
    DocumentsSection,
    TrustSection,
    UnitSection,
)
from edgeagent.documents.deployment_key import OneTimeKey, key_file, save_key
from edgeagent.documents.health import Health
from edgeagent.documents.jws import base64url, sign_general
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import (
    AlertCounts,
    CameraState,
    Decision,
    Faces,
    Presence,
    Rate,
    Receipt,
    Revocation,
    UnitState,
    Verdict,
)
from edgeagent.documents.table import (
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    STATE,
    DocumentType,
    sign,
)
from edgeagent.documents.trust import (
    TYP,
    TrustedKey,
    TrustStore,
    TrustStoreContent,
    open_trust_store,
    trusted,
)
from edgeagent.documents.watchlist_file import pack
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Authority, Grant, Kind
from edgeagent.safeguards.categories import Category, ImageBasis, UseCase
from edgeagent.safeguards.certificate import Certificate, Difference, Excluded, Floor, GroupResult
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.lease import Lease
from edgeagent.safeguards.profile import Profile, StrictModel
from edgeagent.safeguards.verdict import Choice, Finding, Result
from edgeagent.safeguards.watchlist import Entry, Manifest, SealedKey, Terms
from edgeagent.vision.types import CHIP_SIZE, Chip

START = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)
END = START + timedelta(hours=4)
NOW = Instant(1_000_000 * SECOND, START + timedelta(minutes=10), synchronised=True)
DEPLOYMENT = "high-street-2031-05-06"
UNIT = "unit-1"
OTHER_UNIT = "unit-2"
PACK_SHA256 = "ab" * 32
DIMENSION = 64


def at(seconds: float, *, wall_error_s: float = 0.0, synchronised: bool = True) -> Instant:
    """The clocks so long after NOW; `wall_error_s` is how far the wall clock alone has moved."""
    return Instant(
        NOW.monotonic_ns + round(seconds * SECOND),
        NOW.wall + timedelta(seconds=seconds + wall_error_s),
        synchronised,
    )


def identity(role: Role, name: str, seed: int = 0) -> Identity:
    """Keys that follow from role, name and seed."""

    def octets(use: str) -> bytes:
        return hashlib.sha256(f"{seed}/{role}/{name}/{use}".encode()).digest()

    private = Ed25519PrivateKey.from_private_bytes(octets("sign"))
    signing = OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "d": base64url(private.private_bytes_raw()),
            "x": base64url(private.public_key().public_bytes_raw()),
        }
    )
    return Identity(role, name, signing, X25519PrivateKey.from_private_bytes(octets("seal")))


def one_time(unit: str = UNIT, deployment: str = DEPLOYMENT, seed: int = 0) -> OneTimeKey:
    """A unit's one-time key for a deployment, which follows from both and the seed."""
    octets = hashlib.sha256(f"{seed}/{unit}/{deployment}/one-time".encode()).digest()
    return OneTimeKey(
        unit, deployment, X25519PrivateKey.from_private_bytes(octets), START - timedelta(hours=7)
    )


def profile(**changes: Any) -> Profile:
    """The limits in force."""
    limits: dict[str, Any] = {
        "name": "test force 2031",
        "watchlist_max_age_h": 24.0,
        "watchlist_max_entries": 2000,
        "deployment_max_h": 12.0,
        "urgent_max_h": 24.0,
        "lease_max_s": 10.0,
        "clock_step_s": 2.0,
        "clock_skew_s": 2.0,
        "retention_max_h": 24.0,
        "threshold_min": 0.4,
        "threshold_usual": 0.45,
        "certified_fpir_max": 0.001,
        "alert_ttl_max_s": 120.0,
        "independent_approval": False,
        "false_alert_limit": 0.001,
        "false_alert_confidence": 0.995,
        "false_alerts_most": 50,
        "overdue_alerts_most": 5,
        "verdict_within_s": 1800.0,
    }
    return Profile(**(limits | changes))


def grant(**changes: Any) -> Grant:
    """What the authority gives."""
    given: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "start": START,
        "end": END,
        "lease_max_s": 10.0,
        "clock_step_s": 2.0,
        "clock_skew_s": 2.0,
    }
    return Grant(**(given | changes))


def templates(count: int, *, dimension: int = DIMENSION, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, dimension) float32 unit rows."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: npt.NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def entry(number: int, **changes: Any) -> Entry:
    """One row of the list."""
    row: dict[str, Any] = {
        "entry": f"e{number}",
        "person": f"p{number}",
        "category": Category.WANTED_ON_WARRANT,
        "image_basis": ImageBasis.CUSTODY_CONVICTED,
        "image_taken_on": date(2030, 1, 1),
        "under_18": False,
    }
    return Entry(**(row | changes))


def test_subject(number: int) -> Entry:
    """A consenting test subject (R32)."""
    return entry(number, category=Category.TEST_SUBJECT, image_basis=ImageBasis.CONSENTED)


test_subject.__test__ = False  # type: ignore[attr-defined]


def terms(entries: Iterable[Entry] = (), **changes: Any) -> Terms:
    """What is said of these entries (by default: eight wanted people) before they are sealed."""
    rows = tuple(entries) or tuple(entry(n) for n in range(8))
    counts: dict[Category, int] = {}
    for row in rows:
        counts[row.category] = counts.get(row.category, 0) + 1
    said: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "sequence": 1,
        "created_at": START - timedelta(hours=6),
        "not_before": START - timedelta(hours=1),
        "not_after": END + timedelta(hours=1),
        "model_pack_sha256": PACK_SHA256,
        "entries": len(rows),
        "dimension": DIMENSION,
        "counts": counts,
        "under_18": sum(row.under_18 for row in rows),
        "lawful_retention_attested": True,
    }
    return Terms(**(said | changes))


def manifest(rows: Iterable[Entry] = (), **changes: Any) -> Manifest:
    """What the watchlist officer signs about these entries."""
    sealing: dict[str, Any] = {
        "ciphertext_sha256": "00" * 32,
        "sealed_keys": (SealedKey(unit=UNIT, kid="A" * 43, sealed="AA"),),
        "commitments_sha256": "ab" * 32,
    }
    return Manifest(**(dict(terms(rows)) | sealing | changes))


def floor(entries: int, threshold: float, fpir: float = 1e-3, **changes: Any) -> Floor:
    """A floor with enough people behind it for any FPIR of these tests."""
    said: dict[str, Any] = {"people": 90_000, "falsely_matched": 0, "tpir": 0.9, "sought": 5000}
    return Floor(entries=entries, threshold=threshold, fpir=fpir, **(said | changes))


def group(label: str, **changes: Any) -> GroupResult:
    """A group of volunteers with enough people."""
    said: dict[str, Any] = {
        "people": 40_000,
        "falsely_matched": 0,
        "tpir": 0.9,
        "sought": 5000,
        "failure_to_acquire": 0.01,
    }
    return GroupResult(label=label, **(said | changes))


def difference(**changes: Any) -> Difference:
    """A difference that chance does not explain."""
    said: dict[str, Any] = {
        "rate": "fpir",
        "groups": ("group a", "group b"),
        "worst": "group b",
        "p_value": 0.001,
    }
    return Difference(**(said | changes))


def certificate(**changes: Any) -> Certificate:
    """What the evaluator signs."""
    said: dict[str, Any] = {
        "model_pack_sha256": PACK_SHA256,
        "issued_at": START - timedelta(days=30),
        "report_sha256": "cd" * 32,
        "expires_at": START + timedelta(days=335),
        "dataset": "pictures of volunteers, made for a test",
        "people": 9000,
        "excluded": Excluded(pictures=0, people=0),
        "seed": 0,
        "failure_to_acquire": 0.01,
        "runtime": "a runtime 1.0",
        "machine": "x86_64",
        "confidence": 0.95,
        "floors": (floor(100, 0.5), floor(2000, 0.6)),
        "volunteers_attested": True,
        "groups_tested": (group("group a"), group("group b")),
        "groups_too_small": (),
        "groups_threshold": 0.5,
        "groups_fpir": 0.001,
        "differences": (),
    }
    return Certificate(**(said | changes))


def lease(**changes: Any) -> Lease:
    """What the control room signs; the challenge is to be given by the test."""
    said: dict[str, Any] = {
        "unit": UNIT,
        "deployment": DEPLOYMENT,
        "challenge": "A" * 22,
        "sequence": 7,
        "issued_at": NOW.wall,
        "duration_s": 6.0,
        "officers": 4,
    }
    return Lease(**(said | changes))


def state(**changes: Any) -> UnitState:
    """What the unit says of itself, asking for a lease."""
    counts = AlertCounts(made=0, pending=0, received=0, expired=0, displaced=0, discarded=0)
    said: dict[str, Any] = {
        "unit": UNIT,
        "boot": "0123456789abcdef",
        "birth": 1,
        "sequence": 1,
        "at": NOW.wall,
        "state": Presence.STANDBY,
        "rule": "R16",
        "reason": "no lease",
        "problem": "",
        "kind": Kind.LIVE,
        "deployment": DEPLOYMENT,
        "authority_sha256": "ef" * 32,
        "challenge": "A" * 22,
        "camera": CameraState.CLOSED,
        "buffers_wiped": True,
        "lapse_to_closed_ms": None,
        "frames": 0,
        "faces": Faces(processed=0, deleted=0, in_live_alerts=0),
        "alerts": counts,
        "rate": rate(),
        "audit_sequence": 12,
        "audit_sha256": "ab" * 32,
        "revoked": (),
    }
    return UnitState(**(said | changes))


def health(**changes: Any) -> Health:
    """Of a Raspberry Pi at work, whose supply was too weak some time ago."""
    said: dict[str, Any] = {
        "unit": UNIT,
        "kind": Kind.LIVE,
        "boot": "0123456789abcdef",
        "sequence": 7,
        "at": NOW.wall,
        "running_s": 180.4,
        "version": "0.1.0",
        "model_pack_sha256": "cd" * 32,
        "board": "Raspberry Pi 5 Model B Rev 1.0",
        "os": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.6.51+rpt-rpi-2712",
        "uptime_s": 512.6,
        "clock_synchronised": True,
        "clock_trusted": True,
        "temperature_c": 71.3,
        "critical_c": 110.0,
        "throttled_now": (),
        "throttled_ever": ("undervoltage",),
        "undervoltage": False,
        "frequency_limited": False,
        "over_current_events": 0,
        "memory_total_bytes": 8_245_882_880,
        "memory_available_bytes": 7_105_118_208,
        "process_bytes": 183_500_800,
        "disk_total_bytes": 29_526_433_792,
        "disk_free_bytes": 21_474_836_480,
        "disk_read_only": False,
        "storage_wear_percent": 10,
        "storage_warning": False,
        "file_system_errors": 0,
        "load_1m": 1.7,
        "cpu_count": 4,
        "frames_per_s": 9.8,
        "frame_age_p50_ms": 66.1,
        "frame_age_p95_ms": 70.5,
        "outbox_pending": 1,
        "oldest_alert_age_s": 0.4,
        "connections": 1,
        "messages_dropped": 0,
        "publications_forbidden": 0,
        "certificate_days": 211.4,
    }
    return Health(**(said | changes))


def rate(**changes: Any) -> Rate:
    """How the guard of the false alert rate stands."""
    said: dict[str, Any] = {
        "passed": 1279,
        "alerts": 3,
        "false_alerts": 1,
        "awaiting": 1,
        "bound": 0.0001,
        "limit": 0.001,
        "suspended": False,
        "suspension": "",
        "unjudged": ("0" * 32,),
    }
    return Rate(**(said | changes))


def decision(**changes: Any) -> Decision:
    """What the operator signs."""
    said: dict[str, Any] = {
        "alert": "0" * 32,
        "kind": Kind.LIVE,
        "unit": UNIT,
        "deployment": DEPLOYMENT,
        "test_subject": False,
        "choice": Choice.ENGAGE,
        "made_at": NOW.wall - timedelta(minutes=5),
        "decided_at": NOW.wall - timedelta(minutes=4),
    }
    return Decision(**(said | changes))


def verdict(decided: bytes, **changes: Any) -> Verdict:
    """What the officer signs about an operator's signed decision."""
    said: dict[str, Any] = {
        "decision": decided.decode(),
        "finding": Finding.CONFIRMED_MATCH,
        "outcome": Result.ARREST,
        "concluded_at": NOW.wall,
    }
    return Verdict(**(said | changes))


SUSPENSION = "5a" * 16


def review(**changes: Any) -> RateReview:
    """What the authorising officer signs after looking into a suspension."""
    said: dict[str, Any] = {
        "unit": UNIT,
        "deployment": DEPLOYMENT,
        "alerts": 3,
        "suspension": SUSPENSION,
        "reviewed_at": NOW.wall,
        "reason": "a low sun behind the camera; it was turned and tried with volunteers",
    }
    return RateReview(**(said | changes))


def checkpoint(**changes: Any) -> Checkpoint:
    """The unit's word for its log."""
    said: dict[str, Any] = {
        "unit": UNIT,
        "boot": "0123456789abcdef",
        "sequence": 12,
        "sha256": "ab" * 32,
        "previous": "cd" * 32,
        "at": NOW.wall,
        "clock_trusted": True,
        "monotonic_ns": NOW.monotonic_ns,
    }
    return Checkpoint(**(said | changes))


def receipt(**changes: Any) -> Receipt:
    """The control room's word that an alert is committed."""
    said: dict[str, Any] = {"alert": "0" * 32, "unit": UNIT, "received_at": NOW.wall}
    return Receipt(**(said | changes))


def revocation(**changes: Any) -> Revocation:
    """The end of a deployment."""
    said: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "units": (UNIT,),
        "issued_at": NOW.wall,
        "reason": "officers called away",
    }
    return Revocation(**(said | changes))


@dataclass(frozen=True)
class Desk:
    """Everybody who signs."""

    seed: int = 0
    profile: Profile = field(default_factory=profile)

    @cached_property
    def people(self) -> dict[Role, Identity]:
        """One key holder a role; the unit is `unit-1`."""
        return {role: identity(role, UNIT if role is Role.UNIT else str(role), self.seed) for role in Role}

    def __getitem__(self, role: Role) -> Identity:
        return self.people[role]

    @cached_property
    def unit(self) -> Identity:
        """The unit under test."""
        return self[Role.UNIT]

    @cached_property
    def other_unit(self) -> Identity:
        """Another unit of the same force."""
        return identity(Role.UNIT, OTHER_UNIT, self.seed)

    def trusted(self, who: Identity, **changes: Any) -> TrustedKey:
        """A trust store's line about somebody."""
        line = trusted(who, not_before=START - timedelta(days=365), not_after=END + timedelta(days=365))
        return TrustedKey(**(dict(line) | changes))

    @cached_property
    def keys(self) -> tuple[TrustedKey, ...]:
        """Everybody but the root."""
        holders = [who for role, who in self.people.items() if role is not Role.ROOT]
        return tuple(self.trusted(who) for who in [*holders, self.other_unit])

    def trust_content(self, **changes: Any) -> TrustStoreContent:
        """What the root signs."""
        said: dict[str, Any] = {
            "sequence": 1,
            "issued_at": START - timedelta(days=1),
            "root_x": str(self[Role.ROOT].signing.as_dict(private=False)["x"]),
            "profile": self.profile,
            "keys": self.keys,
        }
        return TrustStoreContent(**(said | changes))

    def trust_document(self, **changes: Any) -> bytes:
        """The signed trust store."""
        payload = self.trust_content(**changes).model_dump_json().encode()
        return sign_general(payload, TYP, self[Role.ROOT].signing)

    def trust_with(self, **changes: Any) -> TrustStore:
        """A verified trust store with something changed."""
        return open_trust_store(self.trust_document(**changes), self[Role.ROOT].kid)

    @cached_property
    def trust(self) -> TrustStore:
        """The verified trust store."""
        return self.trust_with()

    def trust_changing(self, role: Role, **changes: Any) -> TrustStore:
        """A verified trust store in which one role's line is changed."""
        who = self[role]
        changed = self.trusted(who, **changes)
        return self.trust_with(keys=tuple(changed if key.kid == who.kid else key for key in self.keys))

    def authority(self, **changes: Any) -> Authority:
        """What the authorising officer signs."""
        said: dict[str, Any] = {
            "kind": Kind.LIVE,
            "deployment": DEPLOYMENT,
            "sequence": 1,
            "units": (UNIT, OTHER_UNIT),
            "site": "High Street, north end",
            "use_case": UseCase.HOTSPOT,
            "necessity": "Less intrusive ways were tried for six weeks and did not work here.",
            "proportionality": "Four hours on one street against a list of few, seriously wanted people.",
            "is_assembly_or_protest": False,
            "signage_confirmed": True,
            "urgent": False,
            "issued_at": START - timedelta(hours=5),
            "start": START,
            "end": END,
            "watchlist_sha256": "12" * 32,
            "model_pack_sha256": PACK_SHA256,
            "threshold": 0.64,
            "margin": 0.05,
            "agreeing_frames": 3,
            "alert_ttl_s": 60.0,
            "realert_s": 300.0,
            "retention_h": 24.0,
            "lease_max_s": 10.0,
            "alert_key": self[Role.CONTROL_ROOM].seal_key,
        }
        return Authority(**(said | changes))

    def bench_authority(self, **changes: Any) -> Authority:
        """What the bench's key signs."""
        return self.authority(**({"kind": Kind.BENCH} | changes))

    def watchlist(
        self,
        entries: Iterable[Entry] = (),
        *,
        signers: tuple[Role, ...] = (Role.WATCHLIST_OFFICER,),
        units: Iterable[Identity] | None = None,
        rows: npt.NDArray[np.float32] | None = None,
        **changes: Any,
    ) -> bytes:
        """The sealed and signed file."""
        listed = tuple(entries) or tuple(entry(n) for n in range(8))
        said = terms(listed, **changes)
        sealed_to = [
            one_time(unit.name, said.deployment, self.seed).public for unit in (units or [self.unit])
        ]
        vectors = templates(len(listed), seed=self.seed) if rows is None else rows
        people = [self[role] for role in signers]
        return pack(said, listed, vectors, sealed_to, *people, commitments_sha256="ab" * 32)

    def state_message(self, signer: Identity | None = None, **changes: Any) -> bytes:
        """A unit's state as it arrives at the desk."""
        token = sign(STATE, state(**changes), signer or self.unit)
        return wrap("state", token, identifier="s-1", source=UNIT, time=NOW.wall)

    def alert(self, signer: Identity | None = None, now: Instant = NOW, **changes: Any) -> Sealed:
        """An alert made by the product itself from a hit; the changes are to the authority."""
        pixels = np.random.default_rng(self.seed).integers(0, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
        about = Circumstances(self.authority(**changes), "ef" * 32, 7, now.wall, 41)
        return make_alert(Hit(0, 0, 0.7, 0.8, 3), entry(0), Chip(pixels), about, signer or self.unit, now)


@dataclass(frozen=True)
class Folder:
    """A unit's files on disk, as `load_deployment` reads them; every part may be replaced."""

    path: Path
    desk: Desk

    def config(self, source: str = "v4l2:/dev/video0") -> Config:
        """The unit's configuration."""
        return Config(
            file=self.path / "edgeagent.toml",
            unit=UnitSection(name=UNIT, key="unit.key"),
            trust=TrustSection(store="trust.json", root=self.desk[Role.ROOT].kid),
            documents=DocumentsSection(
                authority="authority.json", watchlist="list.edgelist", certificate="certificate.json"
            ),
            data=DataSection(folder="data"),
            camera=CameraSection(source=source),
            broker=BrokerSection(host="broker.test", ca="ca.pem", certificate="c.pem", key="k.pem"),
        )

    def unit(self, *, source: str = "v4l2:/dev/video0", trust: TrustStore | None = None) -> Unit:
        """The unit with its keys and its trust store."""
        return Unit(self.config(source), self.desk.unit, trust or self.desk.trust, PACK_SHA256)

    def put(
        self,
        *,
        entries: Iterable[Entry] = (),
        watchlist: bytes | None = None,
        bench: bool = False,
        signers: tuple[Role, ...] | None = None,
        certificate_of: Certificate | None = None,
        **authority: Any,
    ) -> None:
        """Write authority, watchlist, one-time key and certificate; keywords change the authority."""
        content = watchlist or self.desk.watchlist(entries)
        named = {"watchlist_sha256": hashlib.sha256(content).hexdigest()} | authority
        kind: DocumentType[Authority] = BENCH_AUTHORITY if bench else AUTHORITY
        body = self.desk.bench_authority(**named) if bench else self.desk.authority(**named)
        roles = signers or ((Role.BENCH,) if bench else (Role.AUTHORISING_OFFICER,))
        (self.path / "list.edgelist").write_bytes(content)
        key = one_time(deployment=body.deployment, seed=self.desk.seed)
        for data in (self.path / "data", self.path / "data" / "bench"):
            if not key_file(data, key.deployment).exists():
                save_key(key, data)
        (self.path / "authority.json").write_bytes(sign(kind, body, *(self.desk[role] for role in roles)))
        signed = sign(CERTIFICATE, certificate_of or certificate(), self.desk[Role.EVALUATOR])
        (self.path / "certificate.json").write_bytes(signed)


# --- what the product would refuse to sign ------------------------------------------------------------------


def b64(raw: bytes) -> str:
    """Unpadded base64url, independent of the product's."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw_signature(header: bytes, payload: bytes, key: OKPKey) -> str:
    """Ed25519 over the JWS signing input, whatever the header says."""
    private = key.private_key
    assert private is not None
    signed: bytes = private.sign(f"{b64(header)}.{b64(payload)}".encode())  # type: ignore[union-attr]
    return b64(signed)


def raw_document(
    kind: DocumentType[Any], payload: bytes, *signers: Identity, header: dict[str, Any] | bytes | None = None
) -> bytes:
    """Genuinely signed bytes: any payload, any header, any roles."""
    signatures = []
    for who in signers:
        usual = {"alg": "Ed25519", "typ": kind.typ, "kid": who.kid}
        head = header if isinstance(header, bytes) else json.dumps(usual | (header or {})).encode()
        signatures.append((b64(head), raw_signature(head, payload, who.signing)))
    if kind.compact:
        ((protected, signature),) = signatures
        return f"{protected}.{b64(payload)}.{signature}".encode()
    entries = [{"protected": protected, "signature": signature} for protected, signature in signatures]
    return json.dumps({"payload": b64(payload), "signatures": entries}).encode()


def as_dict(body: StrictModel) -> dict[str, Any]:
    """The body as a JSON object, to be changed and signed raw."""
    said: dict[str, Any] = json.loads(body.model_dump_json())
    return said
