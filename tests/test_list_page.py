"""What a supervisor reads before signing, and `watchlist build` from the command line to the opened list."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgeagent.controlroom.enrolment_csv import Row
from edgeagent.controlroom.list_page import About, FalseAlerts, false_alerts, render
from edgeagent.controlroom.workshop import Refusal
from edgeagent.demo.scene import ASSETS, ENROLLED, SUBJECT, WALKERS
from edgeagent.documents.deployment_key import load_key, new_key, save_key, sign_key
from edgeagent.documents.keys import Role, save_identity
from edgeagent.documents.table import CERTIFICATE, sign
from edgeagent.documents.watchlist_file import verify_watchlist
from edgeagent.system.clock import SystemClock
from tests.bench_unit import DEPLOYMENT, UNIT, Office, model_pack
from tests.desk import certificate, difference, floor, group
from tests.real_networks import portrait

TODAY = date(2026, 3, 1)
RISK = "Missing from home since Monday; believed to be held by adults who harm children."
GOOD = {
    "entry": "e1",
    "person": "p1",
    "image": "one.png",
    "category": "wanted_on_warrant",
    "image_basis": "custody_convicted",
    "image_taken_on": "2020-03-01",
    "image_reference": "custody record 7",
    "date_of_birth": "1980-01-01",
    "lawful_retention": "yes",
    "under_18_rationale": "",
}
TEST_SUBJECT = {"category": "test_subject", "image_basis": "consented"}


def row(**changes: str) -> Row:
    return Row.model_validate_strings(GOOD | changes)


def about(**changes: Any) -> About:
    said: dict[str, Any] = {
        "deployment": "high-street",
        "sequence": 2,
        "units": ("unit-1", "unit-2"),
        "not_before": datetime(2026, 3, 1, 9, tzinfo=UTC),
        "not_after": datetime(2026, 3, 1, 19, 30, tzinfo=UTC),
        "cap": 2000,
        "profile": "a force",
        "model_pack_sha256": "ab" * 32,
        "today": TODAY,
    }
    return About(**(said | changes))


UNKNOWN = FalseAlerts(None, "unknown: no evaluation certificate was given")


class Reading(HTMLParser):
    """The page as text, its tables as pairs, and everything that it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.cells: list[str] = []
        self.fetches: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag in ("script", "img", "link", "iframe", "object"):
            self.fetches.append(tag)
        self.fetches += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onclick")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data

    @property
    def said(self) -> dict[str, str]:
        return dict(zip(self.cells[::2], self.cells[1::2], strict=True))


def read(page: str) -> Reading:
    reading = Reading()
    reading.feed(page)
    reading.close()
    assert reading.open == []
    assert reading.fetches == [], "the page must need nothing else"
    assert "http" not in page
    assert "url(" not in page
    return reading


def test_the_page_counts_what_is_listed() -> None:
    rows = [
        row(),
        row(entry="e2", image_taken_on="2010-03-01"),
        row(entry="e3", person="p3", category="witness", image_basis="supplied_by_family"),
        row(entry="e4", person="p4", image_taken_on="2025-03-01", **TEST_SUBJECT),
    ]
    said = read(render(about(), rows, (), UNKNOWN)).said
    assert said["Entries"] == "4 of at most 2000 (profile a force)"
    assert said["People"].startswith("3;")
    assert "entries of consenting test subjects: 1" in said["People"]
    assert (said["wanted on warrant"], said["witness"], said["test subject"]) == ("2", "1", "1")
    assert (said["custody convicted"], said["supplied by family"], said["consented"]) == ("2", "1", "1")
    assert said["Oldest image"] == "2010-03-01 (16.0 years ago)"
    assert said["Median image"].startswith("2020-03-01")
    assert said["Valid"] == "2026-03-01 09:00 to 2026-03-01 19:30 UTC"
    assert said["Units that can open it"] == "unit-1, unit-2"
    assert said["Expected false alerts"] == UNKNOWN.text
    assert said["Under 18"] == "0"
    assert said["Second signature"] == "an independent approver must sign too (witness)"


def test_each_under_18_is_shown_with_the_recorded_risk() -> None:
    rows = [row(), row(entry="e2", date_of_birth="2010-01-01", under_18_rationale=RISK)]
    said = read(render(about(), rows, (), UNKNOWN)).said
    assert said["Under 18"] == "1"
    assert said["Second signature"] == "an independent approver must sign too (under 18)"
    assert said["e2"] == RISK


def test_refused_rows_come_first_with_their_reasons() -> None:
    refusals = (Refusal("e7", "one.png: shows no face — use a picture that shows the face"),)
    reading = read(render(about(), [row()], refusals, UNKNOWN))
    assert "Rows refused: 1. This list cannot be signed" in reading.text
    assert reading.said["e7"] == refusals[0].reason
    assert reading.text.index("shows no face") < reading.text.index("Expected false alerts")


def test_what_the_certificate_says_of_groups_is_on_the_page() -> None:
    said = certificate(differences=(difference(),), groups_too_small=("group c",), dataset="LFW")
    expected = false_alerts(said, 0.7, 50)
    reading = read(render(about(), [row()], (), expected)).said
    assert reading["Groups of people"].startswith(
        "SIGNIFICANT DIFFERENCE in FPIR between group a, group b: worst for group b; "
        "too few people to say anything: group c"
    )
    assert "measured on 9,000 people (LFW), not on those who will pass" in reading["Expected false alerts"]
    assert read(render(about(), [row()], (), UNKNOWN)).said["Groups of people"].startswith("unknown")


@pytest.mark.parametrize(
    ("fpir", "says"),
    [
        (0.75, "at most 7,500 for"),
        (0.012345, "at most 123 for"),
        (3e-4, "at most 3 for"),
        (5e-5, "at most 0.5 f"),
    ],
)
def test_figures_are_plain_numbers(fpir: float, says: str) -> None:
    expected = false_alerts(certificate(floors=(floor(100, 0.6, fpir),)), 0.7, 100)
    assert says in expected.text


def test_no_value_can_become_markup() -> None:
    evil = "<script>alert(1)</script> & <img src=x onerror=alert(1)> padding padding"
    young = row(entry="e2", date_of_birth="2010-01-01", under_18_rationale=evil)
    page = render(
        about(profile=evil, units=(evil,)), [young], (Refusal(evil, evil),), FalseAlerts(None, evil)
    )
    assert read(page).said["e2"] == evil
    assert "<script" not in page


def test_a_page_holds_no_birth_date_and_no_reference() -> None:
    page = render(about(), [row()], (), UNKNOWN)
    assert "1980" not in page
    assert read(page).said["Second signature"] == "not needed"
    assert "custody record 7" not in page


# --- the command --------------------------------------------------------------------------------------------


class Shop:
    """The desk's folder: keys, trust store, images and a unit's one-time key."""

    def __init__(self, path: Path) -> None:
        self.path, self.office = path, Office()
        (path / "images").mkdir()
        save_identity(self.office[Role.WATCHLIST_OFFICER], path / "list.key")
        (path / "trust.json").write_bytes(self.office.trust_document())
        self.key = new_key(UNIT, DEPLOYMENT, SystemClock().now())
        (path / "unit.jws").write_bytes(sign_key(self.key, self.office[Role.UNIT]))
        other = new_key("unit-02", DEPLOYMENT, SystemClock().now())
        (path / "other.jws").write_bytes(sign_key(other, self.office.other_unit))
        said = certificate(
            model_pack_sha256=model_pack().sha256,
            issued_at=datetime(2026, 1, 2, tzinfo=UTC),
            floors=(floor(100, 0.6, 3e-4),),
            groups_tested=(group("a"),),
        )
        (path / "certificate.json").write_bytes(sign(CERTIFICATE, said, self.office[Role.EVALUATOR]))
        self.rows([{"image": "one.png"}, {"entry": "e2", "person": "p2", "image": "other.png"}])
        for name, file in (
            ("one.png", ENROLLED),
            ("same.png", ASSETS / WALKERS[SUBJECT]),
            ("other.png", ASSETS / WALKERS["passer-by-2"]),
        ):
            assert cv2.imwrite(str(path / "images" / name), portrait(file))

    def rows(self, rows: list[dict[str, str]]) -> None:
        with (self.path / "list.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(GOOD))
            writer.writeheader()
            writer.writerows(GOOD | TEST_SUBJECT | changes for changes in rows)

    def command(self, *options: str) -> list[str]:
        usual = "--images images --csv list.csv --trust trust.json --unit-key unit.jws --out street.edgelist"
        named = ["--deployment", DEPLOYMENT, "--root", self.office.root]
        return ["watchlist", "build", *usual.split(), *named, *options]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.edgeagent(*self.command(*options))

    def edgeagent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "edgeagent"]
        return subprocess.run(
            [*program, *arguments], cwd=self.path, capture_output=True, text=True, timeout=60, check=False
        )

    def names(self) -> set[str]:
        return {file.name for file in self.path.glob("street.edgelist*")}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_checked_then_built_then_opened_by_the_unit_alone_then_asked(shop: Shop) -> None:
    checked = shop.run("--check", "--page", "page.html", "--certificate", "certificate.json")
    assert checked.returncode == 0, checked.stderr
    assert shop.names() == {"street.edgelist.work"}
    assert (shop.path / "page.html").stat().st_mode & 0o777 == 0o600
    said = read((shop.path / "page.html").read_text()).said
    assert said["Expected false alerts"] == "unknown: no threshold was given"
    figures = ("--certificate", "certificate.json", "--threshold", "0.64")
    built = shop.run("--key", "list.key", "--unit-key", "other.jws", "--json", *figures)
    assert built.returncode == 0, built.stderr
    assert "going on: 2 images were enrolled before" in built.stderr
    assert "expected false alerts: at most 3 for each 10,000" in built.stderr
    told = json.loads(built.stdout)
    assert (told["entries"], told["counts"]) == (2, {"test_subject": 2})
    assert told["false_alerts_per_10000"] == pytest.approx(3.0)
    beside = {
        f"street.edgelist{suffix}" for suffix in ("", ".manifest.json", ".commitments.json", ".salt.json")
    }
    assert shop.names() == beside, "the work file is gone"
    save_key(shop.key, shop.path / "data")
    sealed = verify_watchlist(
        (shop.path / "street.edgelist").read_bytes(), shop.office.trust(), SystemClock().now()
    )
    lasts = sealed.manifest.not_after - sealed.manifest.not_before
    most = shop.office.limits.deployment_max_h
    assert lasts == timedelta(hours=most), "units of this profile take it"
    entries, templates = sealed.open(load_key(shop.path / "data", UNIT, DEPLOYMENT))
    assert [entry.entry for entry in entries] == ["e1", "e2"]
    assert len(templates) == 2
    assert {key.unit for key in sealed.manifest.sealed_keys} == {UNIT, "unit-02"}
    _ask(shop)


def _ask(shop: Shop) -> None:
    (shop.path / "street.edgelist").unlink()  # it is destroyed; the answer remains
    trust = ("--trust", "trust.json", "--root", shop.office.root)
    files = [
        option
        for name in ("manifest", "commitments", "salt")
        for option in (f"--{name}", f"street.edgelist.{name}.json")
    ]
    for person, present in (("p1", True), ("p3", False)):
        asked = shop.edgeagent("watchlist", "ask", person, *files, *trust, "--proof", "proof.json", "--json")
        assert json.loads(asked.stdout) == {"person": person, "deployment": DEPLOYMENT, "present": present}
        shown = shop.edgeagent("watchlist", "check-proof", "proof.json", *trust)
        assert shown.stdout.startswith(f"proved: {person} was {'' if present else 'NOT '}on this list")
    proof = json.loads((shop.path / "proof.json").read_text()) | {"present": True}
    (shop.path / "proof.json").write_text(json.dumps(proof))
    lie = shop.edgeagent("watchlist", "check-proof", "proof.json", *trust)
    assert (lie.returncode, lie.stdout) == (2, "")
    again = shop.run("--key", "list.key")
    assert again.returncode == 2
    assert "exists already [R31]" in again.stderr


def test_a_refused_list_still_has_its_page(shop: Shop) -> None:
    shop.rows([{"image": "one.png"}, {"entry": "e2", "person": "p2", "image": "same.png"}])
    told = shop.run("--key", "list.key", "--page", "page.html")
    assert told.returncode == 2
    assert "1 of 2 rows cannot be enrolled [R7]" in told.stderr
    said = read((shop.path / "page.html").read_text()).said
    assert "face of entry e1, another person" in said["e2"]
    assert shop.names() == {"street.edgelist.work"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "Missing option '--key'"),
        (("--key", "list.key", "--unit-key", "unit.jws"), "is a second key of unit-01"),
        (("--key", "list.key", "--unit-key", "certificate.json"), "edgeagent-deployment-key: is"),
        (("--key", "list.key", "--unit", "unit-01"), "No such option"),
        (("--check", "--hours", "99"), "SafeguardError: --hours: 99 h is longer than the profile's"),
        (("--check", "--hours", "99"), "[R6] — give "),
    ],
)
def test_orders_that_cannot_be_carried_out(options: tuple[str, ...], says: str, shop: Shop) -> None:
    told = shop.run(*options)
    assert told.returncode == 2
    assert says in told.stderr
    assert not (shop.path / "street.edgelist").exists()


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(shop: Shop) -> None:
    count = 200
    for n in range(count):
        (shop.path / "images" / f"{n}.png").hardlink_to(shop.path / "images" / "one.png")
    shop.rows([{"entry": f"e{n}", "image": f"{n}.png"} for n in range(count)])
    command = [sys.executable, "-m", "edgeagent", *shop.command("--key", "list.key")]
    process = subprocess.Popen(
        command, cwd=shop.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    work = shop.path / "street.edgelist.work"
    until = time.monotonic() + 30
    while not (work.exists() and work.stat().st_size > 5000) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    kept = re.search(r"(\d+) of 200 are kept", said)
    assert kept is not None
    assert 0 < int(kept[1]) < count
    assert work.stat().st_mode & 0o777 == 0o600
    done = shop.run("--key", "list.key")
    assert done.returncode == 0, done.stderr
    assert f"going on: {kept[1]} images" in done.stderr
    assert not work.exists()
