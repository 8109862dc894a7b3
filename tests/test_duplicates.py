"""One face under two names refuses the list, and a build that was interrupted goes on where it was."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.controlroom import workshop
from edgeagent.controlroom.duplicates import BLOCK, DUPLICATE_COSINE, find_duplicates
from edgeagent.controlroom.enrolment_csv import Row
from edgeagent.controlroom.work_file import KEY_BYTES, SUM_BYTES, WorkFile
from edgeagent.controlroom.workshop import Enrolled, Work, enrol
from edgeagent.demo.scene import ASSETS, ENROLLED, SUBJECT, WALKERS
from edgeagent.errors import EnrolmentError
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.watchlist import Entry
from edgeagent.vision.quality import Limits
from edgeagent.vision.types import Float32Array
from tests.desk import entry, templates
from tests.real_networks import Eyes, eyes, model_pack, portrait

DIMENSION = 16
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


def row(number: int, image: str, person: str = "") -> Row:
    return Row(
        entry=f"e{number}",
        person=person or f"p{number}",
        image=image,
        category=Category.TEST_SUBJECT,
        image_basis=ImageBasis.CONSENTED,
        image_taken_on=date(2012, 12, 6),
        image_reference="public-domain portrait",
        date_of_birth=date(1961, 8, 4),
        lawful_retention="yes",
        under_18_rationale="",
    )


@pytest.fixture(scope="module")
def networks() -> Eyes:
    return eyes()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs of one person and one of another, before plain grey."""
    folder = tmp_path_factory.mktemp("images")
    for name, file in (
        ("one.png", ENROLLED),
        ("same.png", ASSETS / WALKERS[SUBJECT]),
        ("other.png", ASSETS / WALKERS["passer-by-2"]),
    ):
        assert cv2.imwrite(str(folder / name), portrait(file))
    (folder / "nobody.png").write_bytes(b"not a picture")
    return folder


def build(rows: list[Row], images: Path, networks: Eyes, work: Work | None = None) -> Enrolled:
    today = date(2026, 1, 1)
    seeing = networks.detector, networks.embedder
    return enrol(rows, images, *seeing, limits=Limits(), today=today, on_row=lambda: None, work=work)


# --- one face under two names -------------------------------------------------------------------------------


def test_one_face_under_two_names_is_refused_and_both_are_named(images: Path, networks: Eyes) -> None:
    rows = [row(1, "one.png"), row(2, "other.png"), row(3, "same.png")]
    (refusal,) = build(rows, images, networks).refusals
    assert refusal.entry == "e3"
    assert "face of entry e1, another person" in refusal.reason
    assert f"limit {DUPLICATE_COSINE:.2f}" in refusal.reason
    assert "[R7] — " in refusal.reason


def test_two_images_of_one_person_are_welcome(images: Path, networks: Eyes) -> None:
    enrolled = build([row(1, "one.png", "p"), row(2, "same.png", "p")], images, networks)
    assert enrolled.refusals == ()
    assert len(enrolled.entries) == 2


def _slow(entries: tuple[Entry, ...], rows: Float32Array) -> set[str]:
    """The same, pair by pair: entries with an earlier one of another person too near."""
    return {
        entries[j].entry
        for j in range(len(entries))
        for i in range(j)
        if entries[i].person != entries[j].person and float(rows[i] @ rows[j]) >= DUPLICATE_COSINE
    }


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.integers(2, BLOCK + 40), st.integers(1, 40))
def test_blocks_find_what_pairs_find(seed: int, count: int, persons: int) -> None:
    rng = np.random.default_rng(seed)
    rows = templates(count, dimension=4, seed=seed)  # so few dimensions that many are alike
    entries = tuple(entry(n, person=f"p{rng.integers(persons)}") for n in range(count))
    found = find_duplicates(entries, rows)
    assert {pair.second for pair in found} == _slow(entries, rows)
    number = {one.entry: n for n, one in enumerate(entries)}
    for pair in found:
        first, second = number[pair.first], number[pair.second]
        assert first < second
        assert entries[first].person != entries[second].person
        assert float(rows[first] @ rows[second]) == pytest.approx(pair.cosine, abs=1e-5)


def test_exactly_at_the_limit_is_refused() -> None:
    rows = np.array([[1, 0], [DUPLICATE_COSINE, np.sqrt(1 - DUPLICATE_COSINE**2)]], np.float32)
    exact = float(rows[0] @ rows[1])
    assert len(find_duplicates((entry(1), entry(2)), rows)) == int(exact >= DUPLICATE_COSINE)
    assert find_duplicates((entry(1),), rows[:1]) == ()
    assert find_duplicates((), rows[:0]) == ()


# --- the work file ------------------------------------------------------------------------------------------


def _vector(number: float) -> Float32Array:
    return np.full(DIMENSION, number, np.float32)


def _holds(file: WorkFile, key: bytes) -> float | None:
    out = np.zeros(DIMENSION, np.float32)
    return float(out[0]) if file.get(key, out) else None


def test_what_was_put_is_there_after_a_restart_and_private(tmp_path: Path) -> None:
    path = tmp_path / "list.work"
    with WorkFile(path, DIMENSION) as file:
        for n in range(3):
            file.put(bytes([n]) * KEY_BYTES, _vector(n))
    assert path.stat().st_mode & 0o777 == 0o600
    with WorkFile(path, DIMENSION) as file:
        assert len(file) == 3
        assert [_holds(file, bytes([n]) * KEY_BYTES) for n in range(4)] == [0.0, 1.0, 2.0, None]


@given(st.lists(KEYS, max_size=6, unique=True), st.data())
def test_a_torn_or_spoilt_record_is_thrown_away_and_the_earlier_ones_stay(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("work") / "list.work"
    with WorkFile(path, DIMENSION) as file:
        for number, key in enumerate(keys):
            file.put(key, _vector(number))
    whole = path.read_bytes()
    record = KEY_BYTES + 4 * DIMENSION + SUM_BYTES
    header = len(whole) - record * len(keys)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    left = max(0, (cut - header) // record)
    with WorkFile(path, DIMENSION) as file:
        assert len(file) == left
        assert [_holds(file, key) for key in keys[:left]] == list(range(left))
        file.put(b"k" * KEY_BYTES, _vector(9))
    with WorkFile(path, DIMENSION) as file:
        assert _holds(file, b"k" * KEY_BYTES) == 9


def test_an_altered_record_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "list.work"
    with WorkFile(path, DIMENSION) as file:
        file.put(b"a" * KEY_BYTES, _vector(1))
        file.put(b"b" * KEY_BYTES, _vector(2))
    octets = bytearray(path.read_bytes())
    octets[-SUM_BYTES - 1] ^= 1
    path.write_bytes(octets)
    with WorkFile(path, DIMENSION) as file:
        assert (_holds(file, b"a" * KEY_BYTES), _holds(file, b"b" * KEY_BYTES)) == (1, None)


def test_another_models_work_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "list.work"
    with WorkFile(path, DIMENSION) as file:
        file.put(b"a" * KEY_BYTES, _vector(1))
    shadow = tmp_path / "shadow"
    shadow.hardlink_to(path)
    with WorkFile(path, 2 * DIMENSION) as file:
        assert len(file) == 0
    assert _vector(1).tobytes() not in shadow.read_bytes()


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.work"
    path.write_bytes(b"somebody's notes")
    path.chmod(0o600)
    with pytest.raises(EnrolmentError, match="is not a work file"):
        WorkFile(path, DIMENSION)
    assert path.read_bytes() == b"somebody's notes"
    path.chmod(0o644)
    with pytest.raises(EnrolmentError, match="can be read by others"):
        WorkFile(path, DIMENSION)
    link = tmp_path / "link.work"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        WorkFile(link, DIMENSION)


def test_two_builds_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        WorkFile(tmp_path / "list.work", DIMENSION),
        pytest.raises(EnrolmentError, match="in use by another build"),
    ):
        WorkFile(tmp_path / "list.work", DIMENSION)


def test_it_is_overwritten_before_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "list.work"
    with WorkFile(path, DIMENSION) as file:
        file.put(b"a" * KEY_BYTES, _vector(1))
        os.link(path, tmp_path / "shadow")
        file.destroy()
    assert not path.exists()
    assert not any((tmp_path / "shadow").read_bytes())


# --- going on -----------------------------------------------------------------------------------------------


class _PowerCutError(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_build_goes_on_and_ends_the_same(
    images: Path, networks: Eyes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(1, "one.png", "p"), row(2, "nobody.png"), row(3, "other.png"), row(4, "same.png", "p")]
    straight = build(rows, images, networks)
    looked: list[str] = []
    real = workshop._enrol_image

    def watched(path: Path, *rest: object) -> None:
        looked.append(path.name)
        if len(looked) == 3:
            raise _PowerCutError
        real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(workshop, "_enrol_image", watched)
    for _ in range(2):
        with WorkFile(tmp_path / "w", networks.embedder.dimensions) as file:
            work = Work(file, model_pack().sha256)
            try:
                resumed = build(rows, images, networks, work)
            except _PowerCutError:
                continue
    assert looked == ["one.png", "nobody.png", "other.png", "nobody.png", "other.png", "same.png"]
    assert resumed.entries == straight.entries
    assert resumed.templates.tobytes() == straight.templates.tobytes()
    assert [refusal.entry for refusal in resumed.refusals] == ["e2"]


@pytest.mark.parametrize("change", ["image", "row", "model pack", "limits"])
def test_whatever_changed_is_done_again(change: str, images: Path, networks: Eyes, tmp_path: Path) -> None:
    one = row(1, "one.png")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "one.png").write_bytes((images / "one.png").read_bytes())
    with WorkFile(tmp_path / "w", networks.embedder.dimensions) as file:
        before = Work(file, "aa" * 32).key(one, folder / "one.png", Limits())
        assert Work(file, "aa" * 32).key(one, folder / "one.png", Limits()) == before
        if change == "image":
            (folder / "one.png").write_bytes((images / "other.png").read_bytes())
        other = one.model_copy(update={"person": "q"}) if change == "row" else one
        limits = Limits(contrast=13.0) if change == "limits" else Limits()
        pack = "bb" * 32 if change == "model pack" else "aa" * 32
        assert Work(file, pack).key(other, folder / "one.png", limits) != before


def test_an_interrupted_build_leaves_no_template_in_memory(
    images: Path, networks: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Float32Array] = []
    real = workshop._enrol_image

    def watched(path: Path, *rest: object) -> None:
        if held:
            assert held[0].any()
            raise KeyboardInterrupt
        real(path, *rest)  # type: ignore[arg-type]
        held.append(rest[-1])  # type: ignore[arg-type]

    monkeypatch.setattr(workshop, "_enrol_image", watched)
    with pytest.raises(KeyboardInterrupt):
        build([row(1, "one.png"), row(2, "other.png")], images, networks)
    assert not held[0].any()
