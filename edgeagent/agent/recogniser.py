"""One frame through the data path: detect, align, embed, match, decide, and overwrite everything (R1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeagent.safeguards.decide import Hit, Policy, Vote, decide
from edgeagent.safeguards.instant import SECOND
from edgeagent.vision.align import STANDARD, align, probe_of
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.match import Gallery
from edgeagent.vision.memory import BiometricMemory
from edgeagent.vision.track import Track, Tracker
from edgeagent.vision.types import Chip, Face, Frame

OnHit = Callable[[Hit, Chip, Frame], None]
"""Takes a hit while its chip still exists; the chip is overwritten when it returns."""

MIN_INTER_EYE_PX = 16.0
"""Smaller faces are detected and counted, never compared: their templates are not reliable."""
MEMORY_OCTETS = 1 << 20
"""For a frame's landmarks and one chip at a time, with what it is cut from: at most 0.3 MiB together.

An embedder of another layout has a second chip beside it, of up to 256 pixels: then it is twice as much.
"""
TRACK_REACH = 1.5
TRACK_FORGET_NS = 700_000_000


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """What became of one frame's faces.

    `overwritten` is read back: where any memory that held them is not zeros afterwards, none counts.
    `passed` counts faces not seen in the frame before, `compared` comparisons with the list, `matchable`
    people who have now been compared in so many frames that an alert could have been made (R17).
    """

    seen: int
    overwritten: int
    alerted: int
    passed: int = 0
    compared: int = 0
    matchable: int = 0


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
        chips = 1 if embedder.layout == STANDARD else 2
        self._memory = BiometricMemory(MEMORY_OCTETS * chips)
        self._seen_since_scrub = False
        self._compared = 0
        self._matchable = 0

    def process(self, frame: Frame, on_hit: OnHit) -> FrameFaces:
        """Process one frame; nothing of a face is left in this object's memory afterwards."""
        begun, compared = self._tracker.begun, self._compared
        try:
            with self._memory.loan():
                seen, alerted = self._look_at_all(frame, on_hit)
        finally:
            self._detector.wipe()
            self._embedder.wipe()
        passed, compared = self._tracker.begun - begun, self._compared - compared
        matchable, self._matchable = self._matchable, 0
        return FrameFaces(seen, seen - alerted if self.wiped else 0, alerted, passed, compared, matchable)

    @property
    def wiped(self) -> bool:
        """Whether everything that can hold a face is zeros, as read back (R1)."""
        return self._memory.wiped and self._detector.wiped and self._embedder.wiped

    def rest(self) -> None:
        """Scrub the detector when no frame follows the last one; otherwise the next one does (R1)."""
        if self._seen_since_scrub:
            self._scrub()

    def wipe(self) -> None:
        """Forget tracks and scrub the networks, when the camera closes."""
        self._tracker.clear()
        self._scrub()

    def destroy(self) -> None:
        """Overwrite the watchlist too, when the deployment is over (R6)."""
        self.wipe()
        self._gallery.wipe()
        self._alerted_ns.clear()

    def _scrub(self) -> None:
        self._detector.scrub()
        self._embedder.scrub()
        self._seen_since_scrub = False

    def _look_at_all(self, frame: Frame, on_hit: OnHit) -> tuple[int, int]:
        """How many faces were seen, and of how many an alert was made."""
        self._seen_since_scrub = True
        faces = self._detector.detect(frame, self._memory.take)
        alerted = 0
        for face, track in zip(faces, self._tracker.assign(faces, frame.captured_ns), strict=True):
            if not track.done and face.inter_eye_px >= MIN_INTER_EYE_PX:
                with self._memory.loan():
                    alerted += self._compare(frame, face, track, on_hit)
        return len(faces), alerted

    def _compare(self, frame: Frame, face: Face, track: Track, on_hit: OnHit) -> bool:
        """Whether an alert was made of this face."""
        chip = align(frame, face, self._memory.take)  # as the alert shows it (R2)
        track.votes.append(self._vote(probe_of(chip, frame, face, self._embedder.layout, self._memory.take)))
        if not track.matchable and len(track.votes) >= self._policy.agreeing_frames:
            track.matchable = True
            self._matchable += 1
        hit = decide(tuple(track.votes), self._policy)
        if hit is None:
            return False
        track.done = True
        if not self._may_alert(hit.person, frame.captured_ns):
            return False
        on_hit(hit, chip, frame)
        return True

    def _vote(self, chip: Chip) -> Vote:
        vector = self._memory.take((self._embedder.dimensions,), np.float32)
        candidate = self._gallery.nearest(self._embedder.embed(chip, vector))
        self._compared += 1
        return Vote(candidate.entry, candidate.person, candidate.score, candidate.runner_up)

    def _may_alert(self, person: int, now_ns: int) -> bool:
        """No second alert about one person soon after the first: repeats would be a trail of them."""
        last_ns = self._alerted_ns.get(person)
        if last_ns is not None and now_ns - last_ns < self._realert_ns:
            return False
        self._alerted_ns[person] = now_ns
        return True
