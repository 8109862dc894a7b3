"""Bring your own model: what is declared is what runs, and what cannot be right is refused by name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.errors import ModelError, SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.licences import licence_fault
from edgeagent.safeguards.model_use import research_only, use_allowed
from edgeagent.system import packimport
from edgeagent.system.files import write_atomic
from edgeagent.system.modelpack import MANIFEST, default_pack_folder, load_pack
from edgeagent.system.networks import embedder_of
from edgeagent.system.onnx_file import picture_inputs
from edgeagent.system.packimport import import_pack, read_declaration
from edgeagent.system.selftest import pattern, self_test
from edgeagent.vision.align import REFERENCE_LANDMARKS, STANDARD, Layout, align, probe_of
from edgeagent.vision.types import CHIP_SIZE, Chip, Face, Frame
from tests import desk
from tests.tiny_onnx import CELL, average_pool

INSTALLED = default_pack_folder()
TFLITE = {
    "name": "mine",
    "file": "mine.tflite",
    "licence": "Apache-2.0",
    "use": "any",
    "project": "a project",
    "source": "a-package==1.0",
    "size": 112,
    "dimension": 192,
    "channels": "BGR",
    "mean": 128.0,
    "scale": 0.0078125,
}
SIDE = 96
CELLS = (SIDE // CELL) ** 2
LANDMARKS = [[32.0, 40.0], [64.0, 40.0], [48.0, 55.0], [36.0, 72.0], [60.0, 72.0]]
TINY = TFLITE | {
    "file": "tiny.onnx",
    "size": SIDE,
    "dimension": 3 * CELLS,
    "channels": "RGB",
    "mean": [120.0, 110.0, 100.0],
    "scale": [0.01, 0.02, 0.03],
    "landmarks": LANDMARKS,
}


def declare(folder: Path, said: dict[str, Any], network: bytes | None = None, **changes: Any) -> Path:
    """A declaration, with its network beside it; a change to None leaves a key out."""
    said = {key: value for key, value in (said | changes).items() if value is not None}
    if network is None:
        onnx = str(said.get("file", "")).endswith(".onnx")
        network = average_pool(SIDE) if onnx else (INSTALLED / "embedder.tflite").read_bytes()
    (folder / said.get("file", "x")).write_bytes(network)
    file = folder / "mine.toml"
    file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in said.items()))
    return file


def make(folder: Path, said: dict[str, Any], network: bytes | None = None, **changes: Any) -> Any:
    return import_pack(
        read_declaration(declare(folder, said, network, **changes)), INSTALLED, folder / "pack"
    )


# --- what is declared is what runs --------------------------------------------------------------------------


def test_the_installed_embedder_brought_along_gives_the_same_templates(tmp_path: Path) -> None:
    made = make(tmp_path, TFLITE)
    pack = load_pack(tmp_path / "pack")
    assert pack.sha256 == made.sha256 != load_pack(INSTALLED).sha256
    assert embedder_of(pack).layout == STANDARD
    assert pack.use == "any"
    assert self_test(pack).delegated["embedder"] > 50
    old, new = (np.array(load_pack(f).manifest.golden.template) for f in (INSTALLED, tmp_path / "pack"))
    assert np.allclose(old, new, atol=1e-5)


@pytest.mark.parametrize("channels", ["BGR", "RGB"])
def test_an_onnx_network_is_given_exactly_what_was_declared(channels: str, tmp_path: Path) -> None:
    """Size, order of channels, mean and scale of each, and the output whatever its name is."""
    pack = make(tmp_path, TINY, channels=channels)
    pixels = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    embedder = embedder_of(pack)
    found = embedder._network.run(pixels)["template"][0]
    ordered = pixels if channels == "BGR" else pixels[..., ::-1]
    given = (ordered - np.array(TINY["mean"])) * np.array(TINY["scale"])
    cells = given.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.allclose(found, cells.ravel(), atol=1e-5)
    assert embedder.layout == Layout(SIDE, tuple((x, y) for x, y in LANDMARKS))
    report = self_test(pack)
    assert "embedder" not in report.delegated
    assert "by OpenCV" in str(report)
    assert cv2.__version__ in report.runtime


def test_onnx_memory_is_wiped_and_read_back(tmp_path: Path) -> None:
    """R1: and a scrub leaves OpenCV with the answer to a blank picture."""
    embedder = embedder_of(make(tmp_path, TINY))
    assert embedder.wiped
    embedder.embed(Chip(pattern(SIDE, SIDE)))
    assert not embedder.wiped
    embedder.wipe()
    assert embedder.wiped
    assert not embedder._network._net.forward().any()


def test_the_self_test_notices_another_network_under_a_right_hash(tmp_path: Path) -> None:
    pack = make(tmp_path, TINY)
    pack.files["embedder.onnx"] = average_pool(SIDE, cell=CELL).replace(b"AveragePool", b"MaxPool")
    with pytest.raises(ModelError):
        self_test(pack)


def test_the_committed_pack_keeps_its_identity() -> None:
    """Optional keys came later: certificates and the demo's report name this hash."""
    said = json.loads((INSTALLED / MANIFEST).read_bytes())
    assert not {"landmarks", "use", "alike"} & {key for entry in said["models"] for key in entry}
    report = json.loads((INSTALLED.parent / "demo/assets/bench-report.json").read_bytes())
    assert report["model_pack_sha256"] == load_pack(INSTALLED).sha256


# --- what cannot be right -----------------------------------------------------------------------------------

POINTS = LANDMARKS
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no licence": ({"licence": None}, r"licence: Field required"),
    "a licence that is none": ({"licence": "free for all"}, r"licence 'free for all' is not SPDX"),
    "an unknown licence": ({"licence": "Best-1.0"}, r"'Best-1.0' is not a known SPDX.*LicenseRef"),
    "no use": ({"use": None}, r"use: Field required"),
    "another use": ({"use": "police"}, r"use: "),
    "non-commercial as any": ({"licence": "CC-BY-NC-4.0"}, r"'CC-BY-NC' is known to be for research only"),
    "one of two non-commercial": ({"licence": "MIT AND CC-BY-NC-SA-4.0"}, r"known to be for research only"),
    "InsightFace as any": ({"project": "InsightFace buffalo_l"}, r"'InsightFace' is known to be"),
    "a known pack's file": ({"file": "w600k_r50.onnx"}, r"'w600k_' is known to be"),
    "its name in the pack's": ({"name": "antelopev2"}, r"'antelopev2' is known to be"),
    "no landmarks at another size": ({"landmarks": None}, r"landmarks are missing"),
    "four landmarks": ({"landmarks": POINTS[:4]}, r"landmarks.*: Field required"),
    "six landmarks": ({"landmarks": [*POINTS, [1.0, 1.0]]}, r"landmarks"),
    "landmarks outside": ({"landmarks": [*POINTS[:4], [60.0, 96.0]]}, r"lie outside the chip of 96"),
    "negative landmarks": ({"landmarks": [[-1.0, 40.0], *POINTS[1:]]}, r"lie outside the chip"),
    "eyes exchanged": ({"landmarks": [POINTS[1], POINTS[0], *POINTS[2:]]}, r"eyes in the wrong order"),
    "one place for all": ({"landmarks": [[48.0, 48.0]] * 5}, r"eyes in the wrong order, or too near"),
    "mouth exchanged": ({"landmarks": [*POINTS[:3], POINTS[4], POINTS[3]]}, r"corners of the mouth"),
    "head down": ({"landmarks": [[x, 96.0 - y] for x, y in POINTS]}, r"not eyes above the nose"),
    "landmarks as text": ({"landmarks": "arcface"}, r"landmarks: "),
    "landmarks not numbers": ({"landmarks": [["a", 1.0], *POINTS[1:]]}, r"landmarks\.0\.0: "),
    "too small": ({"size": 16}, r"size: .*32"),
    "too large": ({"size": 512}, r"size: .*256"),
    "no dimension": ({"dimension": None}, r"dimension: Field required"),
    "no numbers": ({"dimension": 0}, r"dimension: "),
    "scale of nothing": ({"scale": 0.0}, r"scale"),
    "two means": ({"mean": [1.0, 2.0]}, r"mean"),
    "channels": ({"channels": "GRB"}, r"channels: "),
    "another kind of file": ({"file": "tiny.pb"}, r"file: "),
    "a file elsewhere": ({"file": "../tiny.onnx"}, r"file: "),
    "an unknown key": ({"threshold": 0.5}, r"threshold: Extra inputs"),
    "everybody alike": ({"alike": 0.1}, r"alike: "),
}


@pytest.mark.parametrize(("changes", "says"), BAD.values(), ids=BAD)
def test_a_declaration_that_cannot_be_right(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    file = declare(tmp_path, TINY)
    said = {key: value for key, value in (TINY | changes).items() if value is not None}
    file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in said.items()))
    with pytest.raises(ModelError, match=says) as refusal:
        read_declaration(file)
    assert refusal.value.where.startswith(str(file))
    assert refusal.value.next_step


@pytest.mark.parametrize("content", ["", "=", "name", "\x00", "[[[", "name = 1979-05-27"])
def test_what_is_no_declaration(content: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content)
    with pytest.raises(ModelError):
        read_declaration(file)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


EMBEDDER, DETECTOR = (INSTALLED / f for f in ("embedder.tflite", "detector-near.tflite"))
UNFIT: dict[str, tuple[dict[str, Any], bytes | None, dict[str, Any], str]] = {
    "text as TFLite": (TFLITE, b"not a model" * 9, {}, r"cannot load this model"),
    "half a TFLite": (TFLITE, truncated(EMBEDDER.read_bytes()), {}, r"cannot load this model"),
    "TFLite called ONNX": (TINY, EMBEDDER.read_bytes(), {}, r"is not an ONNX file"),
    "ONNX called TFLite": (TFLITE, average_pool(SIDE), {}, r"cannot load this model"),
    "text as ONNX": (TINY, b"not a model" * 9, {}, r"is not an ONNX file"),
    "an ONNX of no known operator": (
        TINY,
        average_pool(SIDE).replace(b"AveragePool", b"AveragePond"),
        {},
        r"cannot load or run",
    ),
    "half an ONNX": (TINY, truncated(average_pool(SIDE)), {}, r"is not an ONNX file: cut short"),
    "an empty file": (TINY, b"", {}, r"is empty"),
    "a detector": (TFLITE, DETECTOR.read_bytes(), {}, r"expected one input"),
    "TFLite of another size": (TFLITE, None, {"size": 96, "landmarks": LANDMARKS}, r"expected one input"),
    "TFLite of another dimension": (TFLITE, None, {"dimension": 128}, r"expected outputs"),
    "TFLite of another mean": (TFLITE, None, {"mean": 127.0}, r"input quantisation"),
    "TFLite of another scale": (TFLITE, None, {"scale": 0.5}, r"input quantisation"),
    "ONNX of another dimension": (TINY, None, {"dimension": 128}, r"expected an output \(1, 128\)"),
    "ONNX of another size": (
        TINY,
        average_pool(SIDE + 16),
        {},
        r"expected one input .* got \[\(1, 3, 112, 112\)\]",
    ),
    "ONNX of one channel": (TINY, average_pool(SIDE, channels=1), {}, r"expected one input"),
    "ONNX that tells nobody apart": (
        TINY,
        average_pool(SIDE, cell=SIDE // 3),
        {"dimension": 27, "mean": 9999.0},
        r"one template for a face and for a drawn pattern",
    ),
}


@pytest.mark.parametrize(("said", "network", "changes", "says"), UNFIT.values(), ids=UNFIT)
def test_a_network_that_is_not_as_declared(
    said: dict[str, Any], network: bytes | None, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=says) as refusal:
        make(tmp_path, said, network, **changes)
    assert refusal.value.where
    assert refusal.value.next_step
    assert {file.suffix for file in tmp_path.iterdir()} == {".toml", Path(said["file"]).suffix}


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    declared = read_declaration(declare(tmp_path, TINY))
    (tmp_path / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx: cannot be read"):
        import_pack(declared, INSTALLED, tmp_path / "pack")


@given(st.integers(0, 400), st.integers(0, 255))
def test_an_onnx_file_with_any_octet_changed_is_read_or_refused(at: int, value: int) -> None:
    """Of whatever it says its input is, nothing else than a shape or a refusal follows."""
    content = bytearray(average_pool(SIDE))
    content[at % len(content)] = value
    with contextlib.suppress(ValueError):
        assert all(isinstance(shape, tuple) for shape in picture_inputs(bytes(content)))


def test_sides_that_may_vary_and_constants_among_the_inputs() -> None:
    """Many exporters list weights as inputs too, and leave the batch open."""
    assert picture_inputs(average_pool(SIDE)) == [(1, 3, SIDE, SIDE)]
    assert picture_inputs(average_pool(SIDE, weights="data")) == []
    assert picture_inputs(average_pool(SIDE, open_batch=True)) == [(None, 3, SIDE, SIDE)]


# --- where it is written ------------------------------------------------------------------------------------


def occupied_folder(out: Path) -> None:
    out.mkdir()


def occupied_file(out: Path) -> None:
    out.write_text("mine")


def dangling(out: Path) -> None:
    out.symlink_to("nowhere")


@pytest.mark.parametrize("occupy", [occupied_folder, occupied_file, dangling])
def test_nothing_is_written_over(occupy: Any, tmp_path: Path) -> None:
    occupy(tmp_path / "pack")
    with pytest.raises(ModelError, match="exists already"):
        make(tmp_path, TINY)


def test_the_folder_above_must_be_there(tmp_path: Path) -> None:
    declared = read_declaration(declare(tmp_path, TINY))
    for above in ("nowhere", "tiny.onnx"):
        with pytest.raises(ModelError, match="is not a folder"):
            import_pack(declared, INSTALLED, tmp_path / above / "pack")


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(5))
def test_an_interrupted_write_leaves_nothing(
    at: int, fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def failing(path: Path, content: bytes) -> None:
        if len(written) == at:
            raise fault
        written.append(path)
        write_atomic(path, content)

    monkeypatch.setattr(packimport, "write_atomic", failing)
    with pytest.raises(type(fault)):
        make(tmp_path, TINY)
    assert {file.name for file in tmp_path.iterdir()} == {"mine.toml", "tiny.onnx"}


def test_killed_at_any_time_there_is_a_whole_pack_or_none(tmp_path: Path) -> None:
    declare(tmp_path, TINY)
    command = [sys.executable, "-m", "edgeagent", "models", "import", "mine.toml", "--out", "pack"]
    for delay in (0.2, 0.6, 0.9, 1.1, 1.3):
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        if (tmp_path / "pack").exists():
            self_test(load_pack(tmp_path / "pack"))
            return
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


# --- licences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "licence", ["MIT", "CC0-1.0 AND MIT", "Apache-2.0 OR MIT", "LicenseRef-Bought-2031", "CC-BY-NC-4.0"]
)
def test_licences_that_can_be_stated(licence: str) -> None:
    assert licence_fault(licence) is None


@pytest.mark.parametrize(
    "licence", ["", " ", "MIT ", "MIT AND", "AND", "MIT MIT", "MIT and MIT", "(MIT)", "mit", "LicenseRef-"]
)
def test_licences_that_cannot(licence: str) -> None:
    assert licence_fault(licence)


@pytest.mark.parametrize(
    "name",
    [
        "CC-BY-NC-SA-4.0",
        "cc by nc",
        "LicenseRef-Research-Only",
        "for non-commercial research purposes",
        "noncommercial",
        "insight_face",
        "buffalo_l",
        "glint360k_r100.onnx",
        "VGG-Face",
        "academic use",
    ],
)
def test_names_known_to_be_for_research(name: str) -> None:
    assert research_only("MIT", name)


@pytest.mark.parametrize(
    "name", ["Apache-2.0", "CC-BY-4.0", "CC-BY-ND-4.0", "MobileFaceNet", "buffalo", "researcher's network"]
)
def test_names_that_are_not(name: str) -> None:
    assert research_only(name) is None


def test_research_only_is_for_a_bench() -> None:
    office = desk.Desk()
    live, bench = office.authority(), office.authority(kind=Kind.BENCH)
    use_allowed(bench, "research-only")
    use_allowed(live, "any")
    with pytest.raises(SafeguardError, match="research only") as refusal:
        use_allowed(live, "research-only")
    assert refusal.value.rule == "R28"


def test_a_manifest_edited_to_hide_a_restriction_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path, TINY, licence="CC-BY-NC-4.0", use="research-only")
    assert made.use == "research-only"
    file = tmp_path / "pack" / MANIFEST
    file.write_text(file.read_text().replace('"research-only"', '"any"'))
    with pytest.raises(ModelError, match=r"allows any use of embedder\.onnx, though 'CC-BY-NC'"):
        load_pack(tmp_path / "pack")


# --- chips of another size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(31, 31, 3), (257, 257, 3), (112, 96, 3), (112, 112, 1)])
def test_chips_are_squares_within_limits(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Chip\.pixels"):
        Chip(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("eyes_px", [10.0, 35.0, 120.0, 400.0])
@pytest.mark.parametrize("size", [64, 150, 256])
def test_landmarks_lie_where_the_layout_has_them(size: int, eyes_px: float) -> None:
    """A dot drawn on each landmark of a turned face is found at its place, however much it is shrunk."""
    layout = Layout(size, tuple((x * size / 96, y * size / 96) for x, y in LANDMARKS))
    turn = eyes_px / 32 * np.array([[0.96, -0.28], [0.28, 0.96]])
    landmarks = (np.array(LANDMARKS) @ turn.T + 900).astype(np.float32)
    picture = np.zeros((2400, 2400, 3), np.uint8)
    face = Face(np.zeros(4, np.float32), landmarks, 1.0)
    for number, (x, y) in enumerate(landmarks):
        picture[:] = 0
        cv2.circle(picture, (round(float(x)), round(float(y))), max(2, round(eyes_px / 10)), (255,) * 3, -1)
        chip = align(Frame(picture, captured_ns=0, sequence=0), face, layout=layout).pixels[..., 0]
        assert chip.shape == (size, size)
        weights = chip.astype(np.float64)
        row, column = np.mgrid[0:size, 0:size]
        found = np.array([(column * weights).sum(), (row * weights).sum()]) / weights.sum()
        assert np.abs(found - layout.landmarks[number]).max() < size / eyes_px


def test_the_standard_chip_serves_whoever_wants_it() -> None:
    rng = np.random.default_rng(1)
    frame = Frame(rng.integers(0, 256, (400, 400, 3), np.uint8), captured_ns=0, sequence=0)
    face = Face(np.zeros(4, np.float32), REFERENCE_LANDMARKS * 2 + 30, 1.0)
    chip = align(frame, face)
    assert probe_of(chip, frame, face, STANDARD) is chip
    before = chip.pixels.copy()
    probe = probe_of(chip, frame, face, Layout(SIDE, tuple((x, y) for x, y in LANDMARKS)))
    assert probe.pixels.shape == (SIDE, SIDE, 3)
    assert np.array_equal(chip.pixels, before)
    assert chip.pixels.shape == (CHIP_SIZE, CHIP_SIZE, 3)


# --- commands -----------------------------------------------------------------------------------------------


def edgeagent(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeagent", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )


def test_import_and_inspect_by_command(tmp_path: Path) -> None:
    declare(tmp_path, TINY, licence="CC-BY-NC-4.0", use="research-only")
    done = edgeagent(tmp_path, "models", "import", "mine.toml", "--out", "pack", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["sha256"] == load_pack(tmp_path / "pack").sha256
    inspected = json.loads(edgeagent(tmp_path, "models", "inspect", "pack", "--json").stdout)
    assert said == {key: value for key, value in inspected.items() if key != "self_test"}
    (embedder,) = (one for one in said["models"] if one["role"] == "embedder")
    assert (embedder["width"], embedder["channels"], embedder["dimension"]) == (SIDE, "RGB", 3 * CELLS)
    assert embedder["landmarks"] == LANDMARKS
    text = edgeagent(tmp_path, "models", "inspect", "pack").stdout
    assert "FOR RESEARCH ONLY: on a bench; refused live (R28)" in text
    again = edgeagent(tmp_path, "models", "import", "mine.toml", "--out", "pack")
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("ModelError: pack: exists already — ")


def test_inspect_without_a_folder_speaks_of_the_installed_pack(tmp_path: Path) -> None:
    said = json.loads(edgeagent(tmp_path, "models", "inspect", "--json").stdout)
    assert said["sha256"] == load_pack(INSTALLED).sha256
    assert said["use"] == "any"
    wrong = edgeagent(tmp_path, "models", "inspect", "nowhere", "--json")
    assert wrong.returncode == 2
    assert json.loads(wrong.stderr.splitlines()[-1])["error"] == "ModelError"
