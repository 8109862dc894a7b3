"""From a face in a frame to a chip of standard pose and size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeagent.vision.memory import Take
from edgeagent.vision.types import CHIP_SIZE, Chip, Face, Float32Array, Frame, UInt8Image

REFERENCE_LANDMARKS: Float32Array = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    dtype=np.float32,
)
"""(5, 2) where the landmarks of a face lie in a chip; the embedder was trained on this layout."""
REFERENCE_LANDMARKS.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Layout:
    """How an embedder wants a face: where its landmarks lie in a square chip.

    Attributes:
        size: side of the chip, pixels.
        landmarks: five (x, y) in the chip, in the order of `Face.landmarks`.
    """

    size: int
    landmarks: tuple[tuple[float, float], ...]


STANDARD = Layout(CHIP_SIZE, tuple((float(x), float(y)) for x, y in REFERENCE_LANDMARKS))
"""Layout of the installed embedder, and of every alert's crop whatever the embedder."""

_SHRINK_BELOW = 0.5
"""Bilinear sampling looks at 2×2 pixels, so it skips some where a face shrinks to less than half."""


def similarity(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating], take: Take = np.empty
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) rotation, uniform scale and shift that best take `source` to `target`.

    Best is least squares over the points (n, 2), n ≥ 2, without reflection (Umeyama 1991). In the plane
    that has a closed form: with points as complex numbers the transform is `z → a z + b`, linear in a, b.

    Raises:
        ValueError: all source points coincide.
    """
    points = take((2, len(source)), np.complex128)
    for row, given in zip(points, (source, target), strict=True):
        row.real[:], row.imag[:] = given[:, 0], given[:, 1]
    middles = points.mean(axis=1)
    points -= middles[:, None]
    spread = float(np.vdot(points[0], points[0]).real)
    if spread < 1e-9:
        raise ValueError("similarity: expected points that differ, got one place")
    a = np.vdot(points[0], points[1]) / spread
    b = middles[1] - a * middles[0]
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(frame: Frame, face: Face, take: Take = np.empty, layout: Layout = STANDARD) -> Chip:
    """Cut a face out of a frame, turned and scaled so that its landmarks lie where they should.

    Args:
        frame: picture that holds the face; only its memory around the face is read.
        face: face with landmarks in that frame's pixels.
        take: gives memory for the chip and for what is needed on the way (R1).
        layout: size of the chip, and where the landmarks should lie in it.

    Returns:
        The chip. Places outside the frame are black.
    """
    matrix = similarity(face.landmarks, np.array(layout.landmarks, np.float32), take)
    chip = take((layout.size, layout.size, 3), np.uint8)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < _SHRINK_BELOW:
        _warp_shrunk(frame.pixels, matrix, scale, chip, take)
    else:
        cv2.warpAffine(frame.pixels, matrix, (layout.size, layout.size), dst=chip, flags=cv2.INTER_LINEAR)
    return Chip(chip)


def probe_of(chip: Chip, frame: Frame, face: Face, layout: Layout, take: Take = np.empty) -> Chip:
    """What the embedder is given: `chip`, in the standard layout, or another of that face in its own layout.

    The standard chip is made of every face: quality limits and the alert's crop (R2) are laid out on it.
    """
    return chip if layout == STANDARD else align(frame, face, take, layout)


def _warp_shrunk(
    pixels: UInt8Image, matrix: npt.NDArray[np.float64], scale: float, chip: UInt8Image, take: Take
) -> None:
    """Warp by way of a copy of the face's surroundings, averaged down by a whole factor."""
    side = len(chip)
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)], np.float64)
    inverse = cv2.invertAffineTransform(matrix)
    places = corners @ inverse[:, :2].T + inverse[:, 2]
    left, top = np.clip(np.floor(places.min(axis=0)), 0, None).astype(int)
    right, bottom = np.ceil(places.max(axis=0)).astype(int)
    factor = int(1 / scale)
    region = pixels[top : max(bottom, top), left : max(right, left)]
    size = (region.shape[1] // factor, region.shape[0] // factor)
    if min(size) < 1:
        chip.fill(0)
        return
    region = region[: size[1] * factor, : size[0] * factor]
    small = take((size[1], size[0], 3), np.uint8)
    cv2.resize(region, size, dst=small, interpolation=cv2.INTER_AREA)
    # A small pixel's centre lies (factor - 1) / 2 pixels into its block.
    to_frame = np.array(
        [[factor, 0, left + (factor - 1) / 2], [0, factor, top + (factor - 1) / 2], [0, 0, 1]]
    )
    cv2.warpAffine(small, matrix @ to_frame, (side, side), dst=chip, flags=cv2.INTER_LINEAR)
    small.fill(0)  # R1: wherever `take` found it
