"""How good a picture of a face is: four plain measures, and limits below which it is not enrolled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeagent.vision.types import Chip, Face


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one face.

    Attributes:
        inter_eye_px: distance between the eyes in the picture, pixels.
        sharpness: variance of the Laplacian of the chip over the variance of its brightness; no unit.
        asymmetry: how far the nose is from the middle of the eyes, in inter-eye distances; 0 is frontal.
        brightness, contrast: mean and standard deviation of the chip's grey values, 0 to 255.
    """

    inter_eye_px: float
    sharpness: float
    asymmetry: float
    brightness: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What an enrolled picture must at least have; chosen on pictures blurred and shrunk on purpose."""

    inter_eye_px: float = 28.0
    sharpness: float = 0.012
    asymmetry: float = 0.40
    darkest: float = 35.0
    brightest: float = 225.0
    contrast: float = 12.0


def measure(chip: Chip, face: Face) -> Quality:
    """Measure one face; the chip is aligned, so the measures do not depend on its size or tilt."""
    grey = cv2.cvtColor(chip.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    inner = grey[20:104, 20:92]
    contrast = float(inner.std())
    sharpness = float(cv2.Laplacian(inner, cv2.CV_32F).var()) / max(contrast**2, 1.0)
    brightness = float(inner.mean())
    grey.fill(0)  # R1
    return Quality(face.inter_eye_px, sharpness, _asymmetry(face), brightness, contrast)


def _asymmetry(face: Face) -> float:
    left, right, nose = face.landmarks[0], face.landmarks[1], face.landmarks[2]
    across = right - left
    along = float(np.dot(nose - (left + right) / 2, across)) / max(float(np.dot(across, across)), 1.0)
    return abs(along)


def defects(quality: Quality, limits: Limits) -> list[str]:
    """Why the picture should not be enrolled, in plain words; empty if it may be."""
    checks = (
        (
            quality.inter_eye_px < limits.inter_eye_px,
            f"face too small ({quality.inter_eye_px:.0f} px between eyes)",
        ),
        (quality.sharpness < limits.sharpness, f"blurred (sharpness {quality.sharpness:.4f})"),
        (quality.asymmetry > limits.asymmetry, f"turned away (asymmetry {quality.asymmetry:.2f})"),
        (quality.brightness < limits.darkest, f"too dark (brightness {quality.brightness:.0f})"),
        (quality.brightness > limits.brightest, f"too bright (brightness {quality.brightness:.0f})"),
        (quality.contrast < limits.contrast, f"too little contrast ({quality.contrast:.0f})"),
    )
    return [reason for failed, reason in checks if failed]
