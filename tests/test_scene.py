"""The generated street: a pure function of its file, and honest about whom it shows."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.capture.protocol import Status
from edgeagent.capture.scene import Scene, SceneRenderer, SceneSource, load_scene, places
from edgeagent.capture.source import SourceFailed
from edgeagent.capture.street import draw_street
from edgeagent.demo.papers import REPORT
from edgeagent.demo.scene import ASSETS, ENROLLED, HEIGHT, SUBJECT, WALKERS, WIDTH, street, write_street
from edgeagent.errors import CaptureError
from tests.real_networks import Eyes, eyes, portrait

SEED = 7
NAMES = list(WALKERS)


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


def write(folder: Path, scene: Scene) -> Path:
    """The scene beside its pictures."""
    file = write_street(folder, 1.0, 0)
    file.write_text(scene.model_dump_json())
    return file


def small(**changes: Any) -> Scene:
    """A street of a few frames that is quick to draw."""
    scene: dict[str, Any] = {
        "width": 320,
        "height": 240,
        "fps": 30,
        "seconds": 0.5,
        "seed": 1,
        "noise": 2.0,
        "actors": (),
    }
    return Scene(**(scene | changes))


def alone(name: str, seed: int) -> Scene:
    """The scene of one walk of the demo, by itself."""
    scene = street(40.0, seed)
    actor = next(actor for actor in scene.actors if actor.name == name)
    actor = actor.model_copy(update={"enters_s": 0.0})
    return scene.model_copy(update={"actors": (actor,), "seconds": actor.crosses_s, "noise": 3.0})


# --- a pure function ----------------------------------------------------------------------------------


def fingerprint(renderer: SceneRenderer, frame: int) -> str:
    return hashlib.sha256(renderer.draw(frame).tobytes()).hexdigest()


def test_the_same_file_and_number_give_the_same_frame(tmp_path: Path) -> None:
    scene = street(8.0, SEED)
    one, two = (SceneRenderer(write(tmp_path / name, scene)) for name in ("one", "two"))
    frames = [20, 61, 20]
    seen = [fingerprint(one, frame) for frame in frames]
    assert seen == [fingerprint(two, frame) for frame in frames]  # nor does the order asked in matter
    assert seen[0] == seen[2] != seen[1]


def test_another_seed_gives_another_frame(tmp_path: Path) -> None:
    renderers = [SceneRenderer(write(tmp_path / str(seed), small(seed=seed))) for seed in (1, 2)]
    assert len({fingerprint(renderer, 3) for renderer in renderers}) == 2


def test_the_frame_has_the_size_that_the_file_says(tmp_path: Path) -> None:
    frame = SceneRenderer(write(tmp_path, small())).draw(0)
    assert frame.shape == (240, 320, 3)
    assert frame.dtype == np.uint8


# --- who is where -------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**31), seconds=st.floats(12, 90))
@settings(max_examples=40)
def test_the_demo_shows_four_people_and_the_subject(seed: int, seconds: float) -> None:
    """In any run of 12 s or more, and the subject well inside the picture for at least two seconds."""
    scene = street(seconds, seed)
    assert len({actor.name for actor in scene.actors}) >= 4
    inside = sum(
        scene.actors[place.actor].name == SUBJECT and 0.15 * WIDTH < place.x < 0.85 * WIDTH
        for frame in range(round(12 * scene.fps))
        for place in places(scene, frame)
    )
    assert inside >= 2 * scene.fps


def test_several_people_are_in_the_picture_together() -> None:
    scene = street(30.0, SEED)
    together = [len(places(scene, frame)) for frame in range(6 * scene.fps, 24 * scene.fps)]
    assert min(together) >= 3


@given(seed=st.integers(0, 2**31), frame=st.integers(0, 400))
def test_places_are_sorted_and_those_who_left_are_not_listed(seed: int, frame: int) -> None:
    scene = street(20.0, seed)
    found = places(scene, frame)
    assert [place.height for place in found] == sorted(place.height for place in found)
    for place in found:
        actor = scene.actors[place.actor]
        assert actor.enters_s <= frame / scene.fps < actor.enters_s + actor.crosses_s
        assert math.isfinite(place.x)


@pytest.mark.parametrize("name", NAMES)
def test_walks_alone(name: str, tmp_path: Path, networks: Eyes) -> None:
    """Places agree with the detector, and only the subject resembles the enrolled photograph."""
    enrolled = networks.only_template(portrait(ENROLLED))
    scene = alone(name, SEED)
    renderer = SceneRenderer(write(tmp_path, scene))
    scores, inside = [], 0
    for frame in range(0, round(scene.seconds * scene.fps), 5):
        (place,) = places(scene, frame)
        picture = renderer.draw(frame)
        faces = networks.faces(picture)
        if place.height / 2 < place.x < WIDTH - place.height / 2:
            inside += 1
            assert len(faces) == 1, f"frame {frame}"
            x, y = faces[0].landmarks.mean(axis=0)
            assert math.dist((x, y), place.face) < 0.06 * place.height
            scores.append(float(networks.template(picture, faces[0]) @ enrolled))
    assert inside >= 8
    if name == SUBJECT:
        assert np.median(scores) > 0.65
    else:
        assert max(scores) < 0.45


# --- the pictures -------------------------------------------------------------------------------------


def test_the_enrolled_photograph_is_not_the_one_that_walks(networks: Eyes) -> None:
    """Another photograph of the same person: alike as a person, not as a picture."""
    enrolled, walking = portrait(ENROLLED), portrait(ASSETS / WALKERS[SUBJECT])
    likeness = float(networks.only_template(enrolled) @ networks.only_template(walking))
    assert 0.6 < likeness < 0.95


def test_the_stand_ins_are_different_people(networks: Eyes) -> None:
    found = np.stack([networks.only_template(portrait(ASSETS / picture)) for picture in WALKERS.values()])
    likeness = found @ found.T - 2 * np.eye(len(found))
    assert likeness.max() < 0.3


def test_every_picture_states_its_origin() -> None:
    origin = ASSETS / "ORIGIN.md"
    assert origin.is_file(), "edgeagent/demo/assets/ORIGIN.md is missing"
    said = origin.read_text()
    files = {file.name for file in ASSETS.iterdir() if file.is_file()} - {origin.name}
    assert files == {ENROLLED.name, *WALKERS.values(), REPORT.name}
    assert {name for name in files if name not in said} == set()


def test_the_street_says_that_it_is_generated_and_holds_no_face(networks: Eyes) -> None:
    """R22: the sign is in the picture. Its letters are not read here, only that its place is not bare."""
    picture = draw_street(WIDTH, HEIGHT, SEED)
    assert networks.faces(picture) == []
    sign = picture[round(HEIGHT * 0.2) : round(HEIGHT * 0.33), round(WIDTH * 0.035) : round(WIDTH * 0.185)]
    assert sign.std() > 30


# --- files that are wrong -----------------------------------------------------------------------------

ACTOR: dict[str, Any] = json.loads(street(1.0, 0).actors[0].model_dump_json())
BAD = {
    "width": ({"width": 100}, "width"),
    "height as text": ({"height": "240"}, "height"),
    "no rate": ({"fps": 0}, "fps"),
    "for ever": ({"seconds": 1e9}, "seconds"),
    "not a number": ({"seconds": float("nan")}, "seconds"),
    "noise": ({"noise": -1.0}, "noise"),
    "negative seed": ({"seed": -1}, "seed"),
    "unknown key": ({"camera": "v4l2:/dev/video0"}, "camera"),
    "crowd": ({"actors": [ACTOR] * 2001}, "actors"),
    "picture elsewhere": ({"actors": [ACTOR | {"picture": "../../etc/passwd"}]}, "actors.0.picture"),
    "picture with a folder": ({"actors": [ACTOR | {"picture": "a/b.webp"}]}, "actors.0.picture"),
    "film": ({"actors": [ACTOR | {"picture": "film.mp4"}]}, "actors.0.picture"),
    "nobody": ({"actors": [ACTOR | {"name": ""}]}, "actors.0.name"),
    "no time to cross": ({"actors": [ACTOR | {"crosses_s": 0}]}, "actors.0.crosses_s"),
    "giant": ({"actors": [ACTOR | {"height": [300, 9000]}]}, "actors.0.height.1"),
    "turned right round": ({"actors": [ACTOR | {"turn": 2.0}]}, "actors.0.turn"),
    "unknown key of an actor": ({"actors": [ACTOR | {"ethnicity": "x"}]}, "actors.0.ethnicity"),
}


@pytest.mark.parametrize(("changes", "key"), BAD.values(), ids=BAD.keys())
def test_a_bad_scene_is_refused_by_key(changes: dict[str, Any], key: str, tmp_path: Path) -> None:
    file = tmp_path / "street.json"
    file.write_text(json.dumps(json.loads(small().model_dump_json()) | changes))
    with pytest.raises(CaptureError) as refusal:
        load_scene(file)
    assert refusal.value.where == f"{file}: {key}"
    assert refusal.value.next_step == "correct the scene file"


@pytest.mark.parametrize("key", list(Scene.model_fields))
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    file = tmp_path / "street.json"
    said = json.loads(small().model_dump_json())
    del said[key]
    file.write_text(json.dumps(said))
    with pytest.raises(CaptureError, match="required") as refusal:
        load_scene(file)
    assert refusal.value.where.endswith(f": {key}")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_scene_at_all(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "street.json"
    file.write_bytes(content)
    with pytest.raises(CaptureError):
        load_scene(file)


def test_a_picture_that_is_missing_or_unsuitable_is_named(tmp_path: Path) -> None:
    actor = street(1.0, 0).actors[0].model_copy(update={"picture": "somebody.png"})
    file = write(tmp_path, small(actors=(actor,)))
    picture = tmp_path / "somebody.png"
    with pytest.raises(CaptureError, match="cannot be read") as refusal:
        SceneRenderer(file)
    assert refusal.value.where == str(picture)
    cv2.imwrite(str(picture), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(CaptureError, match="not a picture with transparency"):
        SceneRenderer(file)
    picture.write_bytes(b"not a picture")
    with pytest.raises(CaptureError, match="not a picture with transparency"):
        SceneRenderer(file)


@given(data=st.data())
@settings(max_examples=12)
def test_whatever_the_file_may_say_can_be_drawn(data: st.DataObject, tmp_path_factory: Any) -> None:
    """At the edges of every range: out of the picture, tiny, huge, dark, turned."""
    far = st.sampled_from([-1e9, -400.0, 0.0, 160.0, 319.5, 1e9])
    tall = st.sampled_from([20.0, 21.0, 150.0, 900.0])
    actor = (
        street(1.0, 0)
        .actors[0]
        .model_copy(
            update={
                "start": (data.draw(far), data.draw(far)),
                "end": (data.draw(far), data.draw(far)),
                "height": (data.draw(tall), data.draw(tall)),
                "turn": data.draw(st.sampled_from([-0.4, 0.0, 0.4])),
                "gain": data.draw(st.sampled_from([0.3, 2.0])),
                "gamma": data.draw(st.sampled_from([0.4, 2.5])),
                "blur": data.draw(st.sampled_from([0.0, 0.01, 5.0])),
            }
        )
    )
    folder = tmp_path_factory.mktemp("scene")
    renderer = SceneRenderer(write(folder, small(actors=(actor,))))
    assert renderer.draw(0).shape == renderer.draw(7).shape == (240, 320, 3)


# --- the source ---------------------------------------------------------------------------------------


def test_who_asks_late_misses_frames_and_the_scene_ends(tmp_path: Path) -> None:
    source = SceneSource(str(write(tmp_path, small())))
    slot = np.zeros(240 * 320 * 3, np.uint8)
    source.open()
    taken = source.read(slot)
    assert (taken.height, taken.width) == (240, 320)
    assert slot.any()
    time.sleep(0.2)
    assert source.read(slot).sequence > taken.sequence + 3
    time.sleep(0.4)
    with pytest.raises(SourceFailed) as refusal:
        source.read(slot)
    assert refusal.value.status is Status.ENDED
    source.close()
    with pytest.raises(SourceFailed) as refusal:
        source.read(slot)
    assert refusal.value.status is Status.GONE


def test_who_asks_soon_waits_for_the_next_frame(tmp_path: Path) -> None:
    source = SceneSource(str(write(tmp_path, small(seconds=5.0))))
    slot = np.zeros(240 * 320 * 3, np.uint8)
    source.open()
    started = time.monotonic()
    numbers = [source.read(slot).sequence for _ in range(6)]
    assert time.monotonic() - started > 4.5 / 30
    assert len(set(numbers)) == 6
    assert numbers == sorted(numbers)


def test_a_scene_that_cannot_be_opened(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    for file, status in ((tmp_path / "absent.json", Status.ABSENT), (bad, Status.UNSUITABLE)):
        with pytest.raises(SourceFailed) as refusal:
            SceneSource(str(file)).open()
        assert refusal.value.status is status
