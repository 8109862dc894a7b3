"""The installed model pack for tests, and one face through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from edgeagent.system.modelpack import ModelPack, default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.vision.align import align
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.types import Face, Float32Array, Frame, UInt8Image

GREY = 150


@cache
def model_pack() -> ModelPack:
    """Read once for all tests; it cannot be changed."""
    return load_pack(default_pack_folder())


@dataclass(frozen=True)
class Eyes:
    """A detector and an embedder of one's own."""

    detector: Detector
    embedder: Embedder

    def faces(self, pixels: UInt8Image) -> list[Face]:
        return self.detector.detect(Frame(pixels, captured_ns=0, sequence=0))

    def template(self, pixels: UInt8Image, face: Face) -> Float32Array:
        """(d,) a copy."""
        chip = align(Frame(pixels, captured_ns=0, sequence=0), face)
        return self.embedder.embed(chip).vector.copy()

    def only_template(self, pixels: UInt8Image) -> Float32Array:
        """(d,) of a picture of one face."""
        (face,) = self.faces(pixels)
        return self.template(pixels, face)


def eyes() -> Eyes:
    """New networks of the installed pack."""
    return Eyes(detector_of(model_pack()), embedder_of(model_pack()))


def portrait(file: Path) -> UInt8Image:
    """(H, W, 3) the picture; a cut-out stands before plain grey."""
    picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert picture is not None, file
    if picture.shape[2] == 4:
        alpha = picture[..., 3:].astype(np.float32) / 255
        picture = picture[..., :3] * alpha + GREY * (1 - alpha)
    return np.asarray(picture, np.uint8)
