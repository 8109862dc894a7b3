"""Which faces of successive frames are one passer-by, so that several frames can be asked to agree.

A track lives for under a second after its last face, in one camera, and holds a position and scores: no
picture and no template. It is not a way to follow anybody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edgeagent.safeguards.decide import Vote
from edgeagent.vision.types import Face

MAX_VOTES = 30


@dataclass(slots=True)
class Track:
    """One passer-by as far as this camera's last second knows.

    Attributes:
        x, y: middle of the face in pixels.
        size: its inter-eye distance in pixels.
        seen_ns: monotonic time of the last face.
        votes: what its last frames said.
        done: an alert was made for it, so nothing more is asked of it.
        matchable: it was compared often enough that an alert could have been made; counted once (R17).
    """

    x: float
    y: float
    size: float
    seen_ns: int
    votes: deque[Vote] = field(default_factory=lambda: deque(maxlen=MAX_VOTES))
    done: bool = False
    matchable: bool = False


class Tracker:
    """Assigns faces to tracks by nearness, nearest pair first."""

    def __init__(self, *, reach: float, forget_ns: int) -> None:
        """Set the limits.

        Args:
            reach: how far a face may have moved since its track's last face, in inter-eye distances.
            forget_ns: a track without a face for this long is dropped.
        """
        self._reach = reach
        self._forget_ns = forget_ns
        self._tracks: list[Track] = []
        self.begun = 0
        """Tracks so far, about one for each person who walked past."""

    def __len__(self) -> int:
        return len(self._tracks)

    def assign(self, faces: list[Face], now_ns: int) -> list[Track]:
        """One track for each face, in the faces' order."""
        self._tracks = [track for track in self._tracks if now_ns - track.seen_ns <= self._forget_ns]
        found: dict[int, Track] = {}
        taken: set[int] = set()
        for _, face, track in sorted(self._pairs(faces)):
            if face not in found and track not in taken:
                found[face] = self._tracks[track]
                taken.add(track)
        return [self._place(face, found.get(index), now_ns) for index, face in enumerate(faces)]

    def clear(self) -> None:
        """Forget every track."""
        self._tracks.clear()

    def _pairs(self, faces: list[Face]) -> list[tuple[float, int, int]]:
        pairs = []
        for i, face in enumerate(faces):
            x, y = _middle(face)
            for j, track in enumerate(self._tracks):
                size = max(face.inter_eye_px, track.size, 1.0)
                distance = float(np.hypot(x - track.x, y - track.y)) / size
                if distance <= self._reach:
                    pairs.append((distance, i, j))
        return pairs

    def _place(self, face: Face, track: Track | None, now_ns: int) -> Track:
        x, y = _middle(face)
        if track is None:
            track = Track(x, y, face.inter_eye_px, now_ns)
            self._tracks.append(track)
            self.begun += 1
        track.x, track.y, track.size, track.seen_ns = x, y, face.inter_eye_px, now_ns
        return track


def _middle(face: Face) -> tuple[float, float]:
    x, y = face.landmarks.mean(axis=0)
    return float(x), float(y)
