"""Labelled scenes for measuring a detector: faces of a data set at known places and sizes in 1080p."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from calibration import degrade

from edgeagent.vision.detect import Detector
from edgeagent.vision.types import Face, Frame, UInt8Image

FRAME = (1080, 1920)
CELL = 180
"""A face stands somewhere in a square of this side, so that no two lie upon each other."""
EYE_CLASSES = (16, 20, 24, 32, 48)
_SEED = 20260202
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """A picture and the five landmarks (5, 2) of its face."""

    picture: UInt8Image
    landmarks: Points


@dataclass(frozen=True)
class Scene:
    """A frame, the landmarks (n, 5, 2) of every face in it, and their inter-eye distance in pixels."""

    frame: Frame
    landmarks: Points
    eye_px: int


def photographs(folder: Path, half: str, excluded: frozenset[str] = frozenset()) -> list[Path]:
    """Photographs of a data set with one folder a person, sorted.

    Args:
        folder: of the data set.
        half: `tune`, `report` or `all`: people fall into the halves by the hash of their folder's name.
        excluded: file names to leave out.
    """
    wanted = {"tune": (0,), "report": (1,), "all": (0, 1)}[half]
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [
        path
        for path in found
        if hashlib.sha256(path.parent.name.encode()).digest()[0] % 2 in wanted and path.name not in excluded
    ]


def read(path: Path) -> UInt8Image:
    """The picture's pixels, (H, W, 3) uint8 BGR; ends the program if it is none."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SystemExit(f"{path}: is not a picture")
    return np.asarray(pixels, np.uint8)


def main_face(detector: Detector, picture: UInt8Image) -> Face | None:
    """The face nearest the middle, as data sets of portraits are framed."""
    middle = np.array(picture.shape[1::-1]) / 2
    faces = detector.detect(Frame(picture, captured_ns=0, sequence=0))
    return min(faces, key=lambda face: float(np.hypot(*(face.landmarks.mean(axis=0) - middle))), default=None)


def scenes(
    people: Sequence[Labelled], backgrounds: Sequence[UInt8Image], eye_px: int, faces: int
) -> Iterator[Scene]:
    """Yield scenes with `faces` faces in all, `eye_px` between the eyes, in other light and with noise."""
    rng = np.random.default_rng(_SEED + eye_px)
    order = rng.permutation(len(people))
    rows, columns = FRAME[0] // CELL, FRAME[1] // CELL
    per_scene = rows * columns // 2
    for number in range(-(-faces // per_scene)):
        canvas = _background(rng, backgrounds[number % len(backgrounds)])
        cells = rng.permutation(rows * columns)[:per_scene]
        labels = []
        for place, cell in enumerate(cells):
            person = people[int(order[(number * per_scene + place) % len(people)])]
            corner = np.array([cell % columns, cell // columns]) * CELL
            square = canvas[corner[1] : corner[1] + CELL, corner[0] : corner[0] + CELL]
            labels.append(_paste(rng, square, person, eye_px) + corner)
        yield Scene(Frame(degrade(rng, canvas), captured_ns=0, sequence=number), np.array(labels), eye_px)


def found(scene: Scene, faces: Sequence[Face]) -> tuple[npt.NDArray[np.bool_], int]:
    """Which of the scene's faces were found (n,), and how many of `faces` are none of them."""
    centres = scene.landmarks.mean(axis=1)
    hit, strays = np.zeros(len(centres), bool), 0
    for face in faces:
        distance = np.hypot(*(centres - face.landmarks.mean(axis=0)).T)
        nearest = int(distance.argmin())
        if distance[nearest] <= scene.eye_px / 2 and 0.5 < face.inter_eye_px / scene.eye_px < 2:
            hit[nearest] = True
        else:
            strays += 1
    return hit, strays


def _background(rng: np.random.Generator, picture: UInt8Image) -> UInt8Image:
    rows, columns = (max(8, int(side * rng.uniform(0.4, 1.0))) for side in picture.shape[:2])
    top, left = (
        int(rng.integers(side - part + 1)) for side, part in zip(picture.shape, (rows, columns), strict=False)
    )
    piece = picture[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(piece, FRAME[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _paste(rng: np.random.Generator, square: UInt8Image, person: Labelled, eye_px: int) -> Points:
    """Put the face with faded edges into the square; return its landmarks there."""
    eyes = float(np.hypot(*(person.landmarks[1] - person.landmarks[0])))
    scale, centre = eye_px / eyes, person.landmarks.mean(axis=0)
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), rng.normal(0, 8), scale)
    margin = min(CELL / 2 - 1, 1.6 * eye_px)
    matrix[:, 2] += rng.uniform(margin, CELL - margin, 2) - centre
    mask = np.zeros(person.picture.shape[:2], np.float32)
    cv2.ellipse(
        mask, (int(centre[0]), int(centre[1])), (int(1.5 * eyes), int(1.9 * eyes)), 0, 0, 360, 1.0, -1
    )
    faded = cv2.GaussianBlur(mask, (0, 0), 0.15 * eyes)
    faded[[0, -1]], faded[:, [0, -1]] = 0, 0
    # Averaged first: warping alone would skip pixels of what becomes much smaller.
    blur = cv2.GaussianBlur(person.picture, (0, 0), max(1e-3, 0.4 * max(0.0, 1 / scale - 1)))
    shown = cv2.warpAffine(blur, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR)
    soft = cv2.warpAffine(faded, matrix, (CELL, CELL))[..., None]
    square[:] = (shown * soft + square * (1 - soft)).astype(np.uint8)
    landmarks: Points = person.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return landmarks
