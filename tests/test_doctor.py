"""`edgeagent doctor`: what a technician is told on the phone, as a table and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.agent.doctor import Verdict, examine
from edgeagent.safeguards.instant import Instant
from tests.bench_unit import CLOCK, STRANGE_SEED, Bench, Office, make_bench

pytest_plugins = ["tests.bench_fixtures"]

SUBJECTS = [
    "board",
    "clock",
    "memory",
    "models",
    "configuration",
    "storage",
    "camera",
    "certificate",
    "broker",
    "keys and trust",
    "authority and list",
]


class FixedClock:
    """A clock whose system vouches for it, or not."""

    def __init__(self, *, synchronised: bool) -> None:
        self._synchronised = synchronised

    def now(self) -> Instant:
        """The machine's time."""
        now = CLOCK.now()
        return Instant(now.monotonic_ns, now.wall, self._synchronised)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    for bench in make_bench(tmp_path_factory.mktemp("doctor")):
        bench.put()
        yield bench


def _findings(bench: Bench, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = bench.run_command("doctor", "--config", "unit.toml", "--json", *options)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {finding["subject"]: finding for finding in json.loads(done.stdout)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name != "broker.log")


def test_a_healthy_unit(healthy: Bench) -> None:
    files = _files(healthy.path)
    code, findings = _findings(healthy)
    assert code == 0, findings
    assert list(findings) == SUBJECTS
    assert {finding["verdict"] for finding in findings.values()} <= {"good", "note"}
    assert findings["authority and list"]["text"].startswith("bench bench-street, 1 entries, until 20")
    assert "profile test force 2031" in findings["keys and trust"]["text"]
    assert files == _files(healthy.path), "an examination leaves nothing behind"


def test_the_table_for_a_person(healthy: Bench) -> None:
    done = healthy.run_command("doctor", "--config", "unit.toml")
    assert done.returncode == 0, done.stdout
    for subject in SUBJECTS:
        assert re.search(rf"^ *(ok|note)  {subject} +\S", done.stdout, re.MULTILINE), done.stdout
    assert "\x1b" not in done.stdout, "colours belong on a terminal only"


@pytest.mark.parametrize("synchronised", [True, False])
def test_the_clock(synchronised: bool, healthy: Bench) -> None:
    finding = examine(healthy.config, FixedClock(synchronised=synchronised))[1]
    assert finding.subject == "clock"
    assert finding.verdict == (Verdict.GOOD if synchronised else Verdict.NOTE)
    assert ("compare with your watch" in finding.next_step) is not synchronised


def _broken(healthy: Bench, subject: str, *, others_good: bool = True) -> dict[str, Any]:
    """The one finding that is bad; the rest of the examination goes on."""
    code, findings = _findings(healthy)
    assert code == 1
    assert list(findings) == SUBJECTS
    bad = [name for name, finding in findings.items() if finding["verdict"] == "bad"]
    assert subject in bad
    assert not others_good or bad == [subject], findings
    assert findings[subject]["next_step"], "no next step"
    return findings[subject]


def test_a_broker_that_is_off(healthy: Bench) -> None:
    healthy.broker.running.stop()
    try:
        bad = _broken(healthy, "broker")
        assert (
            f"127.0.0.1:{healthy.broker.running.port}: cannot be reached with TLS: Connection refused"
            in bad["text"]
        )
        assert bad["next_step"].startswith("check cable, modem, broker")
        done = healthy.run_command("doctor", "--config", "unit.toml")
        assert done.returncode == 1
        assert re.search(r"^FAIL  broker .*\n +→ check cable, modem, broker", done.stdout, re.MULTILINE)
    finally:
        healthy.broker.running.start()


def test_a_broker_that_hangs(healthy: Bench) -> None:
    """It answers the network and nothing else: a plain connection would take it for well."""
    healthy.broker.running.freeze()
    try:
        assert "cannot be reached with TLS" in _broken(healthy, "broker")["text"]
    finally:
        healthy.broker.running.thaw()


def test_an_authority_that_is_missing(healthy: Bench) -> None:
    kept = healthy.authority_file.read_bytes()
    healthy.authority_file.unlink()
    try:
        bad = _broken(healthy, "authority and list")
        assert "authority.json: cannot be read" in bad["text"]
        assert bad["next_step"] == "put the file there, readable"
    finally:
        healthy.authority_file.write_bytes(kept)


def test_a_strangers_trust_store(healthy: Bench) -> None:
    file = healthy.path / "trust.json"
    kept = file.read_bytes()
    file.write_bytes(Office(seed=STRANGE_SEED).trust_document())
    try:
        bad = _broken(healthy, "keys and trust", others_good=False)
        assert "compare trust.root with the thumbprint" in bad["next_step"]
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize(
    ("line", "changed", "subject", "said"),
    [
        ('folder = "data"', 'folder = "no/such/folder"', "storage", "does not exist"),
        ("certificate = ", 'certificate = "nothing.crt" #', "certificate", "nothing.crt"),
        ("source = ", 'source = "v4l2:/dev/video99" #', "camera", "/dev/video99: is not there"),
        ('key = "unit.key"', 'key = "desk.key"', "keys and trust", "not of unit unit-01"),
    ],
)
def test_each_part_that_is_wrong(line: str, changed: str, subject: str, said: str, healthy: Bench) -> None:
    kept = healthy.config.read_text()
    healthy.config.write_text(kept.replace(line, changed, 1))
    try:
        assert said in _broken(healthy, subject, others_good=False)["text"]
    finally:
        healthy.config.write_text(kept)


def test_without_a_configuration_the_machine_is_still_examined(tmp_path: Path) -> None:
    findings = examine(tmp_path / "none.toml", CLOCK)
    assert [finding.subject for finding in findings] == SUBJECTS[:5]
    assert findings[4].verdict == Verdict.BAD
    assert "none.toml: cannot be read" in findings[4].text
