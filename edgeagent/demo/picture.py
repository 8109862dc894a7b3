"""The demo's picture of one alert: the alerted face in the open, everybody else made unrecognisable.

Drawn from the generated scene, which the demo can draw again; the product itself has no such picture (R2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeagent.vision.types import Face, UInt8Image

BANNER = "GENERATED SCENE - STAND-INS FROM PUBLIC-DOMAIN PORTRAITS - BENCH TEST, NOT A DEPLOYMENT"
AMBER, WHITE, INK = (40, 170, 255), (255, 255, 255), (38, 32, 28)
BAND = 40
PANEL, CROP_SIDE = 256, 224
PIXELATE = 12
FONT = cv2.FONT_HERSHEY_DUPLEX


def alert_picture(
    frame: UInt8Image, faces: Sequence[Face], alerted: int, crop: UInt8Image, lines: Sequence[str]
) -> UInt8Image:
    """The annotated picture.

    Args:
        frame: (H, W, 3) uint8 BGR, the frame that completed the hit, drawn again.
        faces: all faces detected in it.
        alerted: index of the alerted one.
        crop: (112, 112, 3) uint8 BGR, what the alert itself carried.
        lines: what to print beside the crop.

    Returns:
        (H + 40 + 256, W, 3) uint8 BGR: banner, street, and what the control room received.
    """
    picture = frame.copy()
    for index, face in enumerate(faces):
        if index != alerted:
            _hide(picture, face)
    _mark(picture, faces[alerted])
    bordered = cv2.copyMakeBorder(picture, BAND, PANEL, 0, 0, cv2.BORDER_CONSTANT, value=INK)
    whole: UInt8Image = np.asarray(bordered, np.uint8)
    _panel(whole[-PANEL:], crop, lines)
    cv2.putText(whole, BANNER, (16, 27), FONT, 0.62, WHITE, 1, cv2.LINE_AA)
    return whole


def save_picture(folder: Path, picture: UInt8Image) -> Path:
    """Write the picture of the generated scene; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "alert.png"
    cv2.imwrite(str(target), picture)
    return target


def _hide(picture: UInt8Image, face: Face) -> None:
    """Pixelate and blur an ellipse well beyond the head."""
    left, top, width, height = (float(value) for value in face.box)
    middle = (round(left + width / 2), round(top + height * 0.45))
    axes = (round(width * 0.95), round(height * 0.95))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, -1)
    y0, y1 = max(middle[1] - axes[1], 0), min(middle[1] + axes[1], picture.shape[0])
    x0, x1 = max(middle[0] - axes[0], 0), min(middle[0] + axes[0], picture.shape[1])
    part = picture[y0:y1, x0:x1]
    if part.size == 0:
        return
    cells = (
        max(part.shape[1] * PIXELATE // (2 * axes[0]), 1),
        max(part.shape[0] * PIXELATE // (2 * axes[1]), 1),
    )
    coarse = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(coarse, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    hidden = cv2.GaussianBlur(hidden, (0, 0), axes[0] / 14)
    np.copyto(part, hidden, where=mask[y0:y1, x0:x1, None] > 0)


def _mark(picture: UInt8Image, face: Face) -> None:
    left, top, width, height = (round(float(value)) for value in face.box)
    pad = round(width * 0.18)
    corner, far = (left - pad, top - pad), (left + width + pad, top + height + pad)
    cv2.rectangle(picture, corner, far, INK, 6, cv2.LINE_AA)
    cv2.rectangle(picture, corner, far, AMBER, 3, cv2.LINE_AA)


def _panel(panel: UInt8Image, crop: UInt8Image, lines: Sequence[str]) -> None:
    """What the control room received."""
    large = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
    edge = (PANEL - CROP_SIDE) // 2
    panel[edge : edge + CROP_SIDE, edge : edge + CROP_SIDE] = large
    for number, line in enumerate(lines):
        colour = AMBER if number == 0 else WHITE
        place = (CROP_SIDE + 3 * edge, 2 * edge + 18 + number * 28)
        cv2.putText(panel, line, place, FONT, 0.58, colour, 1, cv2.LINE_AA)
