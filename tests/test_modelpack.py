"""The model pack: whole, unaltered, and of stated origin, or it is not loaded."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeagent.errors import ModelError
from edgeagent.system.modelpack import MANIFEST, MANIFEST_LIMIT, SCENES, default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of

FILES = ("detector-near.tflite", "detector-far.tflite", "embedder.tflite", "golden.png")
LICENCES = re.compile(r"\b(MIT|Apache-2\.0|CC0-1\.0|BSD-3-Clause)\b")
RESTRICTED = re.compile(r"research|non-?commercial|insightface|CC-BY-NC", re.IGNORECASE)
Said = dict[str, Any]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of the installed pack that a test may spoil."""
    return Path(shutil.copytree(default_pack_folder(), tmp_path / "models"))


def edit(pack: Path, change: Callable[[Said], None]) -> None:
    said = json.loads((pack / MANIFEST).read_bytes())
    change(said)
    (pack / MANIFEST).write_text(json.dumps(said))


def refusal_of(pack: Path) -> ModelError:
    with pytest.raises(ModelError) as refusal:
        load_pack(pack)
    assert str(pack) in refusal.value.where
    assert refusal.value.next_step
    return refusal.value


# --- the pack that is installed -----------------------------------------------------------------------


def test_the_installed_pack_loads() -> None:
    pack = load_pack(default_pack_folder())
    content = (default_pack_folder() / MANIFEST).read_bytes()
    assert pack.sha256 == hashlib.sha256(content).hexdigest()
    assert set(pack.files) == set(FILES)
    assert all(detector_of(pack, scene) for scene in SCENES)
    assert embedder_of(pack).dimensions == 192


def test_it_is_small_enough_for_a_slow_link() -> None:
    sizes = {file.name: file.stat().st_size for file in default_pack_folder().iterdir()}
    assert set(sizes) == {MANIFEST, *FILES, "ORIGIN.md"}
    assert sum(sizes.values()) < 2.2e6


def test_a_detector_for_far_scenes_sees_more_of_the_same_frame() -> None:
    near, far = (load_pack(default_pack_folder()).model("detector", scene) for scene in SCENES)
    assert (near.width, near.height) == (640, 384)
    assert (far.width, far.height) == (960, 544)
    assert load_pack(default_pack_folder()).model("detector") == near, "near unless told otherwise"


@pytest.mark.parametrize("index", range(3))
def test_licence_and_origin_of_each_network_are_stated(index: int) -> None:
    entry = load_pack(default_pack_folder()).manifest.models[index]
    assert LICENCES.search(entry.licence)
    assert not RESTRICTED.search(entry.licence + entry.origin.project)
    assert "==" in entry.origin.package or "@" in entry.origin.package  # a version, so that it can be checked
    assert all((entry.origin.member, entry.origin.project, entry.quantisation, entry.made))
    assert entry.bytes == (default_pack_folder() / entry.file).stat().st_size


def test_a_pack_says_nothing_of_its_content_when_printed() -> None:
    assert len(repr(load_pack(default_pack_folder()))) < 20_000


# --- files that are missing, cut short or altered -----------------------------------------------------


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_missing_file_is_named(name: str, pack: Path) -> None:
    (pack / name).unlink()
    refusal = refusal_of(pack)
    assert refusal.where == str(pack / name)
    assert "cannot be read" in refusal.what


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_named(name: str, pack: Path) -> None:
    content = (pack / name).read_bytes()
    (pack / name).write_bytes(content[:-1])
    assert refusal_of(pack).what == "was altered or cut short"
    (pack / name).write_bytes(b"")
    assert refusal_of(pack).what == "is empty"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_one_altered_bit_is_enough(name: str, part: float, pack: Path) -> None:
    content = bytearray((pack / name).read_bytes())
    content[int(len(content) * part)] ^= 1
    (pack / name).write_bytes(content)
    refusal = refusal_of(pack)
    assert refusal.where == str(pack / name)
    assert refusal.what == "was altered or cut short"


def test_a_manifest_altered_in_any_way_is_another_pack(pack: Path) -> None:
    """Authority and watchlist name its hash, so a laxer manifest is refused there (R18)."""
    before = load_pack(pack).sha256
    edit(pack, lambda said: said["golden"]["detectors"]["near"].update(within_px=10.0))
    assert load_pack(pack).sha256 != before


# --- manifests that are malformed ---------------------------------------------------------------------


def drop(*keys: str | int) -> Callable[[Said], None]:
    def change(said: Any) -> None:
        for key in keys[:-1]:
            said = said[key]
        del said[keys[-1]]

    return change


def put(held: object, *keys: str | int) -> Callable[[Said], None]:
    def change(said: Any) -> None:
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = held

    return change


DETECTOR = ("golden", "detectors", "near")
MALFORMED = {
    "no format": (drop("format"), "format"),
    "an older format": (put("edgeagent-models/1", "format"), "format"),
    "no name": (put("", "name"), "name"),
    "unknown key": (put(1, "threshold"), "threshold"),
    "unknown key of a model": (put("x", "models", 0, "url"), "models.0.url"),
    "no licence": (drop("models", 0, "licence"), "models.0.licence"),
    "no origin": (drop("models", 1, "origin"), "models.1.origin"),
    "origin without a hash": (drop("models", 1, "origin", "sha256"), "models.1.origin.sha256"),
    "file elsewhere": (put("../../x.tflite", "models", 0, "file"), "models.0.file"),
    "absolute file": (put("/etc/passwd", "models", 0, "file"), "models.0.file"),
    "hash too short": (put("ab", "models", 0, "sha256"), "models.0.sha256"),
    "hash in capitals": (put("AB" * 32, "models", 0, "sha256"), "models.0.sha256"),
    "other role": (put("emotion", "models", 0, "role"), "models.0.role"),
    "other channels": (put("RGB", "models", 0, "channels"), "models.0.channels"),
    "width as text": (put("640", "models", 0, "width"), "models.0.width"),
    "no bytes": (put(0, "models", 0, "bytes"), "models.0.bytes"),
    "too many bytes": (put(2**40, "models", 0, "bytes"), "models.0.bytes"),
    "self-test switched off": (put(0.0, "golden", "least_cosine"), "golden.least_cosine"),
    "other scene": (put("night", "models", 0, "scene"), "models.0.scene"),
    "no scene": (drop("models", 0, "scene"), "models.0.scene"),
    "landmarks anywhere": (put(1e6, *DETECTOR, "within_px"), "golden.detectors.near.within_px"),
    "any answer": (put(1.0, *DETECTOR, "within"), "golden.detectors.near.within"),
    "no answer": (put([], *DETECTOR, "response"), "golden.detectors.near.response"),
    "too few landmarks": (put([[1.0, 2.0]], *DETECTOR, "landmarks"), "golden.detectors.near.landmarks"),
    "no golden": (drop("golden"), "golden"),
}


@pytest.mark.parametrize(("change", "key"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_manifest_is_refused_by_key(change: Callable[[Said], None], key: str, pack: Path) -> None:
    edit(pack, change)
    assert refusal_of(pack).where == f"{pack / MANIFEST}: {key}"


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"null", b'{"format": "edgeagent-models/2"}'])
def test_what_is_no_manifest_at_all(content: bytes, pack: Path) -> None:
    (pack / MANIFEST).write_bytes(content)
    refusal_of(pack)


def test_a_manifest_that_is_too_long_is_not_parsed(pack: Path) -> None:
    (pack / MANIFEST).write_bytes(b" " * (MANIFEST_LIMIT + 1))
    assert "is longer than" in refusal_of(pack).what


def model(index: int, **changes: object) -> Callable[[Said], None]:
    return lambda said: said["models"][index].update(changes)


ROLES: dict[str, Callable[[Said], None]] = {
    "two embedders": model(0, role="embedder"),
    "a third detector": model(2, role="detector"),
    "two for near scenes": model(1, scene="near"),
    "a detector for no scene": model(0, scene=None),
    "an embedder for a scene": model(2, scene="near"),
    "no detector for far scenes": lambda said: said["models"].pop(1),
    "an entry twice": lambda said: said["models"].append(said["models"][0]),
    "none": lambda said: said["models"].clear(),
}


@pytest.mark.parametrize("change", ROLES.values(), ids=ROLES.keys())
def test_one_detector_for_each_scene_and_one_embedder(change: Callable[[Said], None], pack: Path) -> None:
    edit(pack, change)
    refusal = refusal_of(pack)
    assert "needs one detector for each of near, far and one embedder" in refusal.what
    assert "it lists: " in refusal.what


def same_file(said: Said) -> None:
    one, two = said["models"][:2]
    two.update(file=one["file"], sha256=one["sha256"])


TOGETHER: dict[str, tuple[Callable[[Said], None], str]] = {
    "one file for two networks": (same_file, "lists the file detector-near.tflite 2 times"),
    "a network as golden picture": (
        lambda said: said["golden"].update(picture="embedder.tflite"),
        "lists the file embedder.tflite 2 times",
    ),
    "the manifest as a network": (model(2, file=MANIFEST), "lists the file manifest.json 2 times"),
    "far not larger": (model(1, width=640), "picture is not larger"),
    "far and near exchanged": (lambda said: exchange(said, "width", "height"), "picture is not larger"),
    "one detector not tested": (drop("golden", "detectors", "far"), "what the self-test must see"),
}


@pytest.mark.parametrize(("change", "says"), TOGETHER.values(), ids=TOGETHER.keys())
def test_parts_that_do_not_go_together(change: Callable[[Said], None], says: str, pack: Path) -> None:
    edit(pack, change)
    assert says in refusal_of(pack).what


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("by", [-1, 1])
def test_a_length_that_is_not_the_file_s(index: int, by: int, pack: Path) -> None:
    held = json.loads((pack / MANIFEST).read_bytes())["models"][index]
    edit(pack, model(index, bytes=held["bytes"] + by))
    refusal = refusal_of(pack)
    assert refusal.where == str(pack / held["file"])
    assert refusal.what == f"is {held['bytes']} bytes long, its manifest says {held['bytes'] + by}"


@pytest.mark.parametrize("key", ["sha256", "format", "within_px"])
def test_a_key_that_comes_twice_is_refused(key: str, pack: Path) -> None:
    """Two readers could take different ones, under one hash."""
    text = (pack / MANIFEST).read_text()
    at = text.index(f'"{key}":')
    line = text[at : text.index(",", at) + 1]
    (pack / MANIFEST).write_text(text[:at] + line + text[at:])
    assert refusal_of(pack).what == f"has the key {key!r} 2 times"


def exchange(said: Said, *keys: str) -> None:
    one, two = said["models"][:2]
    for key in keys:
        one[key], two[key] = two[key], one[key]


def swap(said: Said) -> None:
    one, _, two = said["models"]
    for key in ("file", "sha256", "bytes"):
        one[key], two[key] = two[key], one[key]


UNFIT: dict[str, Callable[[Said], None]] = {
    "exchanged networks": swap,
    "exchanged scenes": lambda said: exchange(said, "file", "sha256", "bytes"),
    "other size": lambda said: said["models"][0].update(width=320),
    "other mean": lambda said: said["models"][0].update(mean=127.0),
    "other scale": lambda said: said["models"][0].update(scale=0.5),
    "other outputs": lambda said: said["models"][0]["outputs"].update(cls_8=[1, 7, 1]),
    "renamed output": lambda said: said["models"][0].update(outputs={"face": [1, 2]}),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT.keys())
def test_a_network_that_is_not_what_the_manifest_says(change: Callable[[Said], None], pack: Path) -> None:
    edit(pack, change)
    loaded = load_pack(pack)
    with pytest.raises(ModelError) as refusal:
        detector_of(loaded)
    assert refusal.value.where == loaded.model("detector").file
    assert refusal.value.next_step
