"""From pinned packages to the pack's files: networks in float, in the pack's precision, and the manifest."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

# The order of float sums must not depend on how many threads happen to run.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import calibration  # noqa: E402
import describe  # noqa: E402
import mobilefacenet  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import quantise  # noqa: E402
import yunet  # noqa: E402
from fetch import Source, fetch, load_sources, member, pinned_member  # noqa: E402

from edgeagent.system.selftest import decode  # noqa: E402
from edgeagent.vision.detect import Detector  # noqa: E402
from edgeagent.vision.types import Face, Frame, UInt8Image  # noqa: E402

RANGES = Path(__file__).with_name("ranges.json")
"""Committed, so that the build is arithmetic alone: float kernels round differently from CPU to CPU."""

Models = dict[str, bytes]
Ranges = Mapping[str, calibration.Ranges]
Portrait = tuple[UInt8Image, Face]


def published(sources: Mapping[str, Source], cache: Path) -> Models:
    """The two networks as their authors published them."""
    return {
        name: pinned_member(fetch(sources[name], cache), sources[name]) for name in ("yunet", "mobilefacenet")
    }


def float_models(given: Models) -> Models:
    """The networks rebuilt for this program, all in float32, by file name."""
    detectors = {
        describe.detector_file(scene): yunet.convert(given["yunet"], width, height)
        for scene, (width, height) in describe.SCENES.items()
    }
    return detectors | {describe.EMBEDDER_FILE: mobilefacenet.rebuild(given["mobilefacenet"])}


def pack_models(floats: Models, ranges: Ranges, *, whole_backbone: bool = False) -> Models:
    """The networks of the pack; with `whole_backbone` all of the detectors but their heads is int8."""
    made = {}
    for file, model in floats.items():
        if file == describe.EMBEDDER_FILE:
            made[file] = quantise.quantise(model, ranges["embedder"], mobilefacenet.INT8)
        else:
            int8 = yunet.BACKBONE_INT8 if whole_backbone else yunet.DENSE_INT8
            made[file] = quantise.quantise(model, ranges["detector"], int8)
    return made


def float_inside(floats: Models, ranges: Ranges) -> Models:
    """The networks in float32 with the pack's int8 input, to compare the pack with."""
    role = {describe.EMBEDDER_FILE: "embedder"}
    return {
        file: quantise.quantise(model, ranges[role.get(file, "detector")], ())
        for file, model in floats.items()
    }


def saved_ranges() -> Ranges:
    """The committed ranges, by role."""
    ranges: Ranges = json.loads(RANGES.read_text())
    return ranges


def backgrounds(sources: Mapping[str, Source], cache: Path) -> list[UInt8Image]:
    """Pictures without a face."""
    return [
        decode(member(fetch(source, cache), name))
        for source in sources.values()
        for name in source.get("backgrounds", ())
    ]


def portraits(sources: Mapping[str, Source], cache: Path, finder: Detector) -> list[Portrait]:
    """Portraits with their face."""
    found = []
    for source in sources.values():
        for name in source.get("portraits", ()):
            picture = decode(member(fetch(source, cache), name))
            found.append((picture, finder.detect(Frame(picture, captured_ns=0, sequence=0))[0]))
    return found


def calibrate(floats: Models, sources: Mapping[str, Source], cache: Path) -> Ranges:
    """Ranges of both networks' activations, measured on this machine."""
    near = floats[describe.detector_file("near")]
    people = portraits(sources, cache, describe.detector(near, "near"))
    scenery = backgrounds(sources, cache)
    print(f"calibrating with {len(people)} portraits, {len(scenery)} backgrounds", flush=True)
    pictures = calibration.scenes(people, scenery, *describe.SCENES["near"])
    found = {
        "detector": calibration.measure(
            near, (picture.astype(np.float32)[None] for picture in pictures), extremes=True
        ),
        "embedder": calibration.measure(
            floats[describe.EMBEDDER_FILE], _scaled(calibration.chips(people)), extremes=False
        ),
    }
    # The inputs' ranges are known: stored int8 is exactly pixel - 128.
    found["detector"]["image"] = found["detector"]["padded"] = (0.0, 255.0)
    found["embedder"]["image"] = (-1.0, 127 / 128)
    return found


def _scaled(chips: Iterator[UInt8Image]) -> Iterator[npt.NDArray[np.float32]]:
    for chip in chips:
        yield ((chip.astype(np.float32) - describe.EMBEDDER_MEAN) * describe.EMBEDDER_SCALE)[None]


def build(cache: Path, *, calibrate_again: bool) -> dict[str, bytes]:
    """The pack's files by name."""
    sources = load_sources()
    floats = float_models(published(sources, cache))
    if calibrate_again:
        RANGES.write_text(json.dumps(calibrate(floats, sources, cache), indent=1) + "\n")
    models = pack_models(floats, saved_ranges())
    portrait = decode(member(fetch(sources["matplotlib"], cache), describe.GOLDEN_PORTRAIT))
    expected, picture = describe.golden(models, portrait)
    manifest = describe.manifest(models, sources, expected)
    return {**models, describe.GOLDEN_FILE: picture, "manifest.json": manifest}
