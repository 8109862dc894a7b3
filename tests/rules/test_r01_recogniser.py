"""R1: whatever becomes of a face, its chip, template, box and landmarks are overwritten after the frame."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from edgeagent.agent.recogniser import Recogniser
from edgeagent.safeguards.decide import Hit, Policy
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.instant import SECOND
from edgeagent.vision.align import STANDARD
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.match import Gallery
from edgeagent.vision.memory import BiometricMemory, Take
from edgeagent.vision.types import Chip, Face, Frame, Template
from tests.desk import DIMENSION, templates

EYES_AND_MOUTH = np.array([[0, 0], [30, 0], [15, 18], [4, 34], [26, 34]], np.float32)


class ScriptedVision:
    """Stands where both networks stand; keeps what it is asked to make, if it is told to."""

    dimensions = DIMENSION
    layout = STANDARD

    def __init__(self, faces: int, probe: np.ndarray[Any, Any]) -> None:
        self.faces = faces
        self.probe = probe
        self.compared = self.wipes = self.scrubs = 0
        self.fails = False
        self.wiped = True
        self.kept: list[object] | None = None

    def detect(self, frame: Frame, take: Take) -> list[Face]:
        found = []
        for n in range(self.faces):
            landmarks, box = take((5, 2), np.float32), take((4,), np.float32)
            landmarks[:] = EYES_AND_MOUTH + np.float32(40) + np.array([120 * n, 0], np.float32)
            box[:] = 20 + 120 * n, 20, 70, 90
            found.append(Face(box, landmarks, 0.9))
        if self.kept is not None:
            self.kept.append(found[-1].landmarks[1])
        return found

    def embed(self, chip: Chip, out: np.ndarray[Any, Any]) -> Template:
        assert chip.pixels.any()
        self.compared += 1
        if self.fails:
            raise RuntimeError("the network failed")
        out[:] = self.probe
        return Template(out)

    def wipe(self) -> None:
        self.wipes += 1

    def scrub(self) -> None:
        self.scrubs += 1


def left(seeing: Recogniser) -> bool:
    """Whether anything is left in the memory from which every array of a face was taken."""
    return bool(seeing._memory._whole.any())


def frame(number: int) -> Frame:
    """A bright picture, so that no array is zero by chance."""
    return Frame(np.full((240, 640, 3), 200, np.uint8), number * SECOND // 10, number)


def recogniser(vision: ScriptedVision, rows: np.ndarray[Any, Any], **changes: Any) -> Recogniser:
    gallery = Gallery(rows, np.arange(len(rows)))
    policy = changes.get("policy", Policy(0.6, 0.05, 3))
    return Recogniser(
        cast(Detector, vision),
        cast(Embedder, vision),
        gallery,
        policy,
        changes.get("realert_s", 300.0),
    )


def stranger() -> np.ndarray[Any, Any]:
    row: np.ndarray[Any, Any] = templates(1, seed=99)[0]
    return row


def test_faces_of_strangers_are_overwritten_and_counted() -> None:
    vision = ScriptedVision(3, stranger())
    seeing = recogniser(vision, templates(8))
    for number in range(5):
        faces = seeing.process(frame(number), lambda *_: pytest.fail("a stranger was alerted on"))
        assert (faces.seen, faces.overwritten, faces.alerted) == (3, 3, 0)
        assert not left(seeing)
    assert vision.compared == 5 * 3
    assert vision.wipes == 10  # both networks, each frame


def test_a_hit_is_told_once_and_its_face_overwritten_afterwards() -> None:
    rows = templates(8)
    vision = ScriptedVision(1, rows[2].copy())
    seeing = recogniser(vision, rows)
    hits: list[Hit] = []

    def on_hit(hit: Hit, chip: Chip, at: Frame) -> None:
        assert chip.pixels.any(), "the chip exists while the alert is made"
        hits.append(hit)

    alerted = [seeing.process(frame(number), on_hit).alerted for number in range(6)]
    assert alerted == [0, 0, 1, 0, 0, 0]
    assert [hit.entry for hit in hits] == [2]
    assert not left(seeing)


def test_one_person_is_not_alerted_on_again_at_once() -> None:
    rows = templates(8)
    vision = ScriptedVision(1, rows[2].copy())
    seeing = recogniser(vision, rows, realert_s=1.0)
    told: list[int] = []
    for number in (0, 1, 2, 20, 21, 22, 40, 41, 42):  # tracks are forgotten in between
        seeing.process(frame(number), lambda hit, chip, at: told.append(at.sequence))
    assert told == [2, 22, 42]
    often = recogniser(ScriptedVision(1, rows[2].copy()), rows, realert_s=300.0)
    told.clear()
    for number in (0, 1, 2, 20, 21, 22, 40, 41, 42):
        often.process(frame(number), lambda hit, chip, at: told.append(at.sequence))
    assert told == [2]


def test_what_was_seen_before_the_camera_closed_does_not_count_afterwards() -> None:
    """Where somebody was, and whom they looked like, is forgotten with the camera, not a moment later."""
    rows = templates(8)
    seeing = recogniser(ScriptedVision(1, rows[2].copy()), rows)
    told: list[int] = []
    for number in (0, 1):
        seeing.process(frame(number), lambda hit, chip, at: told.append(at.sequence))
    seeing.wipe()
    for number in (2, 3, 4):
        seeing.process(frame(number), lambda hit, chip, at: told.append(at.sequence))
    assert told == [4]


@pytest.mark.parametrize("where", ["embed", "on_hit"])
def test_a_failure_leaves_no_face_behind(where: str) -> None:
    rows = templates(8)
    vision = ScriptedVision(3, rows[2].copy())
    vision.fails = where == "embed"
    seeing = recogniser(vision, rows)

    def on_hit(*_: object) -> None:
        raise RuntimeError("no alert could be made")

    def four_frames() -> None:
        for number in range(4):
            seeing.process(frame(number), on_hit)

    with pytest.raises(RuntimeError) as failure:
        four_frames()
    assert not left(seeing)
    assert vision.wipes >= 2
    held = [value for entry in failure.traceback for value in entry.frame.f_locals.values()]
    chips = [value for value in held if isinstance(value, Chip)]
    assert chips, "the traceback was meant to hold a chip"
    assert not any(chip.pixels.any() for chip in chips)
    vision.fails = False
    seeing.process(frame(9), lambda *_: None)
    assert not any(chip.pixels.any() for chip in chips), "nor shows it the next face"


def test_faces_too_small_to_compare_are_seen_and_overwritten_uncompared() -> None:
    vision = ScriptedVision(1, stranger())
    original = vision.detect

    def small(picture: Frame, take: Take) -> list[Face]:
        (face,) = original(picture, take)
        face.landmarks[:] = face.landmarks[0] + EYES_AND_MOUTH / 2.1
        return [face]

    vision.detect = small  # type: ignore[method-assign,assignment]
    seeing = recogniser(vision, templates(8))
    faces = seeing.process(frame(0), lambda *_: None)
    assert (faces.seen, faces.overwritten) == (1, 1)
    assert vision.compared == 0
    assert not left(seeing)


def test_a_face_that_somebody_keeps_is_zeros_for_ever_and_unbalances_the_ledger() -> None:
    """Kept landmarks show nobody, not even the next passer-by, and the gate locks (see the ledger's test)."""
    vision = ScriptedVision(3, stranger())
    vision.kept = []
    seeing = recogniser(vision, templates(8))
    faces = seeing.process(frame(0), lambda *_: None)
    assert (faces.seen, faces.overwritten) == (3, 0)
    kept, vision.kept = vision.kept, None
    again = seeing.process(frame(1), lambda *_: None)
    assert again.overwritten == 0, "it stays so until somebody has looked into it"
    assert not np.array(kept).any()


@pytest.mark.parametrize("where", ["networks", "memory"])
def test_faces_do_not_count_as_deleted_when_the_wipe_did_nothing(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1: the count is read back from memory, not taken from the intention."""
    vision = ScriptedVision(2, stranger())
    seeing = recogniser(vision, templates(8))
    if where == "networks":
        vision.wiped = False
    else:
        monkeypatch.setattr(BiometricMemory, "_end", lambda memory, mark: False)
    faces = seeing.process(frame(0), lambda *_: None)
    assert (faces.seen, faces.overwritten) == (2, 0)
    assert not FaceLedger().seen(faces.seen).overwritten(faces.overwritten).balanced


def test_a_rest_scrubs_the_networks_once_after_frames() -> None:
    vision = ScriptedVision(1, stranger())
    seeing = recogniser(vision, templates(8))
    seeing.rest()
    assert vision.scrubs == 0
    seeing.process(frame(0), lambda *_: None)
    seeing.rest()
    seeing.rest()
    assert vision.scrubs == 2  # one for each network
