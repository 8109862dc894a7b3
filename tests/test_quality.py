"""Enrolment quality: what is refused and why, on a good photograph spoilt in one way at a time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgeagent.demo.scene import ENROLLED
from edgeagent.vision.align import align
from edgeagent.vision.quality import Limits, Quality, defects, measure
from edgeagent.vision.types import Face, Frame, UInt8Image
from tests.real_networks import Eyes, eyes, portrait

GOOD = Quality(inter_eye_px=80, sharpness=0.1, asymmetry=0.05, brightness=120, contrast=45)
LIMITS = Limits()


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


@pytest.fixture(scope="module")
def good() -> UInt8Image:
    return portrait(ENROLLED)


def measured(networks: Eyes, pixels: UInt8Image) -> Quality:
    (face,) = networks.faces(pixels)
    return measure(align(Frame(pixels, captured_ns=0, sequence=0), face), face)


SPOILT = {
    "inter_eye_px": (27.9, "face too small"),
    "sharpness": (0.0119, "blurred"),
    "asymmetry": (0.41, "turned away"),
    "contrast": (11.0, "too little contrast"),
}


def test_a_good_picture_has_no_defect() -> None:
    assert defects(GOOD, LIMITS) == []


@pytest.mark.parametrize(("measure_of", "spoilt"), SPOILT.items())
def test_each_limit_has_its_own_words(measure_of: str, spoilt: tuple[float, str]) -> None:
    held, says = spoilt
    (reason,) = defects(replace(GOOD, **{measure_of: held}), LIMITS)
    assert reason.startswith(says)


@pytest.mark.parametrize(("brightness", "says"), [(34.0, "too dark"), (226.0, "too bright")])
def test_light_has_two_limits(brightness: float, says: str) -> None:
    (reason,) = defects(replace(GOOD, brightness=brightness), LIMITS)
    assert reason.startswith(says)


def test_every_defect_is_named_at_once() -> None:
    assert len(defects(Quality(5, 0.0, 0.9, 10, 2), LIMITS)) == 5


def test_exactly_at_the_limit_is_enough() -> None:
    at = Quality(LIMITS.inter_eye_px, LIMITS.sharpness, LIMITS.asymmetry, LIMITS.darkest, LIMITS.contrast)
    assert defects(at, LIMITS) == []


# --- on pictures --------------------------------------------------------------------------------------


def test_the_enrolled_photograph_is_good(networks: Eyes, good: UInt8Image) -> None:
    assert defects(measured(networks, good), LIMITS) == []


def test_blur_lowers_sharpness_and_is_refused(networks: Eyes, good: UInt8Image) -> None:
    eye_px = networks.faces(good)[0].inter_eye_px
    values = [measured(networks, good).sharpness]
    for strength in (0.03, 0.08, 0.15):
        blurred = np.asarray(cv2.GaussianBlur(good, (0, 0), strength * eye_px), np.uint8)
        quality = measured(networks, blurred)
        values.append(quality.sharpness)
    assert values == sorted(values, reverse=True)
    assert any(reason.startswith("blurred") for reason in defects(quality, LIMITS))


def test_a_small_face_is_refused(networks: Eyes, good: UInt8Image) -> None:
    scale = 22 / networks.faces(good)[0].inter_eye_px
    small = np.asarray(cv2.resize(good, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    assert any(reason.startswith("face too small") for reason in defects(measured(networks, small), LIMITS))


@pytest.mark.parametrize(("gain", "says"), [(0.12, "too dark"), (4.0, "too bright")])
def test_light_is_measured(gain: float, says: str, networks: Eyes, good: UInt8Image) -> None:
    (face,) = networks.faces(good)
    lit = np.clip(good.astype(np.float32) * gain + (90 if gain > 1 else 0), 0, 255).astype(np.uint8)
    reasons = defects(measure(align(Frame(lit, captured_ns=0, sequence=0), face), face), LIMITS)
    assert any(reason.startswith(says) for reason in reasons)


def test_tilt_and_size_leave_the_measures_alone(networks: Eyes, good: UInt8Image) -> None:
    """The chip is upright whatever the picture is."""
    height, width = good.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 12, 1.0)
    tilted = np.asarray(cv2.warpAffine(good, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
    straight, slanted = measured(networks, good), measured(networks, tilted)
    assert slanted.asymmetry == pytest.approx(straight.asymmetry, abs=0.06)
    assert slanted.brightness == pytest.approx(straight.brightness, rel=0.1)
    assert slanted.contrast == pytest.approx(straight.contrast, rel=0.15)


def test_a_nose_beside_the_eyes_is_a_turned_head(networks: Eyes, good: UInt8Image) -> None:
    (face,) = networks.faces(good)
    landmarks = face.landmarks.copy()
    landmarks[2] = landmarks[0]
    turned = Face(face.box, landmarks, face.score)
    chip = align(Frame(good, captured_ns=0, sequence=0), face)
    assert measure(chip, turned).asymmetry == pytest.approx(0.5, abs=1e-3)


def test_measuring_leaves_the_chip_alone(networks: Eyes, good: UInt8Image) -> None:
    (face,) = networks.faces(good)
    chip = align(Frame(good, captured_ns=0, sequence=0), face)
    before = chip.pixels.copy()
    measure(chip, face)
    assert np.array_equal(chip.pixels, before)
