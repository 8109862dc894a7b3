"""`edgeagent certify` with real keys, from report.json to a certificate that is explained; and the demo's."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeagent.demo.papers import BENCH_FPIR, DATASET, REPORT
from edgeagent.documents.keys import Role, save_identity
from edgeagent.documents.table import CERTIFICATE, verify
from edgeagent.errors import SafeguardError
from edgeagent.evaluation.certify import Order, read_and_certify
from edgeagent.evaluation.report_model import Report
from edgeagent.safeguards.certificate import Certificate, fit_for_live
from edgeagent.system.clock import SystemClock
from tests.bench_unit import Office, model_pack
from tests.evaluation_reports import compared, group, report, row


class Evaluation:
    """An evaluator's folder: report, key, and the trust store of a force that trusts the evaluator."""

    def __init__(self, path: Path) -> None:
        self.path, self.office = path, Office()
        save_identity(self.office[Role.EVALUATOR], path / "evaluator.key")
        save_identity(self.office[Role.BENCH], path / "bench.key")
        (path / "trust.json").write_bytes(self.office.trust_document())
        self.report()

    def report(self, **changes: Any) -> None:
        (self.path / "report.json").write_text(report(**changes).model_dump_json(indent=1))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "edgeagent", *arguments]
        return subprocess.run(program, cwd=self.path, capture_output=True, text=True, timeout=60, check=False)

    def certify(self, *options: str, key: str = "evaluator.key") -> subprocess.CompletedProcess[str]:
        return self.run("certify", "report.json", "--evaluator", key, "--out", "certificate.json", *options)

    def certificate(self) -> Certificate:
        document = (self.path / "certificate.json").read_bytes()
        return verify(CERTIFICATE, document, self.office.trust(), SystemClock().now()).body


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return Evaluation(tmp_path)


def test_from_a_report_to_a_certificate_that_a_trust_store_accepts(evaluation: Evaluation) -> None:
    done = evaluation.certify("--volunteers", "--dataset", "Volunteers of 2031", "--valid-days", "30")
    assert done.returncode == 0, done.stderr
    assert (
        "lists up to 1000: threshold at least 0.6, FPIR at most 0.001 (0 of 4,000 people), TPIR 90.0% of 100"
        in (done.stdout)
    )
    assert done.stdout.splitlines()[-1] == "  live use: allowed at or above these thresholds"
    made = evaluation.certificate()
    content = (evaluation.path / "report.json").read_bytes()
    assert made.report_sha256 == hashlib.sha256(content).hexdigest()
    assert (made.dataset, made.people, made.machine) == ("Volunteers of 2031", 9000, "x86_64")
    assert made.expires_at - made.issued_at == timedelta(days=30)
    assert abs(made.issued_at - datetime.now(UTC)) < timedelta(minutes=1)
    shown = evaluation.run(
        *("documents", "verify", "certificate.json"),
        "--trust",
        "trust.json",
        "--root",
        evaluation.office.root,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    words = " ".join(shown.stdout.split())
    assert "threshold at least 0.6: a false alert for at most 0.1 % of those not listed (0 of 4,000" in words
    assert "longer lists not covered" in words
    assert "no significant difference found, at threshold 0.5: group a, group b" in words
    assert "group group a 0 of 500 people falsely matched: at most 0.74%" in words


def test_for_a_program(evaluation: Evaluation) -> None:
    evaluation.report(floors=(row(100, 0.5, 0, 4000), row(1000, 0.6, 0, 100)), main_gallery=100)
    done = evaluation.certify("--json")
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert told["sha256"] == hashlib.sha256((evaluation.path / told["file"]).read_bytes()).hexdigest()
    assert [one["entries"] for one in told["floors"]] == [100]
    assert len(told["not_covered"]) == 1
    assert told["not_for_live_use"] == "rests on people who are not attested as volunteers [R28]"


def test_a_promise_that_no_profile_allows_and_what_was_left_out_are_said(evaluation: Evaluation) -> None:
    evaluation.report(excluded=("anna/1.jpg", "anna/2.jpg"), seed=7)
    done = evaluation.certify("--volunteers", "--floor-fpir", "0.01")
    assert "left out by hand: 2 pictures of 1 people; seed 7" in done.stdout
    refused = "REFUSED: promises a false positive rate of at most 0.01; live use allows 0.001 [R18]"
    assert done.stdout.splitlines()[-1] == f"  live use: {refused}"


def test_a_difference_is_said_wherever_the_certificate_is_explained(evaluation: Evaluation) -> None:
    both = compared(group("a", 2000), group("b", 2000, errors=9), significant=("fpir",))
    evaluation.report(groups=both)
    done = evaluation.certify("--volunteers")
    said = "SIGNIFICANT DIFFERENCE in FPIR between a, b: worst for b"
    assert said in done.stdout
    assert "live use: REFUSED: the FPIR differs between groups, to the burden of b [R28]" in done.stdout
    shown = evaluation.run(
        *("documents", "verify", "certificate.json"),
        "--trust",
        "trust.json",
        "--root",
        evaluation.office.root,
    )
    assert said in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        (
            {"floors": (row(100, 0.5, 0, 3000),)},
            (),
            "SafeguardError: report.json: supports no floor at FPIR 0.001: lists of 100: 3,000 people were "
            "searched for while not enrolled; 688 more are needed (3,688 in all, with no false positive) "
            "[R18]",
        ),
        ({"floors": ()}, (), "supports no floor at FPIR 0.001: it has no searches [R18]"),
        ({}, ("--evaluator", "bench.key"), "KeyFileError: bench.key: is a bench key, not evaluator"),
        ({}, ("--evaluator", "none.key"), "KeyFileError: none.key: cannot be read"),
        ({}, ("--floor-fpir", "0"), "Invalid value for '--floor-fpir'"),
        ({}, ("--valid-days", "1097"), "Invalid value for '--valid-days'"),
        ({}, ("--dataset", ""), "makes no certificate: dataset: String should have at least 1 character"),
    ],
)
def test_what_is_refused_by_name(
    changes: dict[str, Any], options: tuple[str, ...], says: str, evaluation: Evaluation
) -> None:
    evaluation.report(**changes)
    done = evaluation.certify(*options)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (evaluation.path / "certificate.json").exists()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"format": "edgeagent-evaluation/2"}', "not JSON", "[" * 9000]
)
def test_what_is_no_report_is_refused_by_name(content: str, evaluation: Evaluation) -> None:
    (evaluation.path / "report.json").write_text(content)
    done = evaluation.certify()
    assert done.returncode == 2
    assert done.stderr.startswith("DocumentError: report.json: ")


# --- the demo's ---------------------------------------------------------------------------------------------


def demo_order(fpir: float) -> Order:
    return Order(fpir, DATASET, False, datetime.now(UTC), timedelta(days=1))


def test_the_demos_report_is_of_the_installed_model_pack() -> None:
    found = Report.model_validate_json(REPORT.read_bytes())
    assert found.model_pack_sha256 == model_pack().sha256, "run: make demo-report"


def test_the_demos_certificate_promises_what_three_people_can_show_and_nothing_for_live_use() -> None:
    made = read_and_certify(REPORT, demo_order(BENCH_FPIR)).certificate
    (floor,) = made.floors
    assert (floor.entries, floor.people, floor.falsely_matched, floor.sought) == (1, 3, 0, 1)
    assert (made.groups_tested, made.volunteers_attested) == ((), False)
    with pytest.raises(SafeguardError) as refusal:
        fit_for_live(made)
    assert refusal.value.rule == "R28"
    with pytest.raises(SafeguardError, match="3 people were searched for"):
        read_and_certify(REPORT, demo_order(0.70))  # 1 - 0.025^(1/3) is 0.7076
