"""The start-up self-test: the networks give what they gave when the pack was made, or nothing runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edgeagent.errors import ModelError
from edgeagent.system.modelpack import REINSTALL, Golden, ModelPack
from edgeagent.system.networks import MAX_FACES, OVERLAP_THRESHOLD, SCORE_THRESHOLD, network_of
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.runtime import Network
from edgeagent.vision.types import CHIP_SIZE, Chip, Frame, UInt8Image


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What the self-test saw.

    Attributes:
        runtime: name and version of the runtime.
        delegated: operators that XNNPACK runs, by role.
        milliseconds: of the second run of each network.
    """

    runtime: str
    delegated: dict[str, int]
    milliseconds: dict[str, float]

    def __str__(self) -> str:
        parts = [
            f"{role} {self.milliseconds[role]:.0f} ms, {count} ops on XNNPACK"
            for role, count in self.delegated.items()
        ]
        return f"{self.runtime}; " + "; ".join(parts)


def self_test(pack: ModelPack) -> SelfTestReport:
    """Run both networks on known pictures.

    Raises:
        ModelError: a network is not accelerated, or its output is not the expected one.
    """
    networks = {role: network_of(pack, role) for role in ("detector", "embedder")}
    delegated = {role: _accelerated(network) for role, network in networks.items()}
    detector = Detector(
        networks["detector"],
        score_threshold=SCORE_THRESHOLD,
        overlap_threshold=OVERLAP_THRESHOLD,
        max_faces=MAX_FACES,
    )
    embedder = Embedder(networks["embedder"])
    golden = pack.manifest.golden
    milliseconds = {
        "detector": _timed(lambda: _check_detector(detector, golden, pack.files[golden.picture])),
        "embedder": _timed(lambda: _check_embedder(embedder, golden)),
    }
    detector.wipe()
    embedder.wipe()
    return SelfTestReport(networks["detector"].runtime, delegated, milliseconds)


def pattern() -> UInt8Image:
    """(112, 112, 3) uint8: a drawn pattern that is nobody's face, the same on every machine."""
    y, x = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE]
    planes = [(x * (3 + c) + y * (5 - c) + (x * y) // (9 + c)) % 256 for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


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


def _check_detector(detector: Detector, golden: Golden, picture: bytes) -> None:
    faces = detector.detect(Frame(decode(picture), captured_ns=0, sequence=0))
    if len(faces) != 1:
        raise ModelError(
            f"found {len(faces)} faces in a picture of one", where="detector", next_step=REINSTALL
        )
    error = float(np.abs(faces[0].landmarks - np.array(golden.landmarks, np.float32)).max())
    if error > golden.within_px:
        raise ModelError(f"puts landmarks {error:.1f} px off", where="detector", next_step=REINSTALL)


def _check_embedder(embedder: Embedder, golden: Golden) -> None:
    expected = np.array(golden.template, np.float32)
    if expected.shape != (embedder.dimensions,):
        raise ModelError("has a golden template of another length", where="embedder", next_step=REINSTALL)
    # A golden template of zeros has no direction: it must fail like a wrong one, not pass as NaN.
    length = max(float(np.linalg.norm(expected)), 1e-6)
    cosine = float(embedder.embed(Chip(pattern())).vector @ expected) / length
    if cosine < golden.least_cosine:
        raise ModelError(
            f"gives another template than when it was made (cosine {cosine:.3f})",
            where="embedder",
            next_step=REINSTALL,
        )
