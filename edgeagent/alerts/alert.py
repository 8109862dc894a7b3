"""From a hit to an alert: the matched face alone, sealed to the deployment's key, signed by the unit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np

from edgeagent.alerts.received import signed_message
from edgeagent.documents.jws import base64url
from edgeagent.documents.keys import Identity, public_sealing_key
from edgeagent.documents.messages import Alert
from edgeagent.documents.seal import crop_info, seal
from edgeagent.documents.table import ALERT
from edgeagent.errors import EdgeAgentError
from edgeagent.safeguards.authority import Authority
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.watchlist import Entry
from edgeagent.vision.crop import face_only
from edgeagent.vision.types import CHIP_SIZE, Chip

JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Sealed:
    """An alert ready for the outbox.

    Attributes:
        message: CloudEvents envelope around the signed token.
        expires_at: wall clock.
    """

    alert: Alert
    message: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an alert says beside the hit itself."""

    authority: Authority
    authority_sha256: str
    lease_sequence: int
    captured_at: datetime
    frame: int


def make_alert(
    hit: Hit, entry: Entry, chip: Chip, about: Circumstances, unit: Identity, now: Instant
) -> Sealed:
    """Seal and sign one alert; what surrounds the face is blackened in the chip, which stays the caller's."""
    face_only(chip)  # R2
    authority = about.authority
    identifier = secrets.token_hex(16)
    expires_at = now.wall + timedelta(seconds=authority.alert_ttl_s)
    alert = Alert(
        alert=identifier,
        kind=authority.kind,
        unit=unit.name,
        deployment=authority.deployment,
        authority_sha256=about.authority_sha256,
        watchlist_sha256=authority.watchlist_sha256,
        model_pack_sha256=authority.model_pack_sha256,
        entry=entry.entry,
        category=entry.category,
        score=hit.score,
        best_score=hit.best,
        threshold=authority.threshold,
        agreeing_frames=hit.frames,
        frame=about.frame,
        captured_at=about.captured_at,
        made_at=now.wall,
        expires_at=expires_at,
        lease_sequence=about.lease_sequence,
        crop=_sealed_crop(chip, authority, unit.name, identifier),
    )
    return Sealed(alert, signed_message(ALERT, alert, unit, identifier, now), expires_at)


def _sealed_crop(chip: Chip, authority: Authority, unit: str, identifier: str) -> str:
    """The chip as JPEG, sealed (R2, R3). The plain JPEG exists for the length of this call."""
    done, jpeg = cv2.imencode(".jpg", chip.pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise EdgeAgentError(
            "the crop could not be encoded", where="alert", next_step="report this with the log"
        )
    try:
        to = public_sealing_key(authority.alert_key)
        return base64url(seal(memoryview(jpeg), to, crop_info(unit, identifier)))  # type: ignore[arg-type]
    finally:
        jpeg.fill(0)  # R1
        _cover_encoder()


def _cover_encoder() -> None:
    """Overwrite what OpenCV leaves of a JPEG where it worked on it, freed and untouched (R1).

    Noise at the highest quality needs more room than any face, on the heap and on the stack. Measured.
    """
    noise = np.random.default_rng(0).integers(0, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
    cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 100])
