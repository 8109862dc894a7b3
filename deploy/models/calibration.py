"""Pictures to calibrate with, and the range of every activation over them.

The pictures are altered views of the few public-domain portraits that pinned packages carry. The
alterations are those of a street camera: light, colour cast, blur, noise, low resolution, compression,
and for the detector faces of many sizes before varied backgrounds. Everything follows from a seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeagent.vision.align import REFERENCE_LANDMARKS, similarity
from edgeagent.vision.types import CHIP_SIZE, Face, UInt8Image

Ranges = dict[str, tuple[float, float]]
CHIPS_PER_PORTRAIT, SCENES = 60, 160
_SEED = 20260101
_JITTER_PX = 1.5
"""Standard deviation of a landmark's error in a chip, as small faces have."""
_DIGITS = 4
"""Significant digits kept of a range: coarser than the differences between processors' float kernels."""


def chips(portraits: Sequence[tuple[UInt8Image, Face]]) -> Iterator[UInt8Image]:
    """Yield altered chips (112, 112, 3) uint8 BGR of the portraits' faces, in turn."""
    rng = np.random.default_rng(_SEED)
    for _ in range(CHIPS_PER_PORTRAIT):
        for picture, face in portraits:
            shaken = face.landmarks + rng.normal(0, _JITTER_PX, (5, 2)) * face.inter_eye_px / 35
            matrix = similarity(shaken, REFERENCE_LANDMARKS)
            chip = cv2.warpAffine(picture, matrix, (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_LINEAR)
            if rng.random() < 0.5:
                chip = chip[:, ::-1]
            yield degrade(rng, np.ascontiguousarray(chip))


def scenes(
    portraits: Sequence[tuple[UInt8Image, Face]], backgrounds: Sequence[UInt8Image], width: int, height: int
) -> Iterator[UInt8Image]:
    """Yield street-like pictures (height, width, 3) uint8 BGR with one to eight faces each."""
    rng = np.random.default_rng(_SEED + 1)
    for number in range(SCENES):
        scene = _background(rng, backgrounds[number % len(backgrounds)], width, height)
        for _ in range(rng.integers(1, 9)):
            picture, face = portraits[int(rng.integers(len(portraits)))]
            _paste(rng, scene, picture, face)
        yield degrade(rng, scene)


def measure(model: bytes, pictures: Iterable[npt.NDArray[np.float32]], *, extremes: bool) -> Ranges:
    """Return the range of each activation of a float model over pictures.

    Args:
        model: float TFLite model with one input.
        pictures: the input's values, each (1, height, width, 3).
        extremes: the least and greatest value of all, or else the mean of the pictures' own. A
            detector needs the extremes: its strongest answers are few and are the faces, and clipping them
            loses the small ones. An embedder needs the mean: one odd picture must not cost all others
            resolution.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, experimental_preserve_all_tensors=True, num_threads=2)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    active = _activations(interpreter)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in active}
    for picture in pictures:
        interpreter.set_tensor(source, picture)
        interpreter.invoke()
        for name, index in active.items():
            values = interpreter.get_tensor(index)
            found[name].append((float(values.min()), float(values.max())))
    ranges: Ranges = {}
    for name, pairs in sorted(found.items()):
        low, high = np.array(pairs).T
        chosen = (low.min(), high.max()) if extremes else (low.mean(), high.mean())
        ranges[name] = (_rounded(float(chosen[0])), _rounded(float(chosen[1])))
    return ranges


def _activations(interpreter: Any) -> dict[str, int]:
    details = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    made = [int(tensor) for node in interpreter._get_ops_details() for tensor in node["outputs"]]
    inputs = [int(entry["index"]) for entry in interpreter.get_input_details()]
    return {details[index]["name"]: index for index in sorted({*made, *inputs})}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def degrade(rng: np.random.Generator, picture: UInt8Image) -> UInt8Image:
    """Return the picture in other light and of lesser quality."""
    height, width = picture.shape[:2]
    if rng.random() < 0.4:
        factor = rng.uniform(0.3, 0.9)
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    values = picture.astype(np.float32) / 255
    values = values ** rng.uniform(0.6, 1.7) * rng.uniform(0.6, 1.3) * rng.uniform(0.9, 1.1, 3)
    values = (values - 0.5) * rng.uniform(0.6, 1.2) + 0.5 + rng.normal(0, rng.uniform(0, 0.04), values.shape)
    altered: UInt8Image = np.clip(values * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, packed = cv2.imencode(".jpg", altered, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
        altered = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return altered


def _background(rng: np.random.Generator, picture: UInt8Image, width: int, height: int) -> UInt8Image:
    """Return a piece of `picture`, turned round by chance, scaled to cover the scene."""
    share = rng.uniform(0.4, 1.0)
    rows, columns = (max(8, int(side * share)) for side in picture.shape[:2])
    top = rng.integers(picture.shape[0] - rows + 1)
    left = rng.integers(picture.shape[1] - columns + 1)
    piece = picture[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _paste(rng: np.random.Generator, scene: UInt8Image, picture: UInt8Image, face: Face) -> None:
    """Put a face with its surroundings into the scene, 8 to 90 pixels between the eyes, edges faded."""
    scale = float(np.exp(rng.uniform(np.log(8), np.log(90)))) / face.inter_eye_px
    left, top, width, height = face.box
    centre = np.array([left + width / 2, top + height / 2])
    angle = rng.normal(0, 8)
    target = rng.uniform((0, 0), (scene.shape[1], scene.shape[0]))
    matrix = cv2.getRotationMatrix2D(tuple(float(side) for side in centre), angle, scale)
    matrix[:, 2] += target - centre
    size = (scene.shape[1], scene.shape[0])
    mask = np.zeros(picture.shape[:2], np.float32)
    radii = (max(1, int(width * 0.85)), max(1, int(height * 0.85)))
    cv2.ellipse(mask, (int(centre[0]), int(centre[1])), radii, 0, 0, 360, 1.0, -1)
    soft = cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), float(width) * 0.06), matrix, size)[..., None]
    shown = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_AREA)
    scene[:] = (shown * soft + scene * (1 - soft)).astype(np.uint8)
