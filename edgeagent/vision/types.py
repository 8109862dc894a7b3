"""The nouns of the data path, in the order in which they are made.

`Frame → Face → Chip → Template → Candidate`; shapes are checked at construction.
`Hit` and `Alert` follow in `edgeagent.safeguards.decide` and `edgeagent.alerts.alert`.

The arrays are *borrowed*: whoever made the object overwrites its memory when the step is done (R1), so
vision code must not keep one beyond the call it was given to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

CHIP_SIZE = 112
"""Side of an aligned face in pixels, as the standard layout and every alert's crop have it."""
LEAST_CHIP, LARGEST_CHIP = 32, 256
"""Sides in pixels of the smallest and the largest chip that an embedder may take."""

UInt8Image = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


def _check(what: str, array: npt.NDArray[np.generic], shape: tuple[int | None, ...], dtype: type) -> None:
    fits = len(array.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        raise ValueError(f"{what}: expected {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

    Attributes:
        pixels: (H, W, 3) uint8, BGR.
        captured_ns: monotonic clock at capture, nanoseconds.
        sequence: 0, 1, 2 … since the source was opened.
    """

    pixels: UInt8Image = field(repr=False)
    captured_ns: int
    sequence: int

    def __post_init__(self) -> None:
        _check("Frame.pixels", self.pixels, (None, None, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    Attributes:
        box: (4,) float32: left, top, width, height in frame pixels.
        landmarks: (5, 2) float32 x, y in frame pixels: the eye on the image's left, the eye on its right,
            nose tip, the mouth corner on the image's left, the one on its right.
        score: detector confidence, 0 to 1.
    """

    box: Float32Array = field(repr=False)
    landmarks: Float32Array = field(repr=False)
    score: float

    def __post_init__(self) -> None:
        _check("Face.box", self.box, (4,), np.float32)
        _check("Face.landmarks", self.landmarks, (5, 2), np.float32)

    @property
    def inter_eye_px(self) -> float:
        """Distance between the eye landmarks in pixels."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))


@dataclass(frozen=True, slots=True)
class Chip:
    """An aligned face: (n, n, 3) uint8, BGR; n is 112 but for embedders of another size."""

    pixels: UInt8Image = field(repr=False)

    def __post_init__(self) -> None:
        _check("Chip.pixels", self.pixels, (None, None, 3), np.uint8)
        height, width = self.pixels.shape[:2]
        if height != width or not LEAST_CHIP <= width <= LARGEST_CHIP:
            raise ValueError(f"Chip.pixels: expected a square of 32 to 256, got {self.pixels.shape}")


@dataclass(frozen=True, slots=True)
class Template:
    """A biometric template: (d,) float32 of unit length."""

    vector: Float32Array = field(repr=False)

    def __post_init__(self) -> None:
        _check("Template.vector", self.vector, (None,), np.float32)
        length = float(np.linalg.norm(self.vector))
        if abs(length - 1.0) > 1e-3:
            raise ValueError(f"Template.vector: expected unit length, got {length:.4f}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The nearest gallery entry for one probe.

    Attributes:
        entry: row of the gallery.
        person: whose image that row is.
        score: cosine similarity with that row, -1 to 1.
        runner_up: best score among all *other people's* rows, or -1.0 when there are none.
    """

    entry: int
    person: int
    score: float
    runner_up: float
