"""Building a watchlist: from images and rows to entries and templates. A defect refuses the whole list.

Memory is bounded by the row of templates and one image, whatever the length of the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from edgeagent.controlroom.duplicates import DUPLICATE_COSINE, find_duplicates
from edgeagent.controlroom.enrolment_csv import Row
from edgeagent.controlroom.work_file import WorkFile
from edgeagent.errors import EnrolmentError
from edgeagent.safeguards.watchlist import Entry
from edgeagent.system.files import read_bounded
from edgeagent.system.pictures import FILE_LIMIT, read_picture
from edgeagent.vision.align import align, probe_of
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.quality import Limits, defects, measure
from edgeagent.vision.types import Face, Float32Array, Frame

SECOND_FACE = 0.3
"""A second face at least this wide, compared with the first, makes it unclear who is meant."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be enrolled, and why."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Entries with their templates, (n, d) float32 of unit length; or the refusals."""

    entries: tuple[Entry, ...]
    templates: Float32Array
    refusals: tuple[Refusal, ...]


def enrol(
    rows: list[Row],
    images: Path,
    detector: Detector,
    embedder: Embedder,
    *,
    limits: Limits,
    today: date,
    on_row: Callable[[], None],
    work: Work | None = None,
    alike: float = DUPLICATE_COSINE,
) -> Enrolled:
    """Enrol every row; one image at a time is in memory. `on_row` is called after each.

    Args:
        work: what an earlier, interrupted build has done, and where to note what is done now.
        alike: least cosine of two persons who are taken for one, as the model pack says.
    """
    entries: list[Entry] = []
    templates = np.zeros((len(rows), embedder.dimensions), np.float32)
    refusals: list[Refusal] = []
    try:
        for row in rows:
            try:
                entry = row.to_entry(today)
                image = images / row.image
                out = templates[len(entries)]
                if work is None:
                    _enrol_image(image, detector, embedder, limits, out)
                else:
                    _resume_image(work, row, image, detector, embedder, limits, out)
                entries.append(entry)
            except EnrolmentError as refusal:
                refusals.append(Refusal(row.entry, str(refusal)))
            on_row()
        listed = tuple(entries)
        refusals += _one_face_twice(listed, templates[: len(entries)], alike)
        return Enrolled(listed, templates[: len(entries)], tuple(refusals))
    except BaseException:
        templates.fill(0)  # R1: an interrupted build leaves no template in memory
        raise


def _one_face_twice(entries: tuple[Entry, ...], templates: Float32Array, alike: float) -> list[Refusal]:
    """R7: one face under two persons' names is a mistake in the list, and nobody could tell who was met."""
    remedy = "if it is one person, give both rows the same person; if not, use another picture of one"
    return [
        Refusal(
            pair.second,
            f"has the face of entry {pair.first}, another person "
            f"(cosine {pair.cosine:.2f}, limit {alike:g}) [R7] — {remedy}",
        )
        for pair in find_duplicates(entries, templates, alike)
    ]


@dataclass(frozen=True, slots=True)
class Work:
    """The work file as the workshop uses it: by row, image, limits and model pack."""

    file: WorkFile
    pack_sha256: str

    def key(self, row: Row, image: Path, limits: Limits) -> bytes:
        """SHA-256 of everything that the template follows from.

        Raises:
            EnrolmentError: the image cannot be read.
        """
        picture = hashlib.sha256(read_bounded(image, FILE_LIMIT, EnrolmentError)).hexdigest()
        said = "\n".join((row.model_dump_json(), picture, repr(limits), self.pack_sha256))
        return hashlib.sha256(said.encode()).digest()


def _resume_image(
    work: Work,
    row: Row,
    path: Path,
    detector: Detector,
    embedder: Embedder,
    limits: Limits,
    out: Float32Array,
) -> None:
    key = work.key(row, path, limits)
    if work.file.get(key, out):
        return
    _enrol_image(path, detector, embedder, limits, out)
    if work.key(row, path, limits) == key:  # the image was not exchanged meanwhile
        work.file.put(key, out)


def _enrol_image(
    path: Path, detector: Detector, embedder: Embedder, limits: Limits, out: Float32Array
) -> None:
    pixels = read_picture(path, EnrolmentError)
    try:
        frame = Frame(pixels, captured_ns=0, sequence=0)
        face = _only_face(detector.detect(frame), path)
        chip = align(frame, face)
        try:
            faults = defects(measure(chip, face), limits)
            if faults:
                raise EnrolmentError(
                    f"is not good enough: {'; '.join(faults)}",
                    where=str(path),
                    next_step="use a sharper, larger, frontal picture of this person",
                )
            probe = probe_of(chip, frame, face, embedder.layout)
            try:
                embedder.embed(probe, out)
            finally:
                probe.pixels.fill(0)  # R1
        finally:
            chip.pixels.fill(0)  # R1
    finally:
        pixels.fill(0)
        detector.wipe()
        embedder.wipe()


def _only_face(faces: list[Face], path: Path) -> Face:
    """The one face of the picture; a much smaller one far behind does not count."""
    if not faces:
        raise EnrolmentError("shows no face", where=str(path), next_step="use a picture that shows the face")
    widest = by_far_widest(faces)
    if widest is None:
        raise EnrolmentError(
            "shows more than one person", where=str(path), next_step="cut out the person who is meant"
        )
    return widest


def by_far_widest(faces: list[Face]) -> Face | None:
    """The one of n ≥ 1 faces beside which none is `SECOND_FACE` as wide or more; None if there is none."""
    first, *others = sorted(faces, key=lambda face: float(face.box[2]), reverse=True)
    return None if others and others[0].box[2] >= SECOND_FACE * first.box[2] else first
