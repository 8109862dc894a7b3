"""From a picture to a template, as the workshop enrols and as a unit sees: the one place that runs networks.

A picture gives a template under the rules by which the workshop finds the one face of an enrolment image; it
may be *enrolled* only if it also has the workshop's quality. A probe needs no quality: the street gives none.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeagent.agent.recogniser import MIN_INTER_EYE_PX
from edgeagent.controlroom.workshop import by_far_widest
from edgeagent.errors import EnrolmentError
from edgeagent.evaluation.report_model import Runtime
from edgeagent.system.files import read_bounded
from edgeagent.system.modelpack import ModelPack, Scene
from edgeagent.system.networks import THREADS, detector_of, embedder_network, embedder_of
from edgeagent.system.pictures import FILE_LIMIT, decode_picture
from edgeagent.vision.align import align, probe_of
from edgeagent.vision.quality import Limits, defects, measure
from edgeagent.vision.types import Face, Float32Array, Frame


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one picture.

    Attributes:
        sha256: of the file; empty if it could not be read at all.
        failure: kind of reason for which there is no template; empty if there is one.
        detail: the reason in words.
        chosen: whether the face was told from others in the picture.
        faults: why the picture may not be enrolled.
    """

    sha256: str
    failure: str = ""
    detail: str = ""
    chosen: bool = False
    faults: tuple[str, ...] = ()


class Extractor:
    """The networks of one model pack."""

    def __init__(self, pack: ModelPack, scene: Scene) -> None:
        """Load them.

        Raises:
            ModelError: they cannot be loaded.
        """
        self._pack, self._scene = pack, scene
        self._detector = detector_of(pack, scene)
        self._embedder = embedder_of(pack)
        self.dimensions = self._embedder.dimensions

    def extract(self, path: Path, out: Float32Array) -> Seen:
        """Make the template of one picture's one face.

        Args:
            path: picture file.
            out: (d,) float32, written to if there is a template.
        """
        digest = ""
        try:
            content = read_bounded(path, FILE_LIMIT, EnrolmentError)
            digest = hashlib.sha256(content).hexdigest()
            pixels = decode_picture(content, path, EnrolmentError)
        except EnrolmentError as refusal:
            return Seen(digest, "unreadable", refusal.what)
        frame = Frame(pixels, captured_ns=0, sequence=0)
        faces = self._detector.detect(frame)
        if not faces:
            return Seen(digest, "no face", "no face was found")
        face, chosen = _choose(faces, frame)
        if face is None:
            return Seen(digest, "several faces", "it is unclear whose picture it is")
        if face.inter_eye_px < MIN_INTER_EYE_PX:
            detail = f"{face.inter_eye_px:.0f} px between the eyes; a unit compares none so small"
            return Seen(digest, "too small", detail)
        chip = align(frame, face)
        self._embedder.embed(probe_of(chip, frame, face, self._embedder.layout), out)
        return Seen(digest, chosen=chosen, faults=tuple(defects(measure(chip, face), Limits())))

    def close(self) -> None:
        """Overwrite what the networks hold of the last picture."""
        self._detector.scrub()
        self._embedder.scrub()

    def runtime(self) -> Runtime:
        """What runs the networks."""
        library, _, version = embedder_network(self._pack).runtime.rpartition(" ")
        detector, embedder = self._pack.model("detector", self._scene), self._pack.model("embedder")
        return Runtime(
            library=library,
            version=version,
            machine=platform.machine() or "unknown",
            precision={"detector": detector.quantisation, "embedder": embedder.quantisation},
            detector_input=(detector.width, detector.height),
            scene=self._scene,
            threads=THREADS,
        )


def _choose(faces: list[Face], frame: Frame) -> tuple[Face | None, bool]:
    """The face that a picture is of, and whether it had to be told from others in the picture.

    Alone, or by far the widest, as the workshop demands. Datasets are cut out around the person whose name
    they bear, so of several faces it is the one that covers the picture's middle, if only one does; at the
    workshop somebody would cut that person out.
    """
    widest = by_far_widest(faces)
    if widest is not None:
        return widest, False
    height, width = frame.pixels.shape[:2]
    middle = np.array([width / 2, height / 2])
    covering = [
        face
        for face in faces
        if (face.box[:2] <= middle).all() and (middle <= face.box[:2] + face.box[2:]).all()
    ]
    return (covering[0], True) if len(covering) == 1 else (None, True)
