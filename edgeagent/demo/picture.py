"""The demo's picture of one alert: the alerted face in the open, everybody else made unrecognisable.

Drawn from the generated scene, which the demo can draw again; the product itself has no such picture (R2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeagent.capture.scene import Place
from edgeagent.vision.types import Face, UInt8Image

BANNER = "GENERATED SCENE - STAND-INS FROM PUBLIC-DOMAIN PORTRAITS - BENCH TEST, NOT A DEPLOYMENT"
AMBER, WHITE, INK = (40, 170, 255), (255, 255, 255), (38, 32, 28)
BAND = 40
PANEL, CROP_SIDE = 256, 224
PIXELATE = 6
FONT = cv2.FONT_HERSHEY_DUPLEX


def alert_picture(
    frame: UInt8Image,
    face: Face,
    place: Place,
    others: Sequence[Place],
    crop: UInt8Image,
    lines: Sequence[str],
) -> UInt8Image:
    """The annotated picture.

    Args:
        frame: (H, W, 3) uint8 BGR, the frame that completed the hit, drawn again.
        face: the alerted one, and `place`, where the scene put that person.
        others: everybody else whom the scene put there, also whom no detector found.
        crop: (112, 112, 3) uint8 BGR, what the alert itself carried.
        lines: what to print beside the crop.

    Returns:
        (H + 40 + 256, W, 3) uint8 BGR: banner, street, and what the control room received.
    """
    picture = frame.copy()
    for behind in (other for other in others if other.height <= place.height):
        _hide(picture, behind)
    _show_again(picture, frame, face)
    for before in (other for other in others if other.height > place.height):
        _hide(picture, before)
    _mark(picture, face)
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


def _hide(picture: UInt8Image, place: Place) -> None:
    """Pixelate and blur an ellipse well beyond the head, hat included."""
    middle = (round(place.face[0]), round(place.face[1] - 0.03 * place.height))
    axes = (round(place.height * 0.21), round(place.height * 0.30))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, -1)
    y0, y1 = max(middle[1] - axes[1], 0), min(middle[1] + axes[1], picture.shape[0])
    x0, x1 = max(middle[0] - axes[0], 0), min(middle[0] + axes[0], picture.shape[1])
    if x0 >= x1 or y0 >= y1:
        return
    part = picture[y0:y1, x0:x1]
    cells = (
        max(part.shape[1] * PIXELATE // (2 * axes[0]), 1),
        max(part.shape[0] * PIXELATE // (2 * axes[1]), 1),
    )
    coarse = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(coarse, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    hidden = cv2.GaussianBlur(hidden, (0, 0), axes[0] / 14)
    np.copyto(part, hidden, where=mask[y0:y1, x0:x1, None] > 0)


def _show_again(picture: UInt8Image, frame: UInt8Image, face: Face) -> None:
    """The alerted face, where hiding somebody behind it hid it too."""
    left, top, width, height = (float(value) for value in face.box)
    middle = (round(left + width / 2), round(top + height / 2))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(mask, middle, (round(width * 0.55), round(height * 0.58)), 0, 0, 360, 255, -1)
    np.copyto(picture, frame, where=mask[..., None] > 0)


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
