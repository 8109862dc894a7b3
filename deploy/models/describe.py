"""What the pack says of its networks: the manifest's entries and what the self-test must see."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import cv2
import mobilefacenet
from fetch import Source

from edgeagent.system.modelpack import FORMAT, Scene
from edgeagent.system.networks import MAX_FACES, OVERLAP_THRESHOLD, SCORE_THRESHOLD
from edgeagent.system.selftest import decode, pattern, response
from edgeagent.vision.detect import Detector, expected_outputs
from edgeagent.vision.embed import Embedder
from edgeagent.vision.runtime import Network, NetworkSpec
from edgeagent.vision.types import Chip, Frame, UInt8Image

SCENES: dict[Scene, tuple[int, int]] = {"near": (640, 384), "far": (960, 544)}
"""Width and height of each detector's picture."""
EMBEDDER_MEAN, EMBEDDER_SCALE = 128.0, 1 / 128
EMBEDDER_FILE, GOLDEN_FILE = "embedder.tflite", "golden.png"
GOLDEN_PORTRAIT = "matplotlib/mpl-data/sample_data/grace_hopper.jpg"
GOLDEN_WIDTH = 240
WITHIN_PX, WITHIN, LEAST_COSINE = 2.0, 0.08, 0.98
DIGITS = 6


def detector_file(scene: Scene) -> str:
    """Name of a detector's file."""
    return f"detector-{scene}.tflite"


def detector_network(model: bytes, scene: Scene) -> Network:
    """The network of a detector of these bytes, on one thread."""
    width, height = SCENES[scene]
    spec = NetworkSpec(detector_file(scene), height, width, 0.0, 1.0, expected_outputs(width, height))
    return Network(model, spec, num_threads=1)


def detector(model: bytes, scene: Scene) -> Detector:
    """A detector of these bytes with the product's thresholds."""
    return Detector(
        detector_network(model, scene),
        score_threshold=SCORE_THRESHOLD,
        overlap_threshold=OVERLAP_THRESHOLD,
        max_faces=MAX_FACES,
    )


def embedder_network(model: bytes) -> Network:
    """The network of an embedder of these bytes, on one thread."""
    outputs = {"template": (1, mobilefacenet.DIMENSIONS)}
    spec = NetworkSpec(EMBEDDER_FILE, 112, 112, EMBEDDER_MEAN, EMBEDDER_SCALE, outputs)
    return Network(model, spec, num_threads=1)


def golden(models: Mapping[str, bytes], portrait: UInt8Image) -> tuple[dict[str, Any], bytes]:
    """What the self-test must see, and the picture that it looks at."""
    height = round(portrait.shape[0] * GOLDEN_WIDTH / portrait.shape[1])
    small = cv2.resize(portrait, (GOLDEN_WIDTH, height), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".png", small)[1].tobytes()
    picture = decode(encoded)
    template = Embedder(embedder_network(models[EMBEDDER_FILE])).embed(Chip(pattern())).vector
    expected = {
        "picture": GOLDEN_FILE,
        "picture_sha256": hashlib.sha256(encoded).hexdigest(),
        "detectors": {
            scene: _detector_golden(models[detector_file(scene)], scene, picture) for scene in SCENES
        },
        "template": [round(float(value), DIGITS) for value in template],
        "least_cosine": LEAST_COSINE,
    }
    return expected, encoded


def _detector_golden(model: bytes, scene: Scene, picture: UInt8Image) -> dict[str, Any]:
    (face,) = detector(model, scene).detect(Frame(picture, captured_ns=0, sequence=0))
    answer = response(detector_network(model, scene), picture)
    return {
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
        "within_px": WITHIN_PX,
        "response": [round(float(value), DIGITS) for value in answer],
        "within": WITHIN,
    }


def manifest(models: Mapping[str, bytes], sources: Mapping[str, Source], expected: dict[str, Any]) -> bytes:
    """The manifest's bytes."""
    entries = [
        _entry(
            detector_file(scene),
            models,
            sources["yunet"],
            role="detector",
            scene=scene,
            width=width,
            height=height,
            mean=0.0,
            scale=1.0,
            outputs={name: list(shape) for name, shape in expected_outputs(width, height).items()},
            quantisation="static int8 pointwise convolutions with 64 outputs (per channel); the rest float32",
        )
        for scene, (width, height) in SCENES.items()
    ]
    embedder = _entry(
        EMBEDDER_FILE,
        models,
        sources["mobilefacenet"],
        role="embedder",
        scene=None,
        width=112,
        height=112,
        mean=EMBEDDER_MEAN,
        scale=EMBEDDER_SCALE,
        outputs={"template": [1, mobilefacenet.DIMENSIONS]},
        quantisation="static int8 weights (per channel), activations; float32 PRELU, depthwise, output",
    )
    whole = {
        "format": FORMAT,
        "name": "yunet-mobilefacenet-int8",
        "models": [*entries, embedder],
        "golden": expected,
    }
    return json.dumps(whole, indent=1).encode() + b"\n"


def _entry(file: str, models: Mapping[str, bytes], source: Source, **rest: Any) -> dict[str, Any]:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("litert-quantizer", "ai-edge-litert")
    )
    return {
        "file": file,
        "sha256": hashlib.sha256(models[file]).hexdigest(),
        "bytes": len(models[file]),
        "licence": source["licence"],
        "origin": {name: source[name] for name in ("package", "member", "sha256", "project")},
        "channels": "BGR",
        "made": f"deploy/models/build.py with {versions}",
        **rest,
    }
