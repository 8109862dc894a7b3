"""A second real network, of another runtime, size and dimension: from import to the right person's alert.

`make second-model` builds the pack; `make test` tries to before these tests run.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgeagent.agent.build import load_unit
from edgeagent.agent.deployment import load_deployment
from edgeagent.agent.recogniser import Recogniser
from edgeagent.cli.main import main
from edgeagent.config import load_config
from edgeagent.demo.judge import Judge
from edgeagent.demo.scene import ASSETS, ENROLLED, WALKERS
from edgeagent.documents.messages import CameraState, Presence
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.decide import Hit, Policy
from edgeagent.system.modelpack import MANIFEST, ModelPack, default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.system.packimport import import_pack, read_declaration
from edgeagent.system.selftest import pattern, self_test
from edgeagent.vision.align import STANDARD, align
from edgeagent.vision.crop import face_mask
from edgeagent.vision.match import Gallery
from edgeagent.vision.types import CHIP_SIZE, Chip, Frame, UInt8Image
from tests import bench_unit
from tests.bench_unit import CLOCK, Bench, Officers, Watch, make_bench, subject
from tests.real_networks import portrait

ROOT = Path(__file__).resolve().parents[1]
SECOND = ROOT / "build" / "second-model"
THRESHOLD, MARGIN = 0.93, 0.01
CAMERA = "v4l2:/dev/video99"  # no such device, and it is never looked for
pytestmark = pytest.mark.skipif(
    not (SECOND / MANIFEST).exists(), reason="build/second-model is missing: make second-model"
)
Template = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def second() -> ModelPack:
    return load_pack(SECOND)


def see(pack: ModelPack, pixels: UInt8Image) -> Template:
    """(d,) template of a picture of one face."""
    frame = Frame(pixels, captured_ns=0, sequence=0)
    (face,) = detector_of(pack).detect(frame)
    embedder = embedder_of(pack)
    return embedder.embed(align(frame, face, layout=embedder.layout)).vector


# --- the pack -----------------------------------------------------------------------------------------------


def test_it_is_another_pack_in_every_respect(second: ModelPack) -> None:
    report = self_test(second)
    assert "embedder" not in report.delegated
    assert set(report.milliseconds) == {"detector near", "detector far", "embedder"}
    embedder = embedder_of(second)
    assert (embedder.layout.size, embedder.dimensions) == (150, 128)
    assert embedder.layout != STANDARD
    assert second.sha256 != load_pack(default_pack_folder()).sha256
    assert second.use == "any"


def test_other_weights_fail_the_self_test(second: ModelPack) -> None:
    name = second.model("embedder").file
    content = np.frombuffer(second.files[name], np.uint8).copy()
    content[5_000_000:9_000_000] ^= 0x55
    altered = ModelPack(second.manifest, second.sha256, {**second.files, name: content.tobytes()})
    with pytest.raises(Exception, match=r"another template|empty template|cannot load"):
        self_test(altered)


def test_it_knows_a_person_again_and_tells_others_apart(second: ModelPack) -> None:
    enrolled = see(second, portrait(ENROLLED))
    same = see(second, portrait(ASSETS / WALKERS["subject"]))
    others = [see(second, portrait(ASSETS / WALKERS[f"passer-by-{n}"])) for n in (1, 2, 3)]
    assert float(enrolled @ same) > THRESHOLD
    assert max(float(enrolled @ other) for other in others) < THRESHOLD - 2 * MARGIN


def test_after_a_wipe_opencv_holds_a_blank_picture_s_answer(second: ModelPack) -> None:
    """R1: what a forward run gives without a new input is the answer to a blank one."""
    embedder = embedder_of(second)
    blank = embedder._network._net.forward().copy()  # type: ignore[attr-defined]
    embedder.embed(Chip(pattern(150, 150)))
    embedder.wipe()
    assert embedder.wiped
    assert np.array_equal(embedder._network._net.forward(), blank)  # type: ignore[attr-defined]


def test_the_alert_s_crop_is_the_standard_chip_whatever_the_embedder_takes(second: ModelPack) -> None:
    """R2: the ellipse that is left of a bystander-free crop is laid out on 112 pixels."""
    picture = portrait(ENROLLED)
    embedder, shown = embedder_of(second), []
    template = see(second, picture)[None]
    recogniser = Recogniser(
        detector_of(second), embedder, Gallery(template, np.array([0])), Policy(THRESHOLD, MARGIN, 2), 10.0
    )

    def on_hit(hit: Hit, chip: Chip, _: Frame) -> None:
        assert hit.score > 0.99
        shown.append(chip.pixels.copy())

    for number in range(3):
        frame = Frame(picture, captured_ns=number * 10**8, sequence=number)
        faces = recogniser.process(frame, on_hit)
        assert faces.overwritten + faces.alerted == faces.seen == 1
    (crop,) = shown
    frame = Frame(picture, captured_ns=0, sequence=0)
    (face,) = detector_of(second).detect(frame)
    assert np.array_equal(crop, align(frame, face).pixels)
    assert crop.shape[:2] == face_mask().shape
    recogniser.destroy()
    assert recogniser.wiped


def test_a_large_chip_of_a_large_turned_face_finds_room(second: ModelPack) -> None:
    """R1: nothing of a face lies outside the owned memory, so there must be enough of it for any pack."""
    height, width = 2160, 3840
    picture = np.zeros((height, width, 3), np.uint8)
    turn = cv2.getRotationMatrix2D((215.0, 235.0), 33.0, 3.2)
    turn[:, 2] += (1600, 800)
    cv2.warpAffine(portrait(ENROLLED), turn, (width, height), dst=picture)
    gallery = Gallery(see(second, portrait(ENROLLED))[None], np.array([0]))
    recogniser = Recogniser(
        detector_of(second), embedder_of(second), gallery, Policy(THRESHOLD, MARGIN, 2), 10.0
    )
    faces = recogniser.process(Frame(picture, captured_ns=0, sequence=0), lambda *_: None)
    assert (faces.seen, faces.compared) == (1, 1)
    assert recogniser.wiped


# --- the unit -----------------------------------------------------------------------------------------------


@pytest.fixture
def of_second(second: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs for a bench in this module signs for the second pack."""
    _everybody_signs_for(second, monkeypatch)


def _everybody_signs_for(pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_unit, "model_pack", lambda: pack)
    template = bench_unit.subject_template.__wrapped__()
    monkeypatch.setattr(bench_unit, "subject_template", lambda: template)


def use_pack(bench: Bench, folder: Path) -> None:
    text = bench.config.read_text()
    bench.config.write_text(f'{text}\n[models]\nfolder = "{folder}"\n')


@pytest.fixture
def bench(tmp_path: Path, of_second: None) -> Iterator[Bench]:
    for made in make_bench(tmp_path):
        use_pack(made, SECOND)
        yield made


def test_a_unit_with_the_second_pack_raises_the_right_person_s_alert(bench: Bench, second: ModelPack) -> None:
    bench.put(threshold=THRESHOLD, margin=MARGIN, realert_s=3.0)
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench):
        watch.state(Presence.LIVE, camera=CameraState.OPEN)
        watch.until(lambda: len(watch.alerts) >= 2, 45)
        assert unit.code is None
    judge = Judge(bench.path / "scene" / "street.json", detector_of(second))
    for arrival in watch.alerts:
        assert arrival.alert.entry == subject().entry
        assert arrival.alert.model_pack_sha256 == second.sha256
        crop = np.asarray(cv2.imdecode(np.frombuffer(arrival.crop, np.uint8), cv2.IMREAD_COLOR))
        assert crop.shape == (CHIP_SIZE, CHIP_SIZE, 3)
        assert crop[cv2.dilate(face_mask(), np.ones((33, 33), np.uint8)) == 0].max() < 30
        seen = {"crop_jpeg": base64.b64encode(arrival.crop), "frame": arrival.alert.frame}
        assert judge.verdict(seen).right


def test_documents_for_another_pack_are_refused(bench: Bench) -> None:
    """R18: naming another folder in the configuration does not bring a deployment over to it."""
    bench.put(model_pack_sha256=load_pack(default_pack_folder()).sha256)
    with Watch(bench) as watch, bench.unit() as unit:
        watch.problem(r"authority field model_pack_sha256.*\[R18\]")
        assert unit.capture_children() == []


def test_a_folder_without_a_pack_ends_the_start(bench: Bench) -> None:
    bench.put()
    bench.config.write_text(bench.config.read_text().replace(str(SECOND), "nowhere"))
    done = bench.run_command("run", "--config", "unit.toml")
    assert done.returncode == 2
    assert "ModelError" in done.stderr
    assert "nowhere/manifest.json: cannot be read" in done.stderr


# --- research only ------------------------------------------------------------------------------------------


@pytest.fixture
def research(tmp_path: Path, second: ModelPack) -> Path:
    """The same network, as if its licence allowed research only."""
    folder = tmp_path / "declared"
    folder.mkdir()
    text = (ROOT / "deploy/models/second.toml").read_text().replace('use = "any"', 'use = "research-only"')
    (folder / "mine.toml").write_text(text.replace("CC0-1.0 AND MIT", "LicenseRef-Research-Only"))
    (folder / "face-recognition.onnx").write_bytes(second.files["embedder.onnx"])
    import_pack(read_declaration(folder / "mine.toml"), default_pack_folder(), tmp_path / "research")
    return tmp_path / "research"


@pytest.mark.parametrize("kind", [Kind.LIVE, Kind.BENCH])
def test_a_live_authority_with_a_research_pack_is_refused_before_anything_opens(
    kind: Kind, research: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R28; a bench may. The certificate, the list and the camera would all be in order."""
    pack = load_pack(research)
    _everybody_signs_for(pack, monkeypatch)
    folder = tmp_path / "bench"
    folder.mkdir()
    live = kind is Kind.LIVE
    options = {"source": CAMERA, "certificate": True} if live else {}
    for bench in make_bench(folder, **options):
        use_pack(bench, research)
        wanted = subject(2, Category.WANTED_ON_WARRANT)
        bench.put(kind=kind, entries=(subject(), wanted) if live else ())
        if live:
            bench.watchlist_file.unlink()  # not even looked at
            unit = load_unit(load_config(bench.config), pack)
            with pytest.raises(SafeguardError, match="licensed for research only") as refusal:
                load_deployment(unit, HighWater(folder / "seen.json"), CLOCK.now())
            assert refusal.value.rule == "R28"
        with Watch(bench, bench_topics=not live) as watch, bench.unit() as process:
            if live:
                watch.problem(r"model pack: is licensed for research only.*\[R28\]")
                assert process.capture_children() == []
            else:
                watch.ready()


# --- the desk's commands ------------------------------------------------------------------------------------


def test_a_list_is_built_with_the_second_pack(
    bench: Bench, second: ModelPack, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the pack's own limit for duplicates: with the usual one, any two people would be one."""
    folder = bench.path / "images"
    folder.mkdir()
    columns = "entry,person,image,category,image_basis,image_taken_on,image_reference,date_of_birth"
    rows = [f"{columns},lawful_retention,under_18_rationale"]
    for name, file in (("a", ENROLLED), ("b", ASSETS / WALKERS["passer-by-1"])):
        cv2.imwrite(str(folder / f"{name}.png"), portrait(file))
        rows.append(f"{name},{name},{name}.png,test_subject,consented,2012-12-06,a portrait,1961-08-04,yes,")
    (bench.path / "list.csv").write_text("\n".join(rows) + "\n")
    key = bench.run_command(
        "keys", "deployment", bench_unit.DEPLOYMENT, "--config", "unit.toml", "--out", "one.jws"
    )
    assert key.returncode == 0, key.stderr
    command = ["watchlist", "build", "--images", "images", "--csv", "list.csv", "--check", "--json"]
    command += ["--deployment", bench_unit.DEPLOYMENT, "--unit-key", "one.jws", "--out", "list.edgelist"]
    command += ["--trust", "trust.json", "--root", bench.office.root, "--models", str(SECOND)]
    done = bench.run_command(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["entries"] == 2
    alike = float(see(second, portrait(ENROLLED)) @ see(second, portrait(ASSETS / WALKERS["passer-by-1"])))
    assert 0.75 < alike < second.model("embedder").alike


def test_doctor_names_the_configured_pack(
    bench: Bench, second: ModelPack, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--config", str(bench.config), "--json"])
    findings = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert f"pack {second.sha256[:12]}" in findings["models"]["text"]
    assert "by OpenCV" in findings["models"]["text"]
