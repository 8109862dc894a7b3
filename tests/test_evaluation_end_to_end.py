"""`edgeagent evaluate` as somebody runs it: on pictures, with bad ones among them, and stopped half-way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeagent.capture.street import draw_street
from edgeagent.cli.main import edgeagent
from edgeagent.demo.scene import ASSETS, ENROLLED, SUBJECT, WALKERS
from edgeagent.evaluation.dataset import EvaluationError
from edgeagent.evaluation.page import render
from edgeagent.evaluation.report_model import Report
from edgeagent.system.modelpack import default_pack_folder, load_pack
from edgeagent.vision.types import UInt8Image
from tests.evaluation_people import People, report_of
from tests.real_networks import portrait

SCHEMA = Path(__file__).parents[1] / "docs" / "evaluation-report.schema.json"
LABELS = {f"p{number:04d}": "group a" if number % 2 else "group <b>" for number in range(100)}


def view(pixels: UInt8Image, number: int) -> UInt8Image:
    """Another view of a portrait: turned a little, of another size and brightness."""
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 4.0 * number, 1.0)
    turned = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    side = 480 + 40 * number
    sized = cv2.resize(turned, (side, round(side * height / width)), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(sized * (1 - 0.1 * number) + 5, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people of the demo with three views each, and pictures that no face can be taken from."""
    folder = tmp_path_factory.mktemp("people")
    portraits = {name: portrait(ASSETS / file) for name, file in WALKERS.items()}
    for name, pixels in portraits.items():
        (folder / name).mkdir()
        for number in range(3):
            shown = portrait(ENROLLED) if (name, number) == (SUBJECT, 2) else pixels
            assert cv2.imwrite(str(folder / name / f"{name}_{number + 1:04d}.png"), view(shown, number))
    bad = folder / SUBJECT
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "text.jpg").write_bytes(b"this is no picture")
    (bad / "cut.png").write_bytes((bad / f"{SUBJECT}_0001.png").read_bytes()[:200])
    assert cv2.imwrite(str(bad / "nobody.png"), draw_street(640, 480, 1))
    small = cv2.resize(portraits[SUBJECT], None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)
    backdrop = np.full((400, 640, 3), 120, np.uint8)
    backdrop[100 : 100 + small.shape[0], 300 : 300 + small.shape[1]] = small
    assert cv2.imwrite(str(bad / "small.png"), backdrop)
    both = [cv2.resize(portraits[name], (400, 560)) for name in (SUBJECT, "passer-by-2")]
    gap = np.full((560, 80, 3), 120, np.uint8)
    assert cv2.imwrite(str(bad / "two.png"), np.hstack([both[0], gap, both[1]]))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(edgeagent, ["evaluate", *map(str, arguments)])


def test_a_small_dataset_with_bad_pictures(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, "--report", tmp_path / "new" / "report", "--json")
    assert result.exception is None, result.output
    said = json.loads(result.stdout)
    report = Report.model_validate_json((tmp_path / "new" / "report" / "report.json").read_bytes())
    assert said["report"] == str(tmp_path / "new" / "report" / "report.json")
    assert report.dataset.people == 4
    assert report.failure_to_acquire.tried == 18
    reasons = {Path(one.file).name: one.reason for one in report.failure_to_acquire.listed}
    assert {name: reason.partition(":")[0] for name, reason in reasons.items()} == {
        "empty.jpg": "unreadable",
        "text.jpg": "unreadable",
        "cut.png": "unreadable",
        "nobody.png": "no face",
        "small.png": "too small",
        "two.png": "several faces",
    }
    assert report.failure_to_acquire.by_reason["unreadable"] == 3
    assert report.verification is not None
    assert report.verification.accuracy_mean > 0.9
    assert report.verification.mated == 12
    assert said["accuracy_mean"] == round(report.verification.accuracy_mean, 5)
    assert report.model_pack_sha256 == load_pack(default_pack_folder()).sha256
    assert any("FPIR 10 % is not shown for any gallery" in text for text in report.left_out)
    used = [file for file in dataset.rglob("*_000?.png") if file.name not in reasons]
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in used)
    assert report.dataset.sha256 == hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()
    page = (tmp_path / "new" / "report" / "report.html").read_text()
    for name in reasons:
        assert f"{SUBJECT}/{name}" in page
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == [
        "report.html",
        "report.json",
    ]


def test_excluded_pictures_are_listed(dataset: Path, tmp_path: Path) -> None:
    names = [f"{SUBJECT}/{name}" for name in ("cut.png", "empty.jpg", "nobody.png")]
    (tmp_path / "wrong").write_text("\n".join(names))
    result = run(dataset, "--exclude", tmp_path / "wrong", "--report", tmp_path / "report")
    assert result.exception is None, result.output
    report = Report.model_validate_json((tmp_path / "report" / "report.json").read_bytes())
    assert sorted(report.excluded) == sorted(names)
    assert report.failure_to_acquire.tried == 15
    assert "Left out by order: 3 pictures" in (tmp_path / "report" / "report.html").read_text()


def test_without_a_report_folder_figures_are_printed(dataset: Path) -> None:
    result = run(dataset)
    assert result.exception is None, result.output
    assert re.search(r"^accuracy_mean +(0\.9|1)", result.stdout, re.MULTILINE)


def test_one_person_is_a_named_error_and_leaves_nothing_behind(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "person").symlink_to(dataset / SUBJECT)
    result = run(tmp_path / "one", "--report", tmp_path / "report")
    assert isinstance(result.exception, EvaluationError)
    assert "there is no non-mated pair" in str(result.exception)
    assert list((tmp_path / "report").iterdir()) == []


def test_nothing_but_bad_pictures_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"no picture")
    result = run(tmp_path)
    assert isinstance(result.exception, EvaluationError)
    assert "1 of 1 pictures gave no template" in str(result.exception)


def test_an_earlier_report_is_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("earlier")
    result = run(dataset, "--report", tmp_path)
    assert isinstance(result.exception, EvaluationError)
    assert (tmp_path / "report.json").read_text() == "earlier"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_an_interrupted_run_leaves_nothing_half_written(
    dataset: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    many = tmp_path / "many"
    for number in range(200):
        (many / f"p{number}").mkdir(parents=True)
        os.link(dataset / SUBJECT / f"{SUBJECT}_0001.png", many / f"p{number}" / "1.png")
    command = [sys.executable, "-m", "edgeagent", "evaluate", str(many), "--report", str(tmp_path / "report")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"looking" not in (line := process.stderr.readline()):
            assert line, "ended before it looked at pictures"
        time.sleep(0.5)
        process.send_signal(kind)
        process.communicate(timeout=30)
    assert process.returncode == (130 if kind is signal.SIGINT else -signal.SIGKILL)
    assert list((tmp_path / "report").iterdir()) == []


# --- the page -----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags and attributes, and that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "srcset", "action"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on"), name
        if tag == "svg":
            assert dict(attrs).get("aria-label")
            self.images += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.pop()


@pytest.fixture(scope="module")
def full() -> Report:
    """With everything that a report may have."""
    return report_of(People([2] * 60 + [1] * 340, noise=0.4, unfit=frozenset({1})), groups=LABELS)


def test_the_page_needs_nothing_else_and_runs_nothing(full: Report) -> None:
    text = render(full)
    page = Page(text)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "img", "form"}
    assert all(link.startswith("#") for link in page.links)
    assert "http" not in text
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text
    assert page.images == 4
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_page_escapes_names(full: Report) -> None:
    assert "group &lt;b&gt;" in render(full)
    assert "<b>" in render(full)  # the page's own
    assert "group <b>" not in render(full)


def test_the_page_first_says_what_a_chief_officer_asks(full: Report) -> None:
    top = re.sub(r"<[^>]+>", " ", render(full).partition("Searching a list")[0])
    top = re.sub(r"\s+", " ", top)
    main = [found for found in full.identification if found.gallery_size == full.main_gallery]
    told = [found for found in main if found.probes_nonmated * found.fpir >= 3]
    lowest = min(told, key=lambda found: found.fpir)
    assert f"With a list of {full.main_gallery} people" in top
    assert f"threshold at {lowest.threshold:.4f}" in top
    missed = f"{1000 * (1 - lowest.tpir):,.0f}"
    assert re.search(
        rf"Of 1,000 listed people who pass and whose face is seen, about {missed} are missed", top
    )
    assert re.search(r"Of 10,000 people not on the list, about [\d,]+ cause a false alert", top)
    assert top.count("95 % interval:") == 2
    assert "cannot be shown with" in top  # R17


@pytest.mark.parametrize(
    "people", [People([1] * 120), People([2] * 8)], ids=["no mated pairs", "eight people"]
)
def test_the_page_of_a_report_with_little_in_it(people: People) -> None:
    Page(render(report_of(people)))


def test_the_schema_of_the_report_is_the_published_one() -> None:
    """A certificate rests on reports of this shape: who changes it must change the published schema too."""
    assert json.loads(SCHEMA.read_text()) == Report.model_json_schema()


def test_a_report_survives_its_file(full: Report) -> None:
    assert Report.model_validate_json(full.model_dump_json(indent=1)) == full


def test_the_far_detector_is_used_and_named(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, "--scene", "far", "--report", tmp_path / "report")
    assert result.exception is None, result.output
    runtime = Report.model_validate_json((tmp_path / "report" / "report.json").read_bytes()).runtime
    entry = load_pack(default_pack_folder()).model("detector", "far")
    assert (runtime.scene, runtime.detector_input) == ("far", (entry.width, entry.height))
