"""Vision: geometry, networks, gallery and tracks; and that each overwrites what it says it does (R1)."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.agent import recogniser as recogniser_module
from edgeagent.agent.recogniser import Recogniser
from edgeagent.capture.scene import SceneRenderer
from edgeagent.demo.scene import ENROLLED, write_street
from edgeagent.errors import ModelError
from edgeagent.safeguards.decide import Hit, Policy
from edgeagent.system.networks import detector_of, embedder_of, network_of
from edgeagent.vision.align import REFERENCE_LANDMARKS, align, similarity
from edgeagent.vision.detect import Detector, suppress
from edgeagent.vision.embed import Embedder
from edgeagent.vision.match import Gallery
from edgeagent.vision.memory import BiometricMemory, Take
from edgeagent.vision.runtime import Network, NetworkSpec
from edgeagent.vision.track import MAX_VOTES, Track, Tracker
from edgeagent.vision.types import CHIP_SIZE, Chip, Face, Float32Array, Frame, Template, UInt8Image
from tests.real_networks import Eyes, eyes, model_pack, portrait

FPS = 15
FRAME_NS = 1_000_000_000 // FPS


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


@pytest.fixture(scope="module")
def good() -> UInt8Image:
    return portrait(ENROLLED)


def frame_of(pixels: UInt8Image, number: int = 0) -> Frame:
    return Frame(pixels, captured_ns=number * FRAME_NS, sequence=number)


def chip_of(seed: int = 0) -> Chip:
    return Chip(np.random.default_rng(seed).integers(1, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8))


# --- alignment ----------------------------------------------------------------------------------------

ANGLE, SCALE, SHIFT = st.floats(-3.1, 3.1), st.floats(0.05, 20), st.floats(-2000, 2000)


def matrix_of(angle: float, scale: float, x: float, y: float) -> npt.NDArray[np.float64]:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@given(ANGLE, SCALE, SHIFT, SHIFT)
def test_similarity_recovers_what_was_done(angle: float, scale: float, x: float, y: float) -> None:
    done = matrix_of(angle, scale, x, y)
    moved = REFERENCE_LANDMARKS @ done[:, :2].T + done[:, 2]
    assert similarity(REFERENCE_LANDMARKS, moved) == pytest.approx(done, abs=1e-6 * max(1, scale, abs(x)))
    back = similarity(moved, REFERENCE_LANDMARKS)
    assert moved @ back[:, :2].T + back[:, 2] == pytest.approx(REFERENCE_LANDMARKS, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_no_other_transform_fits_better(seed: int) -> None:
    """Least squares: moving the found transform a little never lowers the error."""
    rng = np.random.default_rng(seed)
    start, goal = rng.normal(0, 30, (5, 2)), rng.normal(0, 30, (5, 2))
    best = similarity(start, goal)

    def error(a: float, b: float, x: float, y: float) -> float:
        found = np.array([[a, -b, x], [b, a, y]])
        return float(((start @ found[:, :2].T + found[:, 2] - goal) ** 2).sum())

    at = np.array([best[0, 0], best[1, 0], best[0, 2], best[1, 2]])
    for step in rng.normal(0, 1e-3, (8, 4)):
        assert error(*(at + step)) >= error(*at) - 1e-9


def test_points_in_one_place_have_no_transform() -> None:
    with pytest.raises(ValueError, match="one place"):
        similarity(np.ones((5, 2)), REFERENCE_LANDMARKS)


def dots(angle: float, eye_px: float) -> tuple[UInt8Image, Face]:
    """A picture with five bright dots where a face's landmarks are, and that face."""
    scale = eye_px / 35.24
    turn = matrix_of(angle, scale, 0, 0)[:, :2]
    landmarks = (REFERENCE_LANDMARKS - REFERENCE_LANDMARKS.mean(0)) @ turn.T + np.array([320, 240])
    picture = np.zeros((480, 640, 3), np.uint8)
    for x, y in landmarks:
        centre = (round(x * 16), round(y * 16))
        cv2.circle(picture, centre, round(3 * scale * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)
    return picture, Face(np.array([220, 140, 200, 200], np.float32), landmarks.astype(np.float32), 1.0)


@pytest.mark.parametrize("angle", [0.0, 0.5, -0.8, 3.0])
@pytest.mark.parametrize("eye_px", [20.0, 36.0, 90.0, 150.0])
def test_landmarks_come_to_lie_where_the_embedder_expects_them(angle: float, eye_px: float) -> None:
    """Also where the face is large and is averaged down first."""
    picture, face = dots(angle, eye_px)
    chip = align(frame_of(picture), face).pixels[..., 0].astype(np.float64)
    y, x = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE]
    for at_x, at_y in REFERENCE_LANDMARKS:
        near = chip * (np.hypot(x - at_x, y - at_y) < 7)
        assert near.max() > 200
        assert (near * x).sum() / near.sum() == pytest.approx(at_x, abs=0.2)
        assert (near * y).sum() / near.sum() == pytest.approx(at_y, abs=0.2)


def test_what_lies_outside_the_frame_is_black() -> None:
    picture = np.full((60, 60, 3), 255, np.uint8)
    landmarks = (REFERENCE_LANDMARKS - np.array([56, 56])).astype(np.float32)
    chip = align(frame_of(picture), Face(np.zeros(4, np.float32), landmarks, 1.0))
    assert not chip.pixels[:50, :50].any()
    assert (chip.pixels[60:100, 60:100] == 255).all()


def test_a_large_face_wholly_outside_the_frame_is_black() -> None:
    picture = np.full((60, 60, 3), 255, np.uint8)
    for far in (-9000, 9000):
        landmarks = (REFERENCE_LANDMARKS * 6 + far).astype(np.float32)
        assert not align(frame_of(picture), Face(np.zeros(4, np.float32), landmarks, 1.0)).pixels.any()


def test_alignment_writes_where_it_is_told() -> None:
    """R1: everything that it needs, for faces of any size, is taken from the memory that it is given."""
    memory = BiometricMemory(1 << 20)
    for eye_px in (20.0, 60.0, 90.0, 140.0):
        picture, face = dots(0.2, eye_px)
        with memory.loan():
            chip = align(frame_of(picture), face, memory.take)
            assert np.shares_memory(chip.pixels, memory._whole)
            assert np.array_equal(chip.pixels, align(frame_of(picture), face).pixels)
            del chip
        assert memory.wiped


# --- networks -----------------------------------------------------------------------------------------


def tensors(network: Network) -> list[npt.NDArray[Any]]:
    """Copies of the runtime's own input and outputs, and of this object's results."""
    indices = (network._input, *network._output_tensors.values())
    return [network._tensor(index).copy() for index in indices] + list(network._results.values())


@pytest.mark.parametrize("role", ["detector", "embedder"])
@pytest.mark.parametrize("way", ["wipe", "scrub"])
def test_wiping_leaves_zeros_in_every_tensor_that_can_be_reached(role: str, way: str) -> None:
    network = network_of(model_pack(), role)
    picture = np.full((network.spec.height, network.spec.width, 3), 9, np.uint8)
    before = {name: held.copy() for name, held in network.run(picture).items()}
    assert all(tensor.any() for tensor in tensors(network)[:1])
    getattr(network, way)()
    assert not any(tensor.any() for tensor in tensors(network))
    after = network.run(picture)
    assert all(np.array_equal(before[name], after[name]) for name in before), "and it still works"


def test_scrubbing_runs_a_picture_that_does_not_depend_on_the_last_one() -> None:
    """What the layers hold afterwards is what a new network that saw nobody would hold."""
    seen, fresh = network_of(model_pack(), "embedder"), network_of(model_pack(), "embedder")
    inputs: list[npt.NDArray[Any]] = []

    def watch(network: Network) -> Any:
        invoke = network._interpreter.invoke

        def watched() -> None:
            inputs.append(network._tensor(network._input).copy())
            invoke()

        return watched

    seen.run(chip_of().pixels)
    for network in (seen, fresh):
        network._interpreter.invoke = watch(network)
        network.scrub()
    assert len(inputs) == 2
    assert np.array_equal(inputs[0], inputs[1])


@pytest.mark.parametrize("shape", [(112, 112), (112, 112, 4), (111, 112, 3), (1, 112, 112, 3), (0, 0, 3)])
def test_a_picture_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    network = network_of(model_pack(), "embedder")
    with pytest.raises(ValueError, match="expected"):
        network.run(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        network.run(np.zeros((112, 112, 3), np.float32))


def spec_of(role: str, **changes: Any) -> NetworkSpec:
    return replace(network_of(model_pack(), role).spec, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"height": 111}, {"mean": 0.0}, {"scale": 1.0}, {"outputs": {}}, {"outputs": {"template": (1, 128)}}],
)
def test_a_network_that_does_not_fit_its_description_is_refused(changes: dict[str, Any]) -> None:
    entry = model_pack().model("embedder")
    with pytest.raises(ModelError) as refusal:
        Network(model_pack().files[entry.file], spec_of("embedder", **changes), num_threads=1)
    assert refusal.value.where == entry.file


def test_each_network_is_taken_for_its_own_role_only() -> None:
    with pytest.raises(ModelError, match="expected one output 'template'"):
        Embedder(network_of(model_pack(), "detector"))
    with pytest.raises(ModelError, match="not those of a detector"):
        Detector(
            network_of(model_pack(), "embedder"), score_threshold=0.6, overlap_threshold=0.3, max_faces=5
        )


# --- detector -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(384, 640), (720, 1280), (1080, 1920), (300, 900), (900, 300)])
def test_faces_are_found_where_they_are_in_frames_of_any_shape(
    size: tuple[int, int], networks: Eyes, good: UInt8Image
) -> None:
    height, width = size
    picture = np.full((height, width, 3), 120, np.uint8)
    side = 200
    face = cv2.resize(good, (side, side * good.shape[0] // good.shape[1]))[: height - 20]
    top, left = height - len(face) - 10, width - side - 20
    picture[top : top + len(face), left : left + side] = face
    (found,) = networks.faces(picture)
    x, y = found.landmarks.mean(axis=0)
    assert left < x < left + side
    assert top < y < top + len(face)
    eyes_y, mouth_y = found.landmarks[:2, 1].mean(), found.landmarks[3:, 1].mean()
    assert eyes_y < found.landmarks[2, 1] < mouth_y
    assert found.landmarks[0, 0] < found.landmarks[1, 0]


def test_a_second_frame_holds_nothing_of_the_first(networks: Eyes, good: UInt8Image) -> None:
    """Frames of another shape leave other parts of the canvas free; those must be black."""
    assert networks.faces(good)
    assert networks.faces(np.zeros((90, 900, 3), np.uint8)) == []


def test_the_detector_wipes_its_canvas(good: UInt8Image) -> None:
    detector = detector_of(model_pack())
    for way in (detector.wipe, detector.scrub):
        detector.detect(frame_of(good))
        assert detector._canvas.any()
        way()
        assert not detector._canvas.any()
        assert not any(tensor.any() for tensor in tensors(detector._network))


def test_overlapping_boxes_are_one_face() -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 1, 10, 10), (30, 0, 10, 10), (0, 0, 0, 0)], np.float32)
    scores = np.array([0.7, 0.9, 0.8, 0.95], np.float32)
    assert suppress(boxes, scores, 0.3, 10) == [3, 1, 2]
    assert suppress(boxes, scores, 0.3, 2) == [3, 1]
    assert suppress(boxes, scores, 0.99, 10) == [3, 1, 2, 0]
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0), 0.3, 10) == []


# --- embedder -----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1))
def test_templates_have_unit_length(networks: Eyes, seed: int) -> None:
    template = networks.embedder.embed(chip_of(seed))
    assert float(np.linalg.norm(template.vector)) == pytest.approx(1, abs=1e-5)


def test_templates_are_written_where_they_are_told_and_do_not_alias_the_network(networks: Eyes) -> None:
    out = np.zeros(networks.embedder.dimensions, np.float32)
    template = networks.embedder.embed(chip_of(1), out)
    assert np.shares_memory(template.vector, out)
    before = out.copy()
    networks.embedder.embed(chip_of(2))
    networks.embedder.wipe()
    assert np.array_equal(out, before)


def test_a_network_without_a_direction_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = embedder_of(model_pack())
    empty = {"template": np.zeros((1, embedder.dimensions), np.float32)}
    monkeypatch.setattr(Network, "run", lambda self, pixels: empty)
    with pytest.raises(ModelError, match="empty template"):
        embedder.embed(chip_of())


# --- gallery ------------------------------------------------------------------------------------------


def unit_rows(count: int, seed: int = 0) -> Float32Array:
    rows = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_nearest_and_runner_up_are_those_of_plain_arithmetic(seed: int, persons: list[int]) -> None:
    rows, probe = unit_rows(len(persons), seed), Template(unit_rows(1, seed + 1)[0])
    found = Gallery(rows, np.array(persons)).nearest(probe)
    scores = rows @ probe.vector
    others = [s for s, person in zip(scores, persons, strict=True) if person != persons[found.entry]]
    assert found.score == pytest.approx(scores.max(), abs=1e-6)
    assert found.person == persons[found.entry]
    assert found.runner_up == pytest.approx(max(others, default=-1.0), abs=1e-6)
    assert found.runner_up <= found.score + 1e-6


def test_another_image_of_the_same_person_is_no_runner_up() -> None:
    rows = unit_rows(3)
    rows[1] = rows[0]
    same = Gallery(rows.copy(), np.array([4, 4, 9])).nearest(Template(rows[0]))
    other = Gallery(rows.copy(), np.array([4, 5, 9])).nearest(Template(rows[0]))
    assert same.runner_up < 0.9
    assert other.runner_up == pytest.approx(1.0, abs=1e-5)


def test_one_person_has_no_runner_up() -> None:
    rows = unit_rows(2)
    found = Gallery(rows, np.array([7, 7])).nearest(Template(rows[1]))
    assert (found.entry, found.person, found.runner_up) == (1, 7, -1.0)
    assert found.score == pytest.approx(1.0)


def test_scores_do_not_stay_and_wiping_leaves_zeros() -> None:
    rows = unit_rows(5)
    gallery = Gallery(rows, np.arange(5))
    gallery.nearest(Template(unit_rows(1, 9)[0]))
    assert not gallery._scores.any()
    assert len(gallery) == 5
    gallery.wipe()
    assert not rows.any()


@pytest.mark.parametrize(("shape", "persons"), [((0, 8), 0), ((8,), 8), ((3, 8), 2)])
def test_a_gallery_of_another_shape_is_refused(shape: tuple[int, ...], persons: int) -> None:
    with pytest.raises(ValueError, match="Gallery"):
        Gallery(np.ones(shape, np.float32), np.arange(persons))


# --- types --------------------------------------------------------------------------------------------


def test_types_refuse_what_they_are_not_and_print_no_pixels() -> None:
    """R1: a repr that lands in a log or a traceback carries nobody."""
    with pytest.raises(ValueError, match=r"Frame\.pixels"):
        Frame(np.zeros((4, 4), np.uint8), 0, 0)
    with pytest.raises(ValueError, match=r"Chip\.pixels"):
        Chip(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="unit length"):
        Template(np.ones(8, np.float32))
    with pytest.raises(ValueError, match=r"Face\.landmarks"):
        Face(np.zeros(4, np.float32), np.zeros((4, 2), np.float32), 1.0)
    shown = [frame_of(np.full((2, 2, 3), 77, np.uint8)), Chip(np.full((112, 112, 3), 77, np.uint8))]
    assert not any("77" in repr(noun) for noun in shown)
    assert repr(Template(np.eye(8, dtype=np.float32)[0])) == "Template()"


# --- tracks -------------------------------------------------------------------------------------------

REACH, FORGET_NS = 1.5, 700_000_000


def face_at(x: float, y: float, eye_px: float = 40.0) -> Face:
    landmarks = (REFERENCE_LANDMARKS - REFERENCE_LANDMARKS.mean(0)) * (eye_px / 35.24) + np.array([x, y])
    return Face(np.array([x, y, 1, 1], np.float32), landmarks.astype(np.float32), 0.9)


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(reach=REACH, forget_ns=FORGET_NS)


def test_a_track_is_kept_through_motion(tracker: Tracker) -> None:
    tracks = [tracker.assign([face_at(100 + 25 * n, 200)], n * FRAME_NS)[0] for n in range(30)]
    assert len({id(track) for track in tracks}) == 1
    assert len(tracker) == 1


def test_a_jump_or_a_gap_makes_a_new_track(tracker: Tracker) -> None:
    first = tracker.assign([face_at(100, 200)], 0)[0]
    assert tracker.assign([face_at(100 + 40 * REACH + 5, 200)], FRAME_NS)[0] is not first
    again = tracker.assign([face_at(100, 200)], FORGET_NS)[0]
    assert again is first  # not yet forgotten
    assert tracker.assign([face_at(100, 200)], 2 * FORGET_NS + 1)[0] is not first


def test_old_tracks_are_dropped_and_clear_drops_all(tracker: Tracker) -> None:
    tracker.assign([face_at(100, 200), face_at(500, 200)], 0)
    tracker.assign([], FORGET_NS + 1)
    assert len(tracker) == 0
    tracker.assign([face_at(100, 200)], 2 * FORGET_NS)
    tracker.clear()
    assert len(tracker) == 0


@pytest.mark.parametrize("apart", [45.0, 120.0])
def test_two_people_who_cross_keep_their_tracks(apart: float, tracker: Tracker) -> None:
    """One walks behind the other, so their heads are at different heights."""
    seen = []
    for n in range(31):
        faces = [face_at(100 + 20 * n, 200), face_at(700 - 20 * n, 200 + apart)]
        tracks = tracker.assign(faces if n % 2 else faces[::-1], n * FRAME_NS)
        seen.append(tracks if n % 2 else tracks[::-1])
    assert len({id(tracks[0]) for tracks in seen}) == len({id(tracks[1]) for tracks in seen}) == 1
    assert len(tracker) == 2


def test_two_people_who_cross_at_one_height_never_share_a_track(tracker: Tracker) -> None:
    """Whether they keep theirs cannot be known; `decide` refuses a track that was mixed up."""
    for n in range(31):
        one, other = tracker.assign([face_at(100 + 20 * n, 200), face_at(700 - 20 * n, 200)], n * FRAME_NS)
        assert one is not other
    assert len(tracker) == 2


@given(st.lists(st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480)), max_size=6), max_size=8))
def test_each_face_has_a_track_of_its_own(frames: list[list[tuple[float, float]]]) -> None:
    tracker = Tracker(reach=REACH, forget_ns=FORGET_NS)
    for n, points in enumerate(frames):
        tracks = tracker.assign([face_at(*point) for point in points], n * FRAME_NS)
        assert len({id(track) for track in tracks}) == len(points)
        for track, (x, y) in zip(tracks, points, strict=True):
            assert (track.x, track.y) == pytest.approx((x, y), abs=1e-3)
            assert track.seen_ns == n * FRAME_NS


def test_a_track_holds_no_picture_and_few_votes(tracker: Tracker) -> None:
    (track,) = tracker.assign([face_at(100, 200)], 0)
    assert set(Track.__slots__) == {"x", "y", "size", "seen_ns", "votes", "done", "matchable"}
    assert track.votes.maxlen == MAX_VOTES


# --- one frame through the whole path, real networks ---------------------------------------------------


class Watched:
    """A recogniser with real networks, and every array that it made of a face."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, enrolled: Float32Array) -> None:
        self.detector, self.embedder = detector_of(model_pack()), embedder_of(model_pack())
        self.made = 0
        self.recogniser = Recogniser(
            self.detector,
            self.embedder,
            Gallery(enrolled[None].copy(), np.zeros(1, np.int64)),
            Policy(threshold=0.6, margin=0.05, agreeing_frames=3),
            realert_s=60.0,
        )
        monkeypatch.setattr(recogniser_module, "align", self._align)
        embed, detect = self.embedder.embed, self.detector.detect

        def watched_embed(chip: Chip, out: Float32Array) -> Template:
            self._is_owned(embed(chip, out).vector)
            return Template(out)

        def watched_detect(frame: Frame, take: Take) -> list[Face]:
            faces = detect(frame, take)
            for face in faces:
                self._is_owned(face.box)
                self._is_owned(face.landmarks)
            return faces

        monkeypatch.setattr(self.embedder, "embed", watched_embed)
        monkeypatch.setattr(self.detector, "detect", watched_detect)

    def _align(self, frame: Frame, face: Face, take: Take) -> Chip:
        chip = align(frame, face, take)
        self._is_owned(chip.pixels)
        return chip

    def _is_owned(self, array: npt.NDArray[Any]) -> None:
        """Everything made of a face lies in the recogniser's own memory."""
        assert array.any()
        assert np.shares_memory(array, self.recogniser._memory._whole)
        self.made += 1

    def left(self) -> list[str]:
        """What is not zeros."""
        assert self.made
        held = [("made of a face", self.recogniser._memory._whole)]
        held += [("canvas and candidates", self.detector._memory._whole)]
        for name, part in (("detector", self.detector), ("embedder", self.embedder)):
            assert isinstance(part._network, Network)
            held += [(f"{name} tensor", tensor) for tensor in tensors(part._network)]
        return [name for name, array in held if array.any()]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> list[UInt8Image]:
    """Frames of the demo's street in which the subject and others walk."""
    renderer = SceneRenderer(write_street(tmp_path_factory.mktemp("street"), 12.0, 3))
    return [renderer.draw(number) for number in range(5 * FPS, 7 * FPS, 3)]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, networks: Eyes, good: UInt8Image) -> Watched:
    return Watched(monkeypatch, networks.only_template(good))


def test_nothing_of_a_face_is_left_after_a_frame(watched: Watched, walk: list[UInt8Image]) -> None:
    """R1, with the real networks: canvas, tensors, chips, templates, boxes; strangers and subject alike."""
    seen = ended = alerted = 0
    hits: list[Hit] = []
    for number, picture in enumerate(walk):
        became = watched.recogniser.process(
            frame_of(picture, number * 3), lambda hit, chip, frame: hits.append(hit)
        )
        assert watched.left() == []
        seen, ended = seen + became.seen, ended + became.overwritten
        alerted += became.alerted
    assert seen > 15
    assert alerted == len(hits) == 1
    assert seen == ended + alerted
    assert hits[0].score >= 0.6


def test_nothing_is_left_when_the_alert_cannot_be_made(watched: Watched, walk: list[UInt8Image]) -> None:
    def broken(hit: Hit, chip: Chip, frame: Frame) -> None:
        raise OSError("the disk is full")

    def all_frames() -> None:
        for number, picture in enumerate(walk):
            watched.recogniser.process(frame_of(picture, number * 3), broken)
            assert watched.left() == []

    with pytest.raises(OSError, match="disk is full"):
        all_frames()
    assert watched.left() == []


def test_the_recogniser_keeps_no_chip_alive(
    monkeypatch: pytest.MonkeyPatch, watched: Watched, walk: list[UInt8Image]
) -> None:
    """Zeroed and let go: no list, cache or closure holds on to it."""
    held: list[weakref.ref[npt.NDArray[Any]]] = []

    def remember(frame: Frame, face: Face, take: Take) -> Chip:
        chip = align(frame, face, take)
        held.append(weakref.ref(chip.pixels))
        return chip

    monkeypatch.setattr(recogniser_module, "align", remember)
    watched.recogniser.process(frame_of(walk[0]), lambda hit, chip, frame: None)
    assert held
    assert all(reference() is None for reference in held)


def test_the_end_of_capture_scrubs_and_forgets(watched: Watched, walk: list[UInt8Image]) -> None:
    for number, picture in enumerate(walk[:4]):
        watched.recogniser.process(frame_of(picture, number * 3), lambda hit, chip, frame: None)
    assert len(watched.recogniser._tracker) > 0
    watched.recogniser.destroy()
    assert len(watched.recogniser._tracker) == 0
    assert watched.left() == []
    assert not watched.recogniser._gallery._templates.any()


def test_frames_are_given_out_in_order(walk: list[UInt8Image]) -> None:
    """The fixture shows motion, or the tests above would prove little."""
    assert all(not np.array_equal(one, other) for one, other in pairwise(walk))
    assert Path(ENROLLED).is_file()
