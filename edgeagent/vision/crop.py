"""What of a chip may leave in an alert: the matched face, and nothing of who stands beside it (R2)."""

from __future__ import annotations

import cv2
import numpy as np

from edgeagent.vision.types import CHIP_SIZE, Chip, UInt8Image

CENTRE, AXES = (56, 60), (50, 64)
"""Ellipse of the face in an aligned chip, pixels; half an eye distance wider than the landmarks."""


def face_mask() -> UInt8Image:
    """(112, 112) uint8: 255 inside the face's ellipse, 0 outside."""
    mask = np.zeros((CHIP_SIZE, CHIP_SIZE), np.uint8)
    cv2.ellipse(mask, CENTRE, AXES, 0, 0, 360, 255, -1)
    return mask


def face_only(chip: Chip) -> None:
    """Overwrite everything outside the face's ellipse with black, in place."""
    chip.pixels[face_mask() == 0] = 0
