"""Whose face an alert carried: compared with the generated scene, which knows who was where."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeagent.capture.scene import Place, SceneRenderer, places
from edgeagent.demo.play import Event
from edgeagent.demo.scene import SUBJECT
from edgeagent.vision.align import align
from edgeagent.vision.crop import face_only
from edgeagent.vision.detect import Detector
from edgeagent.vision.types import Chip, Face, Frame, UInt8Image


@dataclass(frozen=True, slots=True)
class Verdict:
    """One alert against the scene: the frame again, the alerted face, whose it is, who else is in it."""

    frame: UInt8Image
    face: Face
    who: str
    place: Place
    others: tuple[Place, ...]
    crop: UInt8Image

    @property
    def right(self) -> bool:
        """Whether the alert was about the test subject."""
        return self.who == SUBJECT


class Judge:
    """Knows the scene; uses no embedder, so that it cannot repeat the unit's mistakes."""

    def __init__(self, scene: Path, detector: Detector) -> None:
        """Take the scene file and a detector."""
        self._renderer = SceneRenderer(scene)
        self._detector = detector

    def verdict(self, alert: Event) -> Verdict:
        """Draw the alert's frame again, find the face whose chip is the crop, and who stood there."""
        content = np.frombuffer(base64.b64decode(alert["crop_jpeg"]), np.uint8)
        crop = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
        pixels = self._renderer.draw(alert["frame"])
        frame = Frame(pixels, captured_ns=0, sequence=alert["frame"])
        faces = tuple(self._detector.detect(frame))
        differences = [_difference(align(frame, face), crop) for face in faces]
        face = faces[int(np.argmin(differences))]
        near = sorted(places(self._renderer.scene, alert["frame"]), key=lambda place: _apart(place, face))
        who = self._renderer.scene.actors[near[0].actor].name
        return Verdict(pixels, face, who, near[0], tuple(near[1:]), crop)


def _apart(place: Place, face: Face) -> float:
    """Pixels between where the scene put a face and where it was found; two who cross differ in height."""
    return float(np.hypot(*(face.landmarks.mean(axis=0) - np.array(place.face))))


def _difference(chip: Chip, crop: UInt8Image) -> float:
    face_only(chip)
    return float(np.mean(cv2.absdiff(chip.pixels, crop)))
