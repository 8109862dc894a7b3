"""A scripted hit as a bench alert; nothing else can be made here (R33)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

import cv2
import numpy as np

from edgeagent.alerts.alert import Circumstances, Sealed, make_alert
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.table import BENCH_AUTHORITY, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import SafeguardError
from edgeagent.fleet.names import PREFIX
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.watchlist import Entry
from edgeagent.vision.types import CHIP_SIZE, Chip, UInt8Image

BLOBS = 14
"""Side of the noise that is enlarged to a chip: its JPEG is about as long as a face's."""
SUBJECT = Entry(
    entry="fleet-subject",
    person="fleet-subject",
    category=Category.TEST_SUBJECT,
    image_basis=ImageBasis.CONSENTED,
    image_taken_on=date(2026, 1, 1),
    under_18=False,
)
"""Nobody."""


@dataclass(frozen=True, slots=True)
class BenchPaper:
    """A bench authority that was verified, and its hash."""

    authority: Authority
    sha256: str

    @classmethod
    def of(cls, document: bytes, trust: TrustStore, now: Instant) -> Self:
        """Verify a bench authority.

        Raises:
            DocumentError: another type of document, or not signed by a bench key.
            SafeguardError: R33, it says that it is a live one.
        """
        authority = verify(BENCH_AUTHORITY, document, trust, now).body
        paper = cls(authority, hashlib.sha256(document).hexdigest())
        _refuse_live(authority)
        return paper


def bench_alert(
    unit: Identity, paper: BenchPaper, number: int, captured_at: datetime, now: Instant
) -> Sealed:
    """The alert of a scripted hit: a picture of nobody, sealed and signed as any other.

    Raises:
        SafeguardError: R33, for anything but a simulated unit under a bench authority that names it.
    """
    _refuse_live(paper.authority)
    simulated = unit.role is Role.UNIT and unit.name.startswith(PREFIX)
    if not simulated or unit.name not in paper.authority.units:
        raise SafeguardError(
            f"{unit.name!r} is no unit of this simulated fleet",
            where="alert",
            next_step="a simulation makes alerts of its own units only",
            rule="R33",
        )
    hit = Hit(entry=0, person=0, score=0.7, best=0.8, frames=paper.authority.agreeing_frames)
    about = Circumstances(paper.authority, paper.sha256, 1, captured_at, number)
    return make_alert(hit, SUBJECT, Chip(_nobody(number)), about, unit, now)


def _refuse_live(authority: Authority) -> None:
    if authority.kind is not Kind.BENCH:
        raise SafeguardError(
            "a simulated hit is never a live one",
            where="authority field kind",
            next_step="use a camera, under a live authority",
            rule="R33",
        )


def _nobody(number: int) -> UInt8Image:
    """(112, 112, 3) uint8: blurred noise that follows from the number."""
    coarse = np.random.default_rng(number).integers(40, 216, (BLOBS, BLOBS, 3), np.uint8)
    picture = cv2.resize(coarse, (CHIP_SIZE, CHIP_SIZE), interpolation=cv2.INTER_CUBIC)
    return picture.astype(np.uint8, copy=False)
