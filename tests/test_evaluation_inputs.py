"""What an evaluation reads: folders, exclusions, pairs, groups; whatever is wrong is said with its place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from edgeagent.evaluation.dataset import Dataset, EvaluationError, Picture, open_dataset, read_exclusions
from edgeagent.evaluation.evaluate import Order, check_order, evaluate
from edgeagent.evaluation.extract import Seen
from edgeagent.evaluation.groups import LEAST_PEOPLE, holm, read_groups
from edgeagent.evaluation.pairs import known_keys, read_pairs
from edgeagent.evaluation.report_model import Groups, Report
from tests.evaluation_people import People, extractor, report_of
from tests.real_networks import model_pack

LFW = "2\t1\np0000\t1\t2\np0000\t1\tp0001\t1\np0002\t1\t3\np0001\t2\tp0002\t2\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "list"
    file.write_text(text, encoding="utf-8")
    return file


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


# --- folders ------------------------------------------------------------------------------------------------


def test_what_is_no_picture_is_passed_over_and_said(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/.hidden.jpg", "a/notes.txt", "b/2.PNG", ".git/3.jpg", "4.jpg")
    (tmp_path / "nobody").mkdir()
    found = open_dataset(tmp_path, frozenset())
    assert [picture.name for picture in found.pictures] == ["a/1.jpg", "b/2.PNG"]
    assert found.people == 2
    said = [remark.rpartition(": ")[2] for remark in found.remarks]
    assert said == ["1 files.", "1 folders.", "1 pictures."]


@pytest.mark.parametrize("kind", ["bmp", "tif", "tiff", "pgm", "ppm"])
def test_a_kind_that_is_not_read_is_passed_over(kind: str, tmp_path: Path) -> None:
    touch(tmp_path, f"a/1.{kind}", "b/2.webp")
    found = open_dataset(tmp_path, frozenset())
    assert [picture.name for picture in found.pictures] == ["b/2.webp"]


def test_a_linked_folder_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/1.jpg")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "data" / "a")
    found = open_dataset(tmp_path / "data", frozenset())
    assert found.people == 2
    assert found.remarks == ("Symbolic links, counted as people of their own: 1 folders.",)


@pytest.mark.skipif(os.name != "posix", reason="needs file names that are bytes")
def test_people_whose_names_are_no_text_stay_apart(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"caf\xe8"):
        folder = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(folder)).mkdir()
        Path(os.fsdecode(folder + b"/1.jpg")).write_bytes(b"x")
    assert open_dataset(tmp_path, frozenset()).people == 2


def test_exclusions_by_place_or_by_name_are_listed_and_strange_ones_said(tmp_path: Path) -> None:
    touch(tmp_path / "data", "a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")
    excluded = read_exclusions(write(tmp_path, "# wrong\n\na/1.jpg\n4.jpg\nelse.jpg\n"))
    found = open_dataset(tmp_path / "data", excluded)
    assert [picture.name for picture in found.pictures] == ["a/2.jpg", "b/3.jpg"]
    assert found.excluded == ("a/1.jpg", "b/4.jpg")
    assert "'else.jpg'" in found.remarks[0]


@pytest.mark.skipif(os.name != "posix", reason="needs file names that are bytes")
def test_a_name_that_is_no_text_is_made_one(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder + b"/1.jpg")).write_bytes(b"x")
    (picture,) = open_dataset(tmp_path, frozenset()).pictures
    picture.name.encode("utf-8")
    assert picture.path.exists()


@pytest.mark.parametrize("content", [[], ["a.jpg"], ["a/readme.txt"]], ids=str)
def test_a_folder_without_pictures_of_people(tmp_path: Path, content: list[str]) -> None:
    touch(tmp_path, *content)
    with pytest.raises(EvaluationError, match="holds no picture"):
        open_dataset(tmp_path, frozenset())


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be read"):
        open_dataset(tmp_path / "none", frozenset())


# --- pairs --------------------------------------------------------------------------------------------------


def samples_and_known() -> tuple[People, frozenset[str]]:
    people = People([2, 2, 3])
    return people, known_keys([picture.name for picture in people.pictures()])


@pytest.mark.parametrize(
    ("text", "pairs", "folds"),
    [
        (LFW, [(0, 1), (0, 2), (4, 6), (3, 5)], [0, 0, 1, 1]),
        (LFW.replace("\t", " "), [(0, 1), (0, 2), (4, 6), (3, 5)], [0, 0, 1, 1]),
        (LFW.replace("2\t1\n", "1\n", 1), [(0, 1), (0, 2), (4, 6), (3, 5)], None),
        ("first,second\np0000/p0000_0001.jpg,p0001/p0001_0002.jpg\n", [(0, 3)], None),
        ("first,second\np0000/p0000_0001.png,p0000/p0000_0002\n", [(0, 1)], None),
    ],
    ids=["lfw", "spaces", "one number", "csv", "csv with other suffixes"],
)
def test_pairs(tmp_path: Path, text: str, pairs: list[tuple[int, int]], folds: list[int] | None) -> None:
    people, known = samples_and_known()
    found = read_pairs(write(tmp_path, text), people.samples(), known)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == pairs
    assert (None if found.fold is None else found.fold.tolist()) == folds


def test_pairs_with_a_picture_that_gave_no_template_are_counted(tmp_path: Path) -> None:
    people, known = samples_and_known()
    found = read_pairs(write(tmp_path, LFW + "p0000\t1\t9\n"), people.samples(), known)
    assert found.left_out == 1
    assert "names 1 pictures that the dataset does not hold" in found.protocol


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a b c\n", 1),
        ("x\n", 1),
        ("1\np0000 1\n", 2),
        ("1\np0000 1 2\np0000 x 2\n", 3),
        ("1\np0000 1 p0001 y\n", 2),
        ("1\np0000 1 2 3 4\n", 2),
        ("1\np0000 1 99999999999999999999\n", 2),
        ("first,second\nonly\n", 2),
    ],
)
def test_malformed_pairs_name_their_line(tmp_path: Path, text: str, line: int) -> None:
    people, known = samples_and_known()
    with pytest.raises(EvaluationError, match=f"line {line}: is not a pair"):
        read_pairs(write(tmp_path, text), people.samples(), known)


@pytest.mark.parametrize("text", ["1\nstranger 1 2\n", "1\n", "# nothing\n"])
def test_pairs_of_another_dataset(tmp_path: Path, text: str) -> None:
    people, known = samples_and_known()
    with pytest.raises(EvaluationError, match="names no pair"):
        read_pairs(write(tmp_path, text), people.samples(), known)


def test_pairs_of_a_list_are_those_compared(tmp_path: Path) -> None:
    lines = [f"p{n:04d}\t1\t2\np{n:04d}\t1\tp{n + 1:04d}\t2\n" for n in range(40)]
    report = report_of(People([2] * 50 + [1] * 60), pairs=write(tmp_path, "1\n" + "".join(lines)))
    assert report.verification is not None
    assert (report.verification.mated, report.verification.nonmated) == (40, 40)


@pytest.mark.parametrize(
    ("text", "gallery", "says"),
    [
        (None, 49, "order at most 48"),
        (None, 0, ""),
        ("first,second\nonly\n", None, "line 2: is not a pair"),
        ("1\nstranger 1 2\n", None, "names no pair of pictures"),
        (LFW, 48, ""),
    ],
)
def test_what_no_picture_can_mend_is_refused_before_any_is_looked_at(
    text: str | None, gallery: int | None, says: str, tmp_path: Path
) -> None:
    pictures = Dataset(People([3] * 49).pictures(), (), ())
    order = Order(gallery, write(tmp_path, text) if text else None, {}, 0, "0", "2026-03-01T12:00:00Z")
    if not says:
        check_order(pictures, order)
        return
    with pytest.raises(EvaluationError, match=says):
        check_order(pictures, order)


# --- copies -------------------------------------------------------------------------------------------------


def copied(people: People, copies: dict[int, int]) -> Report:
    """Pictures of which some are, octet by octet, another one."""
    extracted, pictures = people.extracted(), people.pictures()
    for copy, original in copies.items():
        extracted.templates[copy] = extracted.templates[original]
        extracted.seen[pictures[copy].name] = extracted.seen[pictures[original].name]
    order = Order(None, None, {}, 0, "0", "2026-03-01T12:00:00Z")
    return evaluate(Dataset(pictures, (), ()), extracted, extractor(), model_pack(), order)


def test_a_copy_of_a_persons_picture_does_not_find_itself() -> None:
    report = copied(People([2] * 60), {2 * person + 1: 2 * person for person in range(20)})
    assert (report.dataset.used, report.dataset.people_with_pairs) == (100, 40)
    assert report.failure_to_acquire.tried == 100
    assert "Copies of another file of the same person: 20, first 'p0000/p0000_0002.jpg'." in report.left_out
    assert report.label_errors.same_face_two_names == ()


def test_one_file_under_two_names_is_a_suspected_label_error() -> None:
    report = copied(People([2] * 60), {2: 0})
    assert report.dataset.used == 120
    assert any("more than one person: 1;" in line for line in report.left_out)
    first = report.label_errors.same_face_two_names[0]
    assert (first.first, first.second) == ("p0000/p0000_0001.jpg", "p0001/p0001_0001.jpg")


# --- groups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "row 1: is not the header"),
        ("who,what\na,b\n", "row 1: is not the header"),
        ("person,group\na\n", "row 2: is not a person"),
        ("person,group\na,\n", "row 2: is not a person"),
        ("person,group\na," + "x" * 81 + "\n", "row 2: is not a person"),
        ("person,group\na,b\na,c\n", "row 3: gives a person a second group"),
        ("person,group\n" + "".join(f"p{n},g{n}\n" for n in range(65)), "brings more than 64 groups"),
    ],
)
def test_malformed_groups(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(EvaluationError, match="is empty" if not text else where):
        read_groups(write(tmp_path, text))


def test_groups_are_read(tmp_path: Path) -> None:
    text = 'person,group\n# ours\n"Smith, A", group one\nb,group two\nb,group two\n'
    assert read_groups(write(tmp_path, text)) == {"Smith, A": "group one", "b": "group two"}


def test_holm_by_hand() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert {name: round(value, 6) for name, value in corrected.items()} == {
        "d": 0.02,
        "a": 0.03,
        "c": 0.06,
        "b": 0.06,
    }
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}


def labels(*groups: tuple[str, int]) -> dict[str, str]:
    names = [name for name, count in groups for _ in range(count)]
    return {f"p{number:04d}": name for number, name in enumerate(names)}


def test_a_group_that_is_missed_more_often_is_found() -> None:
    people = People([3] * 140, noise=[0.15] * 70 + [0.6] * 70)
    groups = report_of(people, groups=labels(("clear", 70), ("hazy", 70))).groups
    assert groups is not None
    clear, hazy = groups.groups
    assert clear.fnmr is not None
    assert hazy.fnmr is not None
    assert clear.fnmr.ci95[1] < hazy.fnmr.ci95[0]
    tests = {test.rate: test for test in groups.tests}
    assert tests["fnmr"].significant
    assert tests["tpir"].significant
    assert tests["fnmr"].p_holm >= tests["fnmr"].p_value


def lost(people: People, of: range, pictures: int, tested: dict[str, str]) -> Groups:
    """Groups of an evaluation in which so many more pictures of some people gave no template."""
    extracted, found = people.extracted(), list(people.pictures())
    for person in of:
        for number in range(pictures):
            name = f"p{person:04d}/z{number}.jpg"
            found.append(Picture(f"p{person:04d}", name, Path("nowhere") / name))
            digest = hashlib.sha256(name.encode()).hexdigest()
            extracted.seen[name] = Seen(digest, "no face", "no face was found")
    order = Order(None, None, tested, 0, "0", "2026-03-01T12:00:00Z")
    groups = evaluate(Dataset(tuple(found), (), ()), extracted, extractor(), model_pack(), order).groups
    assert groups is not None
    return groups


def test_a_group_whose_faces_are_not_seen_is_found() -> None:
    """R28: who is never compared is in no other rate."""
    groups = lost(People([2] * 100), range(50, 100), 3, labels(("a", 50), ("b", 50)))
    significant = [test.rate for test in groups.tests if test.significant]
    assert significant == ["failure_to_acquire"]
    rates = [group.failure_to_acquire for group in groups.groups]
    assert [(rate.events, rate.trials, rate.units) for rate in rates if rate] == [
        (0, 100, 50),
        (150, 250, 50),
    ]


def test_a_group_of_whom_hardly_a_face_is_seen_is_found_though_too_few_are_left() -> None:
    groups = lost(People([2] * 80), range(70, 130), 2, labels(("a", 70), ("b", 60)))
    assert [(group.label, group.enough) for group in groups.groups] == [("a", True), ("b", False)]
    (test,) = groups.tests
    assert (test.rate, test.groups, test.significant) == ("failure_to_acquire", ("a", "b"), True)


def test_a_rate_that_was_measured_in_one_group_only_is_no_test() -> None:
    """Nobody of the second group has a picture to be listed with and another one to be found by."""
    report = report_of(People([2] * 100 + [1] * 100), groups=labels(("a", 100), ("b", 100)))
    assert report.groups is not None
    tests = report.groups.tests
    assert [test.rate for test in tests] == ["failure_to_acquire", "fmr"]
    least = min(tests, key=lambda test: test.p_value)
    assert least.p_holm == pytest.approx(min(1.0, len(tests) * least.p_value))


def test_labels_without_a_meaning_differ_as_seldom_as_chance_has_it() -> None:
    significant = 0
    for seed in range(10):
        names = np.random.default_rng(seed).permutation(["a"] * 40 + ["b"] * 40)
        given = {f"p{number:04d}": str(name) for number, name in enumerate(names)}
        groups = report_of(People([2] * 80, noise=0.5, seed=5), groups=given).groups
        assert groups is not None
        significant += any(test.significant for test in groups.tests)
    assert significant <= 3


def test_small_and_empty_groups_are_said_and_not_compared() -> None:
    people = People([2] * 80 + [1] * 40)
    given = labels(("large", 40), ("small", LEAST_PEOPLE - 1)) | {"nobody here": "empty"}
    report = report_of(people, groups=given)
    assert report.groups is not None
    assert [(group.label, group.people, group.enough) for group in report.groups.groups] == [
        ("large", 40, True),
        ("small", LEAST_PEOPLE - 1, False),
    ]
    assert report.groups.tests == ()
    assert report.groups.unlabelled == 120 - 40 - LEAST_PEOPLE + 1
    assert any("too small to be compared" in text and "small" in text for text in report.left_out)
    assert "Groups with nobody in the dataset: empty." in report.left_out


@pytest.mark.parametrize("given", [{}, {"nobody": "here"}], ids=["no labels", "labels of others"])
def test_without_labels_nothing_is_said_of_groups(given: dict[str, str]) -> None:
    report = report_of(People([2] * 80 + [1] * 40), groups=given)
    assert report.groups is None
    assert any(text.startswith("Groups:") for text in report.left_out)


def test_a_rate_of_a_group_follows_from_its_people_alone() -> None:
    """Counted by hand from the pairs: false non-matches of 40 people with three pictures each."""
    people = People([3] * 100, noise=0.45)
    report = report_of(people, groups=labels(("a", 40), ("b", 60)))
    assert report.groups is not None
    group = report.groups.groups[0]
    templates = people.templates()[:120].astype(np.float64).reshape(40, 3, -1)
    scores = [[face[i] @ face[j] for i, j in ((0, 1), (0, 2), (1, 2))] for face in templates]
    assert group.fnmr is not None
    assert group.fnmr.trials == 120
    assert group.fnmr.events == int((np.array(scores) < report.groups.threshold).sum())
    assert group.fmr is not None
    assert group.fmr.trials == (120 * 119 - 40 * 6) // 2
    assert group.fmr.units == 40 * 39 // 2
