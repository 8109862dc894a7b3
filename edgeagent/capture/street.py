"""The drawn street behind the people of a generated scene."""

from __future__ import annotations

import cv2
import numpy as np

from edgeagent.vision.types import UInt8Image

SKY_TOP, SKY_LOW = (214, 178, 140), (232, 220, 205)
PAVEMENT, KERB, ROAD = (150, 152, 156), (188, 190, 192), (92, 90, 88)
WALLS = ((98, 118, 150), (128, 136, 142), (86, 96, 122), (150, 156, 160), (104, 110, 118))
GLASS, SHOP = (110, 96, 84), (60, 58, 62)
SIGN_WALL, SIGN_BLUE, WHITE = (240, 240, 240), (140, 70, 20), (255, 255, 255)


def draw_street(width: int, height: int, seed: int) -> UInt8Image:
    """(height, width, 3) uint8 BGR: sky, houses, pavement, road and the sign that R22 asks for."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.uint8)
    horizon, kerb = round(height * 0.62), round(height * 0.84)
    blend = np.linspace(0, 1, horizon, dtype=np.float32)[:, None, None]
    sky = np.array(SKY_TOP, np.float32) * (1 - blend) + np.array(SKY_LOW, np.float32) * blend
    picture[:horizon] = sky.astype(np.uint8)
    picture[horizon:kerb] = PAVEMENT
    picture[kerb : kerb + 8] = KERB
    picture[kerb + 8 :] = ROAD
    _houses(picture, horizon, rng)
    for x in range(-width, 2 * width, round(width / 9)):
        cv2.line(picture, (x, kerb), (round(width / 2 + (x - width / 2) * 0.7), horizon), (136, 138, 142), 1)
    _sign(picture, round(width * 0.035), round(height * 0.20), round(width * 0.15))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.4), np.uint8)


def _houses(picture: UInt8Image, horizon: int, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    left = 0
    while left < width:
        wide = int(rng.integers(width // 8, width // 5))
        top = int(rng.integers(round(height * 0.05), round(height * 0.25)))
        wall = WALLS[int(rng.integers(len(WALLS)))]
        cv2.rectangle(picture, (left, top), (left + wide, horizon), wall, -1)
        cv2.rectangle(picture, (left, horizon - height // 9), (left + wide - 6, horizon), SHOP, -1)
        step = max(wide // 4, 20)
        for x in range(left + step // 3, left + wide - step // 2, step):
            for y in range(top + step // 2, horizon - height // 8 - step, step + 6):
                cv2.rectangle(picture, (x, y), (x + step // 2, y + round(step * 0.7)), GLASS, -1)
                cv2.rectangle(picture, (x, y), (x + step // 2, y + round(step * 0.7)), wall, 1)
        left += wide


def _sign(picture: UInt8Image, left: int, top: int, wide: int) -> None:
    """A notice on a post, since signs come before capture (R22)."""
    tall = round(wide * 0.62)
    foot = round(picture.shape[0] * 0.8)
    cv2.line(picture, (left + wide // 2, top + tall), (left + wide // 2, foot), (70, 70, 70), 6)
    cv2.rectangle(picture, (left, top), (left + wide, top + tall), SIGN_WALL, -1)
    cv2.rectangle(picture, (left, top), (left + wide, top + round(tall * 0.36)), SIGN_BLUE, -1)
    scale = wide / 330
    for text, line, colour in (
        ("LIVE FACIAL RECOGNITION", 0.24, WHITE),
        ("in use in this area", 0.56, (40, 40, 40)),
        ("(generated scene)", 0.82, (40, 40, 40)),
    ):
        place = (left + round(wide * 0.05), top + round(tall * line))
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale * 0.72, colour, 1, cv2.LINE_AA)
