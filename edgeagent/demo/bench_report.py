"""The evaluation behind the demo's certificate: a few stand-ins on the demo's own street. `make demo-report`.

    python -m edgeagent.demo.bench_report edgeagent/demo/assets/bench-report.json

It is made by the networks and the arithmetic of a real evaluation, and shows how little four people show:
with three who are not on the list, none of them falsely matched, an FPIR of up to 71 % remains possible. No
volunteers, no groups: a live unit refuses a certificate that rests on it (R28).
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from edgeagent.capture.scene import SceneRenderer, places
from edgeagent.demo.scene import ENROLLED, SUBJECT, write_street
from edgeagent.errors import EdgeAgentError
from edgeagent.evaluation.extract import Extractor
from edgeagent.evaluation.rates import interval, lowest_threshold, share_reaching
from edgeagent.evaluation.report_model import (
    Dataset,
    Failure,
    Failures,
    Floor,
    Identification,
    LabelErrors,
    Report,
    Runtime,
)
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import write_atomic
from edgeagent.system.modelpack import ModelPack, default_pack_folder, load_pack

SECONDS, SEED = 24.0, 11
"""Another walk than the demo's own: it must not be measured on what it then shows."""
EVERY = 5
BESIDE = 40.0
WANTED_FPIR = 0.001
GALLERY = 1


@dataclass(frozen=True, slots=True)
class View:
    """One picture of one stand-in, cut out of a frame of the street."""

    person: str
    file: Path


@dataclass(frozen=True, slots=True)
class Seen:
    """Scores against the enrolled photograph: of its own person, and of each other person.

    Attributes:
        digests: SHA-256 of each picture that gave a template.
    """

    mated: list[float]
    nonmated: dict[str, list[float]]
    failed: list[Failure]
    digests: list[str]


def main(file: Path) -> None:
    """Write the report for the installed model pack."""
    pack = load_pack(default_pack_folder())
    with tempfile.TemporaryDirectory() as folder:
        views = _views(Path(folder))
        seen, runtime = _look(pack, views)
    report = _report(pack, runtime, seen)
    write_atomic(file, report.model_dump_json(indent=1).encode() + b"\n")


def _views(folder: Path) -> list[View]:
    """Cut every stand-in out of every few frames, where nobody else is near."""
    renderer = SceneRenderer(write_street(folder / "scene", SECONDS, SEED))
    scene, views = renderer.scene, []
    for number in range(0, int(scene.seconds * scene.fps), EVERY):
        present = places(scene, number)
        frame = renderer.draw(number)
        for place in present:
            half = place.height * 0.3
            others = [abs(other.face[0] - place.face[0]) for other in present if other is not place]
            left, top = round(place.face[0] - half), round(place.face[1] - half)
            right, bottom = round(place.face[0] + half), round(place.face[1] + half)
            inside = left >= 0 and top >= 0 and right <= scene.width and bottom <= scene.height
            if not inside or min(others, default=2 * half) < half + BESIDE:
                continue
            person = scene.actors[place.actor].name
            file = folder / f"{person}-{number:04}-{place.actor}.png"
            cv2.imwrite(str(file), frame[top:bottom, left:right])
            views.append(View(person, file))
    return views


def _look(pack: ModelPack, views: list[View]) -> tuple[Seen, Runtime]:
    """Search for every view in a list of the one enrolled photograph, as the demo's unit does."""
    extractor = Extractor(pack, "near")
    enrolled, probe = (np.zeros(extractor.dimensions, np.float32) for _ in range(2))
    first = extractor.extract(ENROLLED, enrolled)
    if first.failure or first.faults:
        raise EdgeAgentError("cannot be enrolled", where=str(ENROLLED), next_step="mend the model pack")
    seen = Seen([], {}, [], [first.sha256])
    for view in views:
        one = extractor.extract(view.file, probe)
        if one.failure:
            seen.failed.append(Failure(file=view.file.name, reason=f"{one.failure}: {one.detail}"))
            continue
        seen.digests.append(one.sha256)
        mated = view.person == SUBJECT
        (seen.mated if mated else seen.nonmated.setdefault(view.person, [])).append(float(enrolled @ probe))
    extractor.close()
    return seen, extractor.runtime()


def _report(pack: ModelPack, runtime: Runtime, seen: Seen) -> Report:
    floor = _floor(seen)
    return Report(
        format="edgeagent-evaluation/1",
        software_version=version("edgeagent"),
        made_at=SystemClock().now().wall.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seed=SEED,
        model_pack_sha256=pack.sha256,
        model_pack_name=pack.manifest.name,
        runtime=runtime,
        dataset=_dataset(seen),
        excluded=(),
        failure_to_acquire=_failures(seen.failed, len(seen.digests) + len(seen.failed)),
        failure_to_enrol=_failures([], 1),
        verification=None,
        main_gallery=GALLERY,
        identification=(_identification(seen, floor),),
        floors=(floor,),
        identification_curve=(),
        label_errors=LabelErrors(
            nonmated_at_least=1.0,
            mated_below=-1.0,
            same_face_two_names=(),
            two_faces_one_name=(),
            dominate_below_fpir=0.0,
        ),
        groups=None,
        left_out=(
            "Everything but one threshold: these are generated views of four stand-ins, for a demonstration.",
            "Groups: nobody here is a volunteer, and nobody was asked.",
        ),
    )


def _floor(seen: Seen) -> Floor:
    """The lowest threshold that no view of a passer-by reaches."""
    nonmated = np.concatenate([np.array(one, np.float64) for one in seen.nonmated.values()])
    threshold = lowest_threshold(nonmated, WANTED_FPIR)
    return Floor(
        gallery_size=GALLERY,
        fpir=WANTED_FPIR,
        threshold=threshold,
        threshold_ci95=(-1.0, 1.0),
        fpir_measured=share_reaching(nonmated, threshold),
        probes_nonmated=len(seen.nonmated),
    )


def _identification(seen: Seen, floor: Floor) -> Identification:
    mated = np.array(seen.mated, np.float64)
    tpir = share_reaching(mated, floor.threshold)
    return Identification(
        gallery_size=GALLERY,
        probes_mated=1,
        probes_nonmated=floor.probes_nonmated,
        rounds=1,
        searches_mated=len(mated),
        searches_nonmated=sum(map(len, seen.nonmated.values())),
        fpir=floor.fpir,
        threshold=floor.threshold,
        fpir_measured=floor.fpir_measured,
        fpir_ci95=interval(floor.fpir_measured, floor.probes_nonmated),
        tpir=tpir,
        tpir_ci95=interval(tpir, 1),
        tpir_ci95_bootstrap=(0.0, 1.0),
        rank_one=1.0,
    )


def _dataset(seen: Seen) -> Dataset:
    people = len(seen.nonmated) + 1
    text = "".join(f"{digest}\n" for digest in sorted(seen.digests))
    return Dataset(
        people=people,
        images=len(seen.digests) + len(seen.failed),
        used=len(seen.digests),
        chosen=0,
        people_used=people,
        people_with_pairs=people,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _failures(failed: list[Failure], tried: int) -> Failures:
    rate = len(failed) / tried
    return Failures(
        tried=tried,
        failed=len(failed),
        rate=rate,
        ci95=interval(rate, tried),
        by_reason={"no template": len(failed)} if failed else {},
        listed=tuple(failed),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
