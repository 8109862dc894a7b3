"""Building a watchlist: every image and every value that is not as it must be is refused by name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.capture.street import draw_street
from edgeagent.controlroom import workshop
from edgeagent.controlroom.enrolment_csv import Row, read_rows
from edgeagent.controlroom.workshop import Enrolled, enrol
from edgeagent.demo.scene import ASSETS, ENROLLED, SUBJECT, WALKERS
from edgeagent.errors import EdgeAgentError, EnrolmentError
from edgeagent.system.pictures import read_picture
from edgeagent.vision.align import align
from edgeagent.vision.quality import Limits
from edgeagent.vision.types import Chip, Face, Frame, UInt8Image
from tests.real_networks import Eyes, eyes, portrait

TODAY = date(2026, 3, 1)
COLUMNS = tuple(Row.model_fields)
GOOD = {
    "entry": "blue-0001",
    "person": "blue-0001",
    "image": "subject.jpg",
    "category": "test_subject",
    "image_basis": "consented",
    "image_taken_on": "2012-12-06",
    "image_reference": "portrait 7",
    "date_of_birth": "1961-08-04",
    "lawful_retention": "yes",
    "under_18_rationale": "",
}
RISK = "Missing from home since Monday; believed to be held by adults who harm children."


def write_csv(
    folder: Path, rows: Iterable[Mapping[str, str]], columns: Iterable[str] = COLUMNS, name: str = "list.csv"
) -> Path:
    """A CSV of good rows with the given changes."""
    file = folder / name
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns), extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**GOOD, **changes} for changes in rows)
    return file


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, good and bad, by name."""
    folder = tmp_path_factory.mktemp("images")
    good = portrait(ENROLLED)
    other = portrait(ASSETS / WALKERS["passer-by-2"])
    height = min(len(good), len(other))
    pictures: dict[str, UInt8Image] = {
        "subject.jpg": good,
        "walking.png": portrait(ASSETS / WALKERS[SUBJECT]),
        "other.png": other,
        "nobody.png": draw_street(640, 480, 1),
        "two.jpg": np.ascontiguousarray(np.hstack([good[:height], other[:height]])),
        "blurred.jpg": np.asarray(cv2.GaussianBlur(good, (0, 0), good.shape[1] / 30), np.uint8),
        "small.png": np.asarray(cv2.resize(good, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)),
        "dark.png": (good * 0.1).astype(np.uint8),
        "dot.png": np.full((1, 1, 3), 9, np.uint8),
    }
    for name, pixels in pictures.items():
        assert cv2.imwrite(str(folder / name), pixels)
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "half.jpg").write_bytes((folder / "subject.jpg").read_bytes()[:200])
    (folder / "folder.jpg").mkdir()
    return folder


def build(rows: list[Row], images: Path, networks: Eyes) -> Enrolled:
    return enrol(
        rows, images, networks.detector, networks.embedder, limits=Limits(), today=TODAY, on_row=lambda: None
    )


def row(**changes: str) -> Row:
    return Row.model_validate_strings({**GOOD, **changes})


# --- a good list --------------------------------------------------------------------------------------


def test_a_good_list_of_two(images: Path, networks: Eyes, tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}, {"entry": "blue-0002", "person": "blue-0002", "image": "other.png"}])
    done: list[int] = []
    rows = read_rows(file)
    enrolled = enrol(
        rows,
        images,
        networks.detector,
        networks.embedder,
        limits=Limits(),
        today=TODAY,
        on_row=lambda: done.append(1),
    )
    assert enrolled.refusals == ()
    assert [entry.entry for entry in enrolled.entries] == ["blue-0001", "blue-0002"]
    assert not any(entry.under_18 for entry in enrolled.entries)
    assert np.linalg.norm(enrolled.templates, axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert len(done) == 2
    probe = networks.only_template(portrait(images / "walking.png"))  # another photograph of the first
    near, far = enrolled.templates @ probe
    assert near > 0.6
    assert far < 0.3


def test_an_entry_holds_no_birth_date_and_no_reference() -> None:
    entry = row().to_entry(TODAY)
    assert set(type(entry).model_fields) == {
        "entry",
        "person",
        "category",
        "image_basis",
        "image_taken_on",
        "under_18",
    }


def test_one_defect_is_told_and_the_others_are_still_looked_at(images: Path, networks: Eyes) -> None:
    """All defects of a list are told at once; the command then refuses the whole list (R7)."""
    named = ["nobody.png", "subject.jpg", "two.jpg", "other.png"]
    enrolled = build([row(entry=f"e{n}", image=image) for n, image in enumerate(named)], images, networks)
    assert [entry.entry for entry in enrolled.entries] == ["e1", "e3"]
    assert [refusal.entry for refusal in enrolled.refusals] == ["e0", "e2"]
    assert np.linalg.norm(enrolled.templates, axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert enrolled.templates[1] @ networks.only_template(portrait(images / "other.png")) > 0.99


# --- images -------------------------------------------------------------------------------------------

IMAGES = {
    "nobody.png": "shows no face",
    "two.jpg": "shows more than one person",
    "blurred.jpg": "blurred",
    "small.png": "face too small",
    "dark.png": "too dark",
    "dot.png": "shows no face",
    "text.jpg": "is not a picture that can be read",
    "half.jpg": "is not a picture that can be read",
    "empty.jpg": "is empty",
    "folder.jpg": "cannot be read: Is a directory",
    "absent.jpg": "cannot be read: No such file",
    "..": "cannot be read: Is a directory",
}


@pytest.mark.parametrize(("image", "says"), IMAGES.items())
def test_an_image_that_cannot_be_enrolled(image: str, says: str, images: Path, networks: Eyes) -> None:
    enrolled = build([row(image=image)], images, networks)
    assert enrolled.entries == ()
    assert enrolled.templates.shape == (0, networks.embedder.dimensions)
    (refusal,) = enrolled.refusals
    assert refusal.entry == "blue-0001"
    assert says in refusal.reason
    assert str(images / image) in refusal.reason
    assert " — " in refusal.reason  # what to do about it


def test_a_small_face_far_behind_is_no_second_person(networks: Eyes, tmp_path: Path) -> None:
    good = portrait(ENROLLED)
    scale = 0.2
    behind = np.asarray(cv2.resize(portrait(ASSETS / WALKERS["passer-by-2"]), None, fx=scale, fy=scale))
    both = np.full((len(good), good.shape[1] + 300, 3), 150, np.uint8)
    both[:, : good.shape[1]] = good
    both[20 : 20 + len(behind), -200 : -200 + behind.shape[1]] = behind
    assert len(networks.faces(both)) == 2
    cv2.imwrite(str(tmp_path / "both.png"), both)
    enrolled = build([row(image="both.png")], tmp_path, networks)
    assert enrolled.refusals == ()
    assert enrolled.templates[0] @ networks.only_template(good) > 0.9


@pytest.mark.parametrize("image", ["subject.jpg", "blurred.jpg", "two.jpg"])
def test_no_picture_stays_in_memory(
    image: str, images: Path, networks: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1 at the desk: pixels and chip are overwritten, whether the image was taken or refused."""
    held: list[UInt8Image] = []
    read = read_picture

    def watched_read(path: Path, error: type[EdgeAgentError]) -> UInt8Image:
        pixels = read(path, error)
        held.append(pixels)
        return pixels

    def watched_align(frame: Frame, face: Face) -> Chip:
        chip = align(frame, face)
        held.append(chip.pixels)
        return chip

    monkeypatch.setattr(workshop, "read_picture", watched_read)
    monkeypatch.setattr(workshop, "align", watched_align)
    build([row(image=image)], images, networks)
    assert held
    assert not any(pixels.any() for pixels in held)


# --- columns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_mandatory(column: str, tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}], [name for name in COLUMNS if name != column])
    with pytest.raises(EnrolmentError, match=f"columns missing: {column}; unknown: none") as refusal:
        read_rows(file)
    assert refusal.value.rule == "R7"
    assert refusal.value.where == str(file)
    assert column in refusal.value.next_step


@pytest.mark.parametrize("column", ["name", "ethnicity", "notes", "Entry", " entry"])
def test_no_other_column_is_taken(column: str, tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}], [*COLUMNS, column])
    with pytest.raises(EnrolmentError, match=f"unknown: {column}"):
        read_rows(file)


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}], [*COLUMNS, "entry"])
    with pytest.raises(EnrolmentError, match="columns missing: none"):
        read_rows(file)


# --- values -------------------------------------------------------------------------------------------

BAD = [
    ("entry", ""),
    ("entry", "blue 1"),
    ("entry", "../1"),
    ("entry", "-1"),
    ("entry", "e" * 65),
    ("person", ""),
    ("person", "John Smith"),
    ("image", ""),
    ("image", "../other/subject.jpg"),
    ("image", "/etc/passwd"),
    ("image", "folder/subject.jpg"),
    ("image", "folder\\subject.jpg"),
    ("image", "x" * 201),
    ("category", ""),
    ("category", "looks suspicious"),
    ("category", "TEST_SUBJECT"),
    ("category", "protester"),
    ("image_basis", ""),
    ("image_basis", "unknown"),
    ("image_basis", "custody_not_convicted"),
    ("image_basis", "social media"),
    ("image_taken_on", ""),
    ("image_taken_on", "recently"),
    ("image_taken_on", "06/12/2012"),
    ("image_taken_on", "2012-02-30"),
    ("image_taken_on", "1066-10-14"),
    ("image_reference", ""),
    ("image_reference", "ab"),
    ("image_reference", "x" * 201),
    ("date_of_birth", ""),
    ("date_of_birth", "unknown"),
    ("date_of_birth", "1899-12-31"),
    ("lawful_retention", ""),
    ("lawful_retention", "no"),
    ("lawful_retention", "Yes"),
    ("lawful_retention", "true"),
    ("under_18_rationale", "x" * 2001),
]


@pytest.mark.parametrize(("column", "held"), BAD)
def test_a_bad_value_is_refused_by_line_and_column(column: str, held: str, tmp_path: Path) -> None:
    """In the third line of the file: the heading and one good row stand before it."""
    file = write_csv(tmp_path, [{"entry": "blue-0000"}, {column: held}])
    with pytest.raises(EnrolmentError) as refusal:
        read_rows(file)
    assert refusal.value.where == f"{file} line 3 column {column}"
    assert refusal.value.rule == "R7"
    assert refusal.value.next_step


def test_a_refusal_does_not_repeat_the_value(tmp_path: Path) -> None:
    """It is somebody's date of birth, and the text may be logged."""
    file = write_csv(tmp_path, [{"date_of_birth": "04.08.1961"}])
    with pytest.raises(EnrolmentError) as refusal:
        read_rows(file)
    assert "04.08.1961" not in str(refusal.value)


def test_an_image_older_than_its_person_is_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{"image_taken_on": "1961-08-03"}])
    with pytest.raises(EnrolmentError, match="image_taken_on is before date_of_birth") as refusal:
        read_rows(file)
    assert "line 2" in refusal.value.where


def test_an_entry_that_comes_twice_is_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{"entry": "a1"}, {"entry": "b2"}, {"entry": "b2"}])
    with pytest.raises(EnrolmentError, match="lists entry b2 2 times") as refusal:
        read_rows(file)
    assert refusal.value.rule == "R7"


@pytest.mark.parametrize("line", ["a,b,c", ",".join([*GOOD.values(), "more"]), '"open'])
def test_a_line_of_another_length_is_refused(line: str, tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(EnrolmentError) as refusal:
        read_rows(file)
    assert refusal.value.rule == "R7"


def test_files_that_are_no_list(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    with pytest.raises(EnrolmentError, match="cannot be read"):
        read_rows(file)
    file.write_bytes(b"\xff\xfe\x00entry")
    with pytest.raises(EnrolmentError, match="is not a CSV in UTF-8"):
        read_rows(file)
    with pytest.raises(EnrolmentError, match="has no rows"):
        read_rows(write_csv(tmp_path, []))


def test_a_spreadsheet_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    file = write_csv(tmp_path, [{}])
    file.write_text("\ufeff" + file.read_text() + "\n\n", encoding="utf-8")
    assert len(read_rows(file)) == 1


@given(st.text(max_size=300))
def test_no_text_gets_further_than_a_named_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text(",".join(COLUMNS) + "\n" + text, encoding="utf-8", errors="replace")
    with pytest.raises(EnrolmentError):
        read_rows(file)


# --- days ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"image_taken_on": "2026-03-02"},
        {"image_taken_on": "2027-01-01", "date_of_birth": "2026-12-31"},
    ],
)
def test_a_day_in_the_future_is_refused(changes: dict[str, str], images: Path, networks: Eyes) -> None:
    with pytest.raises(EnrolmentError, match="date in the future") as refusal:
        row(**changes).to_entry(TODAY)
    assert (refusal.value.rule, refusal.value.where) == ("R7", "blue-0001")
    assert build([row(**changes)], images, networks).entries == ()


YOUNG = {"date_of_birth": "2008-03-02", "image_taken_on": "2025-01-01"}  # 17 until tomorrow


def test_under_18_only_with_a_recorded_rationale() -> None:
    """R10."""
    for rationale in ("", "at risk", "x" * 39):
        with pytest.raises(EnrolmentError, match="under 18") as refusal:
            row(**YOUNG, under_18_rationale=rationale).to_entry(TODAY)
        assert refusal.value.rule == "R10"
    assert row(**YOUNG, under_18_rationale=RISK).to_entry(TODAY).under_18
    assert not row(**YOUNG).to_entry(date(2026, 3, 2)).under_18
