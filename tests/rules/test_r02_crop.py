"""R2: an alert shows the matched face alone. Here on crowded frames, through the sealed and opened crop."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeagent.alerts.alert import Circumstances, make_alert
from edgeagent.capture.scene import SceneRenderer
from edgeagent.demo.scene import ENROLLED, write_street
from edgeagent.documents.keys import Role
from edgeagent.documents.seal import crop_info, unseal
from edgeagent.safeguards.decide import Hit
from edgeagent.vision.align import REFERENCE_LANDMARKS, align
from edgeagent.vision.crop import face_mask, face_only
from edgeagent.vision.types import CHIP_SIZE, Chip, Face, Frame, UInt8Image
from tests.desk import NOW, Desk, entry
from tests.real_networks import Eyes, eyes, portrait

HIT = Hit(entry=0, person=0, score=0.7, best=0.8, frames=3)
RINGING = 48
"""JPEG blurs the edge of the ellipse within its own blocks; beyond them nothing at all may be seen."""
BLOCK = 16


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> UInt8Image:
    """The demo's street with several people in one frame."""
    renderer = SceneRenderer(write_street(tmp_path_factory.mktemp("street"), 12.0, 5))
    return renderer.draw(6 * 15)


def opened_crop(desk: Desk, chip: Chip) -> UInt8Image:
    """What the control room sees: the crop made, sealed, signed, opened and decoded."""
    about = Circumstances(desk.authority(), "ef" * 32, 7, NOW.wall, 41)
    alert = make_alert(HIT, entry(0), chip, about, desk.unit, NOW).alert
    sealed = base64.urlsafe_b64decode(alert.crop + "=" * (-len(alert.crop) % 4))
    jpeg = unseal(sealed, desk[Role.CONTROL_ROOM].sealing, crop_info(alert.unit, alert.alert))
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def chip_of(seed: int = 0) -> Chip:
    return Chip(np.random.default_rng(seed).integers(1, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8))


def test_outside_the_ellipse_is_black_and_inside_is_untouched() -> None:
    chip = chip_of()
    before = chip.pixels.copy()
    face_only(chip)
    outside = face_mask() == 0
    assert not chip.pixels[outside].any()
    assert np.array_equal(chip.pixels[~outside], before[~outside])
    once = chip.pixels.copy()
    face_only(chip)
    assert np.array_equal(chip.pixels, once)


def test_the_ellipse_holds_the_face_and_not_the_corners() -> None:
    mask = face_mask()
    assert set(np.unique(mask)) == {0, 255}
    for x, y in REFERENCE_LANDMARKS:
        assert mask[round(float(y)), round(float(x))] == 255
    corners = mask[np.ix_([0, 5, -6, -1], [0, 5, -6, -1])]
    assert not corners.any()
    assert 0.5 < (mask > 0).mean() < 0.9


def test_crops_of_a_crowded_frame_show_one_person_each(crowd: UInt8Image, networks: Eyes, desk: Desk) -> None:
    frame = Frame(crowd, captured_ns=0, sequence=0)
    faces = networks.faces(crowd)
    assert len(faces) >= 3
    far_outside = cv2.dilate(face_mask(), np.ones((BLOCK * 2 + 1,) * 2, np.uint8)) == 0
    for face in faces:
        crop = opened_crop(desk, align(frame, face))
        assert crop.shape == (CHIP_SIZE, CHIP_SIZE, 3)
        assert crop[face_mask() == 0].max() < RINGING
        assert not crop[far_outside].any()
        assert crop[face_mask() > 0].std() > 15


@pytest.mark.parametrize("side", [-1, 1])
def test_a_neighbour_cheek_by_jowl_is_not_recognisable(side: int, networks: Eyes, desk: Desk) -> None:
    """Two people as near as heads can be: the neighbour was found in the frame and is not in the crop."""
    picture = portrait(ENROLLED)
    (face,) = networks.faces(picture)
    eye_px = face.inter_eye_px
    reach = round(2.3 * eye_px)
    middle_x, middle_y = (round(float(value)) for value in face.landmarks.mean(axis=0))
    half = round(1.15 * eye_px)
    head = picture[max(middle_y - reach, 0) : middle_y + reach, middle_x - half : middle_x + half]
    both = np.ascontiguousarray(np.hstack([head, head]))
    both = np.asarray(cv2.copyMakeBorder(both, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(90, 90, 90)))
    faces = sorted(networks.faces(both), key=lambda found: side * float(found.landmarks[:, 0].mean()))
    assert len(faces) == 2
    crop = opened_crop(desk, align(Frame(both, captured_ns=0, sequence=0), faces[0]))
    large = np.asarray(cv2.resize(crop, (448, 448), interpolation=cv2.INTER_CUBIC), np.uint8)
    seen = networks.faces(
        np.asarray(cv2.copyMakeBorder(large, 96, 96, 96, 96, cv2.BORDER_CONSTANT), np.uint8)
    )
    assert len(seen) == 1
    assert abs(float(seen[0].landmarks[2, 0]) - 96 - 4 * 56) < 40


def test_the_jpeg_carries_no_more_than_its_picture(networks: Eyes, desk: Desk, crowd: UInt8Image) -> None:
    """No thumbnail, no EXIF, no comment: nothing of the frame rides along."""
    (first, *_) = networks.faces(crowd)
    about = Circumstances(desk.authority(), "ef" * 32, 7, NOW.wall, 41)
    chip = align(Frame(crowd, captured_ns=0, sequence=0), first)
    alert = make_alert(HIT, entry(0), chip, about, desk.unit, NOW).alert
    sealed = base64.urlsafe_b64decode(alert.crop + "=" * (-len(alert.crop) % 4))
    jpeg = unseal(sealed, desk[Role.CONTROL_ROOM].sealing, crop_info(alert.unit, alert.alert))
    assert set(_segments(jpeg)) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}
    assert jpeg.endswith(b"\xff\xd9")


def _segments(jpeg: bytes) -> list[int]:
    """Marker of each segment before the picture's data."""
    stream = io.BytesIO(jpeg)
    found: list[int] = []
    assert stream.read(2) == b"\xff\xd8"
    while not found or found[-1] != 0xDA:
        start, marker = stream.read(2)
        assert start == 0xFF
        found.append(marker)
        stream.seek(int.from_bytes(stream.read(2)) - 2, io.SEEK_CUR)
    return found


def test_a_face_at_the_edge_of_the_frame(desk: Desk) -> None:
    picture = np.full((120, 120, 3), 200, np.uint8)
    landmarks = (REFERENCE_LANDMARKS - np.array([60, 60])).astype(np.float32)
    face = Face(np.array([-40, -40, 100, 100], np.float32), landmarks, 0.9)
    crop = opened_crop(desk, align(Frame(picture, captured_ns=0, sequence=0), face))
    assert crop[face_mask() == 0].max() < RINGING


def test_no_other_picture_is_made_for_an_alert() -> None:
    """One place encodes pictures outside the demo, and it is handed a chip, never a frame."""
    package = Path(__file__).resolve().parents[2] / "edgeagent"
    encoders = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if re.search(r"\bim(encode|write)", file.read_text()) and file.parent.name != "demo"
    }
    assert encoders == {"alerts/alert.py"}
