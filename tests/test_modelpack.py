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
from edgeagent.system.modelpack import MANIFEST, MANIFEST_LIMIT, default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of

FILES = ("detector.tflite", "embedder.tflite", "golden.png")
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
    assert detector_of(pack)
    assert embedder_of(pack).dimensions == 192


def test_it_is_small_enough_for_a_slow_link() -> None:
    sizes = {file.name: file.stat().st_size for file in default_pack_folder().iterdir()}
    assert set(sizes) == {MANIFEST, *FILES, "ORIGIN.md"}
    assert sum(sizes.values()) < 2.2e6


@pytest.mark.parametrize("role", ["detector", "embedder"])
def test_licence_and_origin_of_each_network_are_stated(role: str) -> None:
    entry = load_pack(default_pack_folder()).model(role)
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
    edit(pack, lambda said: said["golden"].update(within_px=10.0))
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


MALFORMED = {
    "no format": (drop("format"), "format"),
    "another format": (put("edgeagent-models/2", "format"), "format"),
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
    "self-test that allows anything": (put(1e6, "golden", "within_px"), "golden.within_px"),
    "too few landmarks": (put([[1.0, 2.0]], "golden", "landmarks"), "golden.landmarks"),
    "no golden": (drop("golden"), "golden"),
}


@pytest.mark.parametrize(("change", "key"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_manifest_is_refused_by_key(change: Callable[[Said], None], key: str, pack: Path) -> None:
    edit(pack, change)
    assert refusal_of(pack).where == f"{pack / MANIFEST}: {key}"


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"null", b'{"format": "edgeagent-models/1"}'])
def test_what_is_no_manifest_at_all(content: bytes, pack: Path) -> None:
    (pack / MANIFEST).write_bytes(content)
    refusal_of(pack)


def test_a_manifest_that_is_too_long_is_not_parsed(pack: Path) -> None:
    (pack / MANIFEST).write_bytes(b" " * (MANIFEST_LIMIT + 1))
    assert "is longer than" in refusal_of(pack).what


ROLES: dict[str, Callable[[Said], None]] = {
    "two embedders": lambda said: said["models"][0].update(role="embedder"),
    "two detectors": lambda said: said["models"][1].update(role="detector"),
    "one network": lambda said: said["models"].pop(),
    "three networks": lambda said: said["models"].append(said["models"][0]),
    "none": lambda said: said["models"].clear(),
}


@pytest.mark.parametrize("change", ROLES.values(), ids=ROLES.keys())
def test_one_detector_and_one_embedder(change: Callable[[Said], None], pack: Path) -> None:
    edit(pack, change)
    assert "one detector and one embedder" in refusal_of(pack).what


def swap(said: Said) -> None:
    one, two = said["models"]
    for key in ("file", "sha256"):
        one[key], two[key] = two[key], one[key]


UNFIT: dict[str, Callable[[Said], None]] = {
    "exchanged networks": swap,
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
