"""From a frame to the faces in it, by a YuNet-style detector.

The network sees the whole frame once, shrunk or enlarged to fit its fixed input. It answers for every
cell of three grids (8, 16 and 32 pixels) with two probabilities, a box and five landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from edgeagent.errors import ModelError
from edgeagent.vision.memory import BiometricMemory, Take, room
from edgeagent.vision.runtime import Network
from edgeagent.vision.types import Face, Float32Array, Frame, UInt8Image

STRIDES = (8, 16, 32)
_CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_LONGEST_SIDE_LOG = 8.0
"""exp() of more than this times a stride is larger than any picture; keeps a mad output finite."""
_SAME_FACE = 0.6
"""Candidates with at least this intersection over union speak of one face."""


class Detector:
    """Finds faces in frames of any size."""

    def __init__(
        self, network: Network, *, score_threshold: float, overlap_threshold: float, max_faces: int
    ) -> None:
        """Take over `network`.

        Args:
            network: detector network with outputs `cls_8` … `kps_32`.
            score_threshold: least score of a face, 0 to 1.
            overlap_threshold: two boxes whose intersection over union exceeds this are one face.
            max_faces: most faces returned for one frame, best scores first.

        Raises:
            ModelError: the network's outputs are not those of such a detector.
        """
        spec = network.spec
        if dict(spec.outputs) != expected_outputs(spec.width, spec.height):
            raise ModelError(
                "the outputs are not those of a detector with strides 8, 16 and 32",
                where=spec.name,
                next_step="Install a model pack whose detector fits.",
            )
        self._network = network
        self._score_threshold = score_threshold
        self._overlap_threshold = overlap_threshold
        self._max_faces = max_faces
        self._cells = {stride: _cells(spec.width // stride, spec.height // stride) for stride in STRIDES}
        canvas, count = (spec.height, spec.width, 3), sum(map(len, self._cells.values()))
        boxes, points = (count, 4), (count, 10)
        self._memory = BiometricMemory(room((canvas, np.uint8), (boxes, np.float32), (points, np.float32)))
        self._canvas: UInt8Image = self._memory.take(canvas, np.uint8)
        self._boxes: Float32Array = self._memory.take(boxes, np.float32)
        self._points: Float32Array = self._memory.take(points, np.float32)

    def detect(self, frame: Frame, take: Take = np.empty) -> list[Face]:
        """Return the faces of a frame, highest score first; `take` gives memory for them (R1)."""
        scale = self._fit(frame.pixels)
        outputs = self._network.run(self._canvas)
        scores = np.empty(0, np.float32)
        for stride in STRIDES:
            scores = np.append(scores, self._decode(outputs, stride, len(scores)))
        boxes, points = self._boxes[: len(scores)], self._points[: len(scores)]
        kept = suppress(boxes, scores, self._overlap_threshold, self._max_faces)
        for coordinates in (boxes, points):
            coordinates /= np.float32(scale)
        # Coordinates are pixel centres, so shrinking moves them by half a pixel less half a shrunk one.
        shift = np.float32(0.5 / scale - 0.5)
        boxes[:, :2] += shift
        points += shift
        return [_face(index, boxes, points, scores, take) for index in kept]

    @property
    def wiped(self) -> bool:
        """Whether `wipe` left zeros everywhere, as read back (R1)."""
        return self._memory.wiped and self._network.wiped

    def wipe(self) -> None:
        """Overwrite the shrunk frame, all candidates, and the network's input and outputs (R1)."""
        self._memory.wipe()
        self._network.wipe()

    def scrub(self) -> None:
        """As `wipe`, and replace the activations between layers as well, at the cost of one run (R1)."""
        self._memory.wipe()
        self._network.scrub()

    def _fit(self, pixels: UInt8Image) -> float:
        """Draw the frame into the canvas's top left corner, black elsewhere; return the scale."""
        height, width = pixels.shape[:2]
        room_height, room_width = self._canvas.shape[:2]
        scale = min(room_width / width, room_height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrunk = self._canvas[: size[1], : size[0]]
        # Averaging over areas keeps small faces that sampling would break up.
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        cv2.resize(pixels, size, dst=shrunk, interpolation=interpolation)
        self._canvas[size[1] :].fill(0)
        self._canvas[: size[1], size[0] :].fill(0)
        return float(scale)

    def _decode(self, outputs: Mapping[str, Float32Array], stride: int, at: int) -> Float32Array:
        """Write boxes and landmarks of the cells above threshold from row `at` on; return their scores (n,).

        Canvas pixels. Everything in place: a temporary array would be a copy that nobody overwrites (R1).
        """
        both = outputs[f"cls_{stride}"][0, :, 0] * outputs[f"obj_{stride}"][0, :, 0]
        (chosen,) = np.nonzero(both >= self._score_threshold**2)
        cells, here = self._cells[stride][chosen], slice(at, at + len(chosen))
        boxes, points = self._boxes[here], self._points[here]
        outputs[f"bbox_{stride}"][0].take(chosen, axis=0, out=boxes, mode="clip")
        outputs[f"kps_{stride}"][0].take(chosen, axis=0, out=points, mode="clip")
        size = boxes[:, 2:]
        np.exp(np.minimum(size, _LONGEST_SIDE_LOG, out=size), out=size)
        boxes[:, :2] += cells
        boxes[:, :2] -= size / 2
        points += np.tile(cells, 5)
        boxes *= stride
        points *= stride
        scores: Float32Array = np.sqrt(both[chosen])
        return scores


def expected_outputs(width: int, height: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every output of a detector for pictures of this size in pixels."""
    return {
        f"{head}_{stride}": (1, (width // stride) * (height // stride), channels)
        for head, channels in _CHANNELS.items()
        for stride in STRIDES
    }


def suppress(
    boxes: Float32Array, scores: npt.NDArray[np.floating], overlap_threshold: float, limit: int
) -> list[int]:
    """Return indices of the best boxes, best first, leaving out those that overlap a better one.

    Args:
        boxes: (n, 4) left, top, width, height.
        scores: (n,).
        overlap_threshold: greatest intersection over union of two boxes that are both kept.
        limit: most indices returned.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[_overlap(boxes[best], boxes[rest]) <= overlap_threshold]
    return kept


def _overlap(box: Float32Array, others: Float32Array) -> Float32Array:
    """Return intersection over union (n,) of one box with each of `others` (n, 4)."""
    near = np.maximum(box[:2], others[:, :2])
    far = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared: Float32Array = np.prod(np.clip(far - near, 0, None), axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - shared
    ratio: Float32Array = shared / np.maximum(union, np.float32(1e-6))
    return ratio


def _cells(columns: int, rows: int) -> Float32Array:
    """Return (rows * columns, 2) column and row of each cell, in the order of the outputs."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([column, row], axis=1).astype(np.float32)


def _face(
    index: int, boxes: Float32Array, points: Float32Array, scores: npt.NDArray[np.floating], take: Take
) -> Face:
    """The face of one candidate, with landmarks from all candidates that agree on it.

    About nine cells answer for one face, each a little differently; their mean, weighted by score and
    overlap, is steadier than the best one's word and costs nothing.
    """
    overlap = _overlap(boxes[index], boxes)
    weights = np.where(overlap >= _SAME_FACE, overlap * scores * scores, 0).astype(np.float32)
    weights /= weights.sum()
    own = take((14,), np.float32)
    own[:4] = boxes[index]
    np.dot(weights, points, out=own[4:])
    return Face(own[:4], own[4:].reshape(5, 2), min(1.0, float(scores[index])))
