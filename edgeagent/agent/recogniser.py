"""One frame through the data path: detect, align, embed, match, decide, and overwrite everything (R1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeagent.safeguards.decide import Hit, Policy, Vote, decide
from edgeagent.safeguards.instant import SECOND
from edgeagent.vision.align import align
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.match import Gallery
from edgeagent.vision.track import Track, Tracker
from edgeagent.vision.types import Chip, Face, Frame

OnHit = Callable[[Hit, Chip, Frame], None]
"""Takes a hit while its chip still exists; the chip is overwritten when it returns."""

MIN_INTER_EYE_PX = 16.0
"""Smaller faces are detected and counted, never compared: their templates are not reliable."""
TRACK_REACH = 1.5
TRACK_FORGET_NS = 700_000_000


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """What became of one frame's faces; `overwritten` is read back from the faces' own memory."""

    seen: int
    overwritten: int
    alerted: int


class Recogniser:
    """Vision of one deployment; `wipe` at every end of capture, `destroy` at the end of the deployment."""

    def __init__(
        self,
        detector: Detector,
        embedder: Embedder,
        gallery: Gallery,
        policy: Policy,
        realert_s: float,
    ) -> None:
        """Take over the networks and the gallery."""
        self._detector = detector
        self._embedder = embedder
        self._gallery = gallery
        self._policy = policy
        self._realert_ns = int(realert_s * SECOND)
        self._tracker = Tracker(reach=TRACK_REACH, forget_ns=TRACK_FORGET_NS)
        self._alerted_ns: dict[int, int] = {}

    def process(self, frame: Frame, on_hit: OnHit) -> FrameFaces:
        """Process one frame; nothing of a face is left in this object's memory afterwards."""
        alerted = 0
        faces: list[Face] = []
        try:
            faces = self._detector.detect(frame)
            tracks = self._tracker.assign(faces, frame.captured_ns)
            for face, track in zip(faces, tracks, strict=True):
                alerted += self._look(frame, face, track, on_hit)
        finally:
            for face in faces:  # R1: also those that were not looked at because something failed
                face.landmarks.fill(0)
                face.box.fill(0)
            self._detector.wipe()
            self._embedder.wipe()
        gone = sum(not (face.box.any() or face.landmarks.any()) for face in faces)  # read back, not assumed
        return FrameFaces(len(faces), gone - alerted, alerted)

    def wipe(self) -> None:
        """Forget tracks and scrub the networks, when the camera closes."""
        self._tracker.clear()
        self._detector.scrub()
        self._embedder.scrub()

    def destroy(self) -> None:
        """Overwrite the watchlist too, when the deployment is over (R6)."""
        self.wipe()
        self._gallery.wipe()
        self._alerted_ns.clear()

    def _look(self, frame: Frame, face: Face, track: Track, on_hit: OnHit) -> bool:
        """Whether an alert was made of this face."""
        if track.done or face.inter_eye_px < MIN_INTER_EYE_PX:
            return False
        return self._compare(frame, face, track, on_hit)

    def _compare(self, frame: Frame, face: Face, track: Track, on_hit: OnHit) -> bool:
        chip = align(frame, face)
        try:
            track.votes.append(self._vote(chip))
            hit = decide(tuple(track.votes), self._policy)
            if hit is None:
                return False
            track.done = True
            if not self._may_alert(hit.person, frame.captured_ns):
                return False
            on_hit(hit, chip, frame)
            return True
        finally:
            chip.pixels.fill(0)  # R1

    def _vote(self, chip: Chip) -> Vote:
        probe = self._embedder.embed(chip)
        try:
            candidate = self._gallery.nearest(probe)
        finally:
            probe.vector.fill(0)  # R1
        return Vote(candidate.entry, candidate.person, candidate.score, candidate.runner_up)

    def _may_alert(self, person: int, now_ns: int) -> bool:
        """No second alert about one person soon after the first: repeats would be a trail of them."""
        last_ns = self._alerted_ns.get(person)
        if last_ns is not None and now_ns - last_ns < self._realert_ns:
            return False
        self._alerted_ns[person] = now_ns
        return True
