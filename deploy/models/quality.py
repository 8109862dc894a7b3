"""Accuracy of the pack's networks against the same networks in float, on labelled photographs of one's own.

.venv-models/bin/python deploy/models/quality.py DATASET

DATASET has one folder a person. Faces of its people are put into 1080p scenes for the detectors, and compared
with each other for the embedder. Nothing of it was used to make the pack: ranges come from other portraits.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import assemble  # first: it sets how many threads numpy may use
import describe
import numpy as np
import recognition
import scenes
from fetch import load_sources

from edgeagent.system.modelpack import SCENES, Scene
from edgeagent.vision.align import align
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.types import Frame, UInt8Image

REFERENCE = "float"
Variants = Mapping[str, Mapping[str, bytes]]
"""Files by name, of each variant of the networks by its name; `float` is what others are compared with."""
Rows = list[dict[str, Any]]


def variants(cache: Path) -> Variants:
    """The networks in float, as in the pack, and with the detectors' whole backbone in int8."""
    floats = assemble.float_models(assemble.published(load_sources(), cache))
    ranges = assemble.saved_ranges()
    return {
        REFERENCE: assemble.float_inside(floats, ranges),
        "pack": assemble.pack_models(floats, ranges),
        "int8 backbone": assemble.pack_models(floats, ranges, whole_backbone=True),
    }


def excluded(file: Path | None) -> frozenset[str]:
    """Photographs of suspected label errors: both of each pair of a CSV with columns image_a, image_b."""
    if file is None:
        return frozenset()
    with file.open(newline="") as stream:
        return frozenset(row[column] for row in csv.DictReader(stream) for column in ("image_a", "image_b"))


def detection(made: Variants, photographs: Sequence[Path], scenery: Sequence[UInt8Image], faces: int) -> Rows:
    """Share of faces found, by scene, class of inter-eye distance and variant."""
    finder = describe.detector(made[REFERENCE][describe.detector_file("near")], "near")
    people = []
    for path in {path.parent: path for path in reversed(photographs)}.values():
        picture = scenes.read(path)
        face = scenes.main_face(finder, picture)
        if face is not None:
            people.append(scenes.Labelled(picture, face.landmarks.astype(np.float64)))
    print(f"detection: faces of {len(people)} people", flush=True)
    detectors = {
        (scene, name): describe.detector(files[describe.detector_file(scene)], scene)
        for scene in SCENES
        for name, files in made.items()
    }
    rows: Rows = []
    for eye_px in scenes.EYE_CLASSES:
        rows += _one_class(detectors, scenes.scenes(people, scenery, eye_px, faces), eye_px)
        for row in rows[-len(detectors) :]:
            print(_line(row), flush=True)
    return rows


def _one_class(detectors: Mapping[tuple[Scene, str], Detector], given: Any, eye_px: int) -> Rows:
    hits: dict[tuple[Scene, str], list[Any]] = {key: [] for key in detectors}
    strays = dict.fromkeys(detectors, 0)
    for scene in given:
        for key, detector in detectors.items():
            hit, stray = scenes.found(scene, detector.detect(scene.frame))
            hits[key].append(hit)
            strays[key] += stray
    rows: Rows = []
    for (scene, name), parts in hits.items():
        mine, reference = np.concatenate(parts), np.concatenate(hits[scene, REFERENCE])
        lost, gained = int((reference & ~mine).sum()), int((mine & ~reference).sum())
        # Both saw the same faces, so only those that one of the two missed tell them apart.
        spread = 1.96 * 100 * float(np.sqrt(lost + gained)) / len(mine)
        rows.append(
            {"scene": scene, "eye_px": eye_px, "variant": name, "faces": len(mine)}
            | {"found_percent": 100 * float(mine.mean()), "lost": lost, "gained": gained}
            | {
                "points": 100 * (gained - lost) / len(mine),
                "points_95": spread,
                "strays": strays[scene, name],
            }
        )
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['scene']:5} {row['eye_px']:3} px  {row['variant']:14} found {row['found_percent']:6.2f} % of "
        f"{row['faces']}  to float {row['points']:+5.2f} ± {row['points_95']:.2f} points "
        f"(lost {row['lost']}, gained {row['gained']})  strays {row['strays']}"
    )


def embedding(made: Variants, photographs: Sequence[Path]) -> dict[str, Any]:
    """Verification and identification with each variant of the embedder, on the same chips."""
    finder = describe.detector(made[REFERENCE][describe.detector_file("near")], "near")
    embedders = {
        name: Embedder(describe.embedder_network(files[describe.EMBEDDER_FILE]))
        for name, files in made.items()
        if name != "int8 backbone"
    }
    templates: dict[str, list[Any]] = {name: [] for name in embedders}
    people: list[str] = []
    for path in photographs:
        picture = scenes.read(path)
        face = scenes.main_face(finder, picture)
        if face is None:
            continue
        chip = align(Frame(picture, captured_ns=0, sequence=0), face)
        people.append(path.parent.name)
        for name, embedder in embedders.items():
            templates[name].append(embedder.embed(chip).vector)
    print(f"embedding: {len(people)} photographs of {len(set(people))} people", flush=True)
    stacked = {name: np.stack(vectors) for name, vectors in templates.items()}
    return recognition.compare(stacked, people, REFERENCE)


def main() -> None:
    """Print the tables, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--exclude", type=Path, help="CSV of suspected label errors: image_a, image_b")
    parser.add_argument(
        "--half", choices=["tune", "report", "all"], default="report", help="for the detectors"
    )
    parser.add_argument("--faces", type=int, default=1440, help="for each class of inter-eye distance")
    parser.add_argument("--only", choices=["detection", "embedding"])
    parser.add_argument("--cache", type=Path, help="keep downloaded packages here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    without = excluded(options.exclude)
    result: dict[str, Any] = {"excluded": len(without)}
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        made = variants(cache)
        scenery = assemble.backgrounds(load_sources(), cache)
    if options.only != "embedding":
        half = scenes.photographs(options.dataset, options.half, without)
        result["detection"] = detection(made, half, scenery, options.faces)
    if options.only != "detection":
        result["embedding"] = embedding(made, scenes.photographs(options.dataset, "all", without))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
