"""The start-up self-test: the networks give what they gave when the pack was made, or nothing runs.

Hashes guard the files. This guards what hashes cannot see: a runtime or a processor that computes otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edgeagent.errors import ModelError
from edgeagent.system.modelpack import REINSTALL, SCENES, DetectorGolden, Golden, ModelPack
from edgeagent.system.networks import (
    MAX_FACES,
    OVERLAP_THRESHOLD,
    SCORE_THRESHOLD,
    embedder_network,
    network_of,
)
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.runtime import Network
from edgeagent.vision.types import CHIP_SIZE, Chip, Float32Array, Frame, UInt8Image


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What the self-test saw.

    Attributes:
        runtime: name and version of the runtime.
        delegated: operators that XNNPACK runs, by network; an ONNX network is not there, OpenCV runs it.
        milliseconds: of the second run of each network.
    """

    runtime: str
    delegated: dict[str, int]
    milliseconds: dict[str, float]

    def __str__(self) -> str:
        by = {name: f"{count} ops on XNNPACK" for name, count in self.delegated.items()}
        parts = [f"{name} {ms:.0f} ms, {by.get(name, 'by OpenCV')}" for name, ms in self.milliseconds.items()]
        return f"{self.runtime}; " + "; ".join(parts)


def self_test(pack: ModelPack) -> SelfTestReport:
    """Run every network of the pack on known pictures.

    Raises:
        ModelError: a network is not accelerated, or its output is not the expected one.
    """
    golden = pack.manifest.golden
    picture = decode(pack.files[golden.picture])
    delegated: dict[str, int] = {}
    milliseconds: dict[str, float] = {}
    for scene in SCENES:
        name, network = f"detector {scene}", network_of(pack, "detector", scene)
        delegated[name] = _accelerated(network)
        milliseconds[name] = _check_detector(name, network, golden.detectors[scene], picture)
    runtime, embedding = network.runtime, embedder_network(pack)
    if isinstance(embedding, Network):
        delegated["embedder"] = _accelerated(embedding)
    else:
        runtime += f", {embedding.runtime}"
    milliseconds["embedder"] = _check_embedder(Embedder(embedding, pack.model("embedder").layout), golden)
    return SelfTestReport(runtime, delegated, milliseconds)


def pattern(height: int = CHIP_SIZE, width: int = CHIP_SIZE) -> UInt8Image:
    """(height, width, 3) uint8: a drawn pattern that is nobody's face, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (3 + c) + y * (5 - c) + (x * y) // (9 + c)) % 256 for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def response(network: Network, picture: UInt8Image) -> Float32Array:
    """(n,) mean and greatest value of every output channel for the picture before the drawn pattern.

    The faces found in a picture depend on few of the numbers that a detector gives; this depends on all.
    """
    canvas = pattern(network.spec.height, network.spec.width)
    shown = picture[: canvas.shape[0], : canvas.shape[1]]
    canvas[: shown.shape[0], : shown.shape[1]] = shown
    outputs = network.run(canvas)
    cells = [outputs[name][0] for name in sorted(outputs)]
    return np.concatenate([summary(axis=0) for cell in cells for summary in (cell.mean, cell.max)])


def decode(picture: bytes) -> UInt8Image:
    """The golden picture's pixels, (H, W, 3) uint8 BGR.

    Raises:
        ModelError: it is no picture.
    """
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ModelError("is not a picture", where="golden picture", next_step=REINSTALL)
    return np.asarray(pixels, np.uint8)


def _accelerated(network: Network) -> int:
    count = network.delegated_ops()
    if count < 1:
        raise ModelError(
            "no operator runs on XNNPACK, so it would be far too slow",
            where=network.spec.name,
            next_step="install a runtime with XNNPACK (ai-edge-litert)",
        )
    return count


def _timed(check: Callable[[], None]) -> float:
    check()
    started = time.perf_counter()
    check()
    return (time.perf_counter() - started) * 1000


def _check_detector(name: str, network: Network, golden: DetectorGolden, picture: UInt8Image) -> float:
    """Check what it finds and what it answers; return how long finding takes, in milliseconds."""
    detector = Detector(
        network,
        score_threshold=SCORE_THRESHOLD,
        overlap_threshold=OVERLAP_THRESHOLD,
        max_faces=MAX_FACES,
    )
    taken = _timed(lambda: _check_faces(name, detector, golden, picture))
    answer, expected = response(network, picture), np.array(golden.response, np.float32)
    detector.wipe()
    if answer.shape != expected.shape:
        raise ModelError("has a golden response of another length", where=name, next_step=REINSTALL)
    error = float((np.abs(answer - expected) / (1 + np.abs(expected))).max())
    if not error <= golden.within:
        raise ModelError(
            f"gives another answer than when it was made (error {error:.3f}, allowed {golden.within:g})",
            where=name,
            next_step=REINSTALL,
        )
    return taken


def _check_faces(name: str, detector: Detector, golden: DetectorGolden, picture: UInt8Image) -> None:
    faces = detector.detect(Frame(picture, captured_ns=0, sequence=0))
    if len(faces) != 1:
        raise ModelError(f"found {len(faces)} faces in a picture of one", where=name, next_step=REINSTALL)
    error = float(np.abs(faces[0].landmarks - np.array(golden.landmarks, np.float32)).max())
    if not error <= golden.within_px:
        raise ModelError(f"puts landmarks {error:.1f} px off", where=name, next_step=REINSTALL)


def _check_embedder(embedder: Embedder, golden: Golden) -> float:
    expected = np.array(golden.template, np.float32)
    if expected.shape != (embedder.dimensions,):
        raise ModelError("has a golden template of another length", where="embedder", next_step=REINSTALL)
    taken = _timed(lambda: _check_template(embedder, expected, golden.least_cosine))
    embedder.wipe()
    return taken


def _check_template(embedder: Embedder, expected: Float32Array, least_cosine: float) -> None:
    # A golden template of zeros has no direction: it must fail like a wrong one, not pass as NaN.
    length = max(float(np.linalg.norm(expected)), 1e-6)
    side = embedder.layout.size
    cosine = float(embedder.embed(Chip(pattern(side, side))).vector @ expected) / length
    if not cosine >= least_cosine:
        raise ModelError(
            f"gives another template than when it was made (cosine {cosine:.4f})",
            where="embedder",
            next_step=REINSTALL,
        )
