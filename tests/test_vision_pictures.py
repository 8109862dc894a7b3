"""The installed networks on drawings and portraits: who is found, and who is like whom."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent import demo
from edgeagent.errors import ModelError
from edgeagent.system.networks import network_of
from edgeagent.vision.detect import Detector, expected_outputs, suppress
from edgeagent.vision.embed import Embedder
from edgeagent.vision.runtime import Network, NetworkSpec
from edgeagent.vision.types import Chip, Frame, UInt8Image
from tests.real_networks import Eyes, eyes, model_pack, portrait

ASSETS = Path(demo.__file__).parent / "assets"
OBAMA = ("barack_obama_enrolled.jpg", "barack_obama_walking.webp")
PEOPLE = ("eileen_collins.webp", "grace_hopper.webp", "joe_biden.webp", OBAMA[0])
Colour = tuple[int, int, int]


@pytest.fixture(scope="module")
def vision() -> Eyes:
    return eyes()


def frame(pixels: UInt8Image) -> Frame:
    return Frame(pixels, captured_ns=0, sequence=0)


def drawn(width: int, height: int, *faces: tuple[int, int, int]) -> UInt8Image:
    """(H, W, 3) a drawing with a face at each (x, y, half width): nobody's, and yet one to a detector."""
    picture = np.full((height, width, 3), (95, 100, 90), np.uint8)
    for x, y, unit in faces:
        draw_face(picture, x, y, unit)
    return picture


def draw_face(picture: UInt8Image, x: int, y: int, unit: int) -> None:
    def spot(dx: float, dy: float, rx: float, ry: float, colour: Colour) -> None:
        centre = (round(x + dx * unit), round(y + dy * unit))
        radii = (max(1, round(rx * unit)), max(1, round(ry * unit)))
        cv2.ellipse(picture, centre, radii, 0, 0, 360, colour, -1, cv2.LINE_AA)

    spot(0, -0.20, 1.15, 1.55, (30, 40, 50))
    for step in range(6):  # rounder than one flat disc
        spot(0, 0.10, 1 - 0.12 * step, 1.35 - 0.12 * step, (115 + 6 * step, 138 + 6 * step, 175 + 6 * step))
    for side in (-0.42, 0.42):
        spot(side, -0.45, 0.24, 0.06, (40, 50, 60))
        spot(side, -0.22, 0.20, 0.11, (225, 225, 225))
        spot(side, -0.22, 0.10, 0.11, (40, 40, 40))
    spot(0, 0.22, 0.13, 0.26, (120, 140, 180))
    for side in (-0.09, 0.09):
        spot(side, 0.42, 0.06, 0.05, (70, 80, 110))
    spot(0, 0.76, 0.36, 0.12, (90, 80, 160))


# --- detection ----------------------------------------------------------------------------------------


def test_every_face_of_several_sizes_is_found_once(vision: Eyes) -> None:
    placed = [(120, 150, 60), (320, 200, 90), (520, 130, 30), (420, 330, 20)]
    faces = vision.faces(drawn(640, 384, *placed))
    assert len(faces) == len(placed)
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    for x, y, unit in placed:
        assert any(np.hypot(*(face.landmarks.mean(axis=0) - (x, y))) < unit for face in faces)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_an_empty_scene_has_no_face(vision: Eyes, value: int) -> None:
    assert vision.faces(np.full((360, 640, 3), value, np.uint8)) == []


def test_no_more_faces_than_allowed(vision: Eyes) -> None:
    network = network_of(model_pack(), "detector")
    detector = Detector(network, score_threshold=0.6, overlap_threshold=0.3, max_faces=2)
    picture = drawn(640, 384, (120, 150, 60), (320, 200, 90), (520, 130, 30))
    best = [face.score for face in vision.faces(picture)][:2]
    assert [face.score for face in detector.detect(frame(picture))] == pytest.approx(best, abs=0.01)


BOXES = st.lists(
    st.tuples(
        *[st.floats(0, 200, width=32)] * 2, *[st.floats(1, 90, width=32)] * 2, st.floats(0, 1, width=32)
    ),
    min_size=1,
    max_size=12,
)


def overlap(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    sides = [max(0.0, min(one[i] + one[i + 2], two[i] + two[i + 2]) - max(one[i], two[i])) for i in range(2)]
    shared = sides[0] * sides[1]
    return float(shared / (one[2] * one[3] + two[2] * two[3] - shared))


@given(BOXES)
def test_of_overlapping_boxes_the_best_is_kept(rows: list[tuple[float, ...]]) -> None:
    table = np.array(rows, np.float32)
    boxes, scores = table[:, :4], table[:, 4]
    kept = suppress(boxes, scores, 0.3, limit=100)
    assert scores[kept[0]] == scores.max()
    assert all(overlap(boxes[one], boxes[two]) <= 0.3 + 1e-4 for one, two in combinations(kept, 2))
    for left_out in set(range(len(rows))) - set(kept):
        better = [index for index in kept if scores[index] >= scores[left_out]]
        assert any(overlap(boxes[index], boxes[left_out]) > 0.3 - 1e-4 for index in better)


# --- templates ----------------------------------------------------------------------------------------


def test_two_pictures_of_one_person_are_nearer_than_any_two_people(vision: Eyes) -> None:
    mated = float(np.dot(*(vision.only_template(portrait(ASSETS / name)) for name in OBAMA)))
    templates = [vision.only_template(portrait(ASSETS / name)) for name in PEOPLE]
    strangers = [float(one @ two) for one, two in combinations(templates, 2)]
    assert mated > 0.6
    assert max(strangers) < 0.35


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("eyes_px", [32, 48])
def test_a_smaller_view_is_still_the_same_person(vision: Eyes, name: str, eyes_px: int) -> None:
    picture = portrait(ASSETS / name)
    (face,) = vision.faces(picture)
    factor = eyes_px / face.inter_eye_px
    small = np.asarray(
        cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
    )
    assert vision.only_template(small) @ vision.template(picture, face) > 0.7


# --- the runtime --------------------------------------------------------------------------------------


def test_the_embedder_runs_a_blank_after_a_face_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: the template's int8 form between the layers is out of reach, so the next run must cover it."""
    scrubbed: list[str] = []
    scrub = Network.scrub

    def noted(network: Network) -> None:
        scrubbed.append(network.spec.name)
        scrub(network)

    monkeypatch.setattr(Network, "scrub", noted)
    embedder = Embedder(network_of(model_pack(), "embedder"))
    embedder.wipe()
    assert scrubbed == []
    embedder.embed(Chip(np.full((112, 112, 3), 90, np.uint8)))
    embedder.wipe()
    embedder.wipe()
    assert scrubbed == ["embedder.tflite"]


def test_networks_work_on_after_a_wipe(vision: Eyes) -> None:
    picture = drawn(640, 384, (120, 150, 60))
    before = vision.only_template(picture)
    vision.detector.scrub()
    vision.embedder.scrub()
    assert vision.only_template(picture) @ before == pytest.approx(1, abs=1e-5)


def test_the_input_quantisation_must_be_what_the_manifest_says() -> None:
    entry = model_pack().model("detector")
    spec = NetworkSpec(entry.file, 384, 640, 127.0, 1.0, expected_outputs(640, 384))
    with pytest.raises(ModelError, match="does not fit mean and scale"):
        Network(model_pack().files[entry.file], spec, num_threads=1)


def test_one_thread_and_two_give_the_same_template() -> None:
    entry = model_pack().model("embedder")
    spec = NetworkSpec(entry.file, 112, 112, entry.mean, entry.scale, entry.outputs)
    chip = drawn(112, 112, (56, 68, 42))
    one, two = (
        Network(model_pack().files[entry.file], spec, num_threads=threads).run(chip)["template"][0].copy()
        for threads in (1, 2)
    )
    assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.9999
