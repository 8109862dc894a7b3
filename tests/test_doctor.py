"""`edgeagent doctor`: what a technician is told on the phone, as a table and as JSON."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.agent import doctor_papers as papers
from edgeagent.agent.doctor import examine
from edgeagent.agent.doctor_finding import Finding, State, attempt
from edgeagent.agent.enrol_state import FOLDER, Stage, write_state
from edgeagent.agent.enrol_state import State as Enrolment
from edgeagent.documents.deployment_key import key_file
from edgeagent.documents.jws import sign_general
from edgeagent.documents.keys import Role
from edgeagent.documents.trust import TYP
from edgeagent.documents.watchlist_file import SealedWatchlist
from edgeagent.safeguards.instant import Instant
from edgeagent.system.enrol_keys import Kept
from edgeagent.system.modelpack import default_pack_folder, load_pack
from edgeagent.system.selftest import SelfTestReport, self_test
from tests.bench_unit import CLOCK, DEPLOYMENT, STRANGE_SEED, UNIT, Bench, Office, make_bench
from tests.test_doctor_boards import with_camera

pytest_plugins = ["tests.bench_fixtures"]

SUBJECTS = [
    "board",
    "clock",
    "battery clock",
    "temperature",
    "throttling",
    "power",
    "storage wear",
    "swap",
    "core dumps",
    "configuration",
    "enrolment",
    "TPM",
    "storage",
    "models",
    "accelerator",
    "camera",
    "certificate",
    "broker",
    "unit's key",
    "trust store",
    "authority and list",
    "lease",
    "service",
]
OF_THE_UNIT = SUBJECTS[SUBJECTS.index("configuration") : SUBJECTS.index("lease")]


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


@pytest.fixture(autouse=True)
def _one_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks are tried once in this process; the command itself tries them each time."""
    monkeypatch.setattr("edgeagent.agent.doctor.self_test", lambda _: _report())


@functools.cache
def _report() -> SelfTestReport:
    return self_test(load_pack(default_pack_folder()))


def _command(bench: Bench) -> tuple[int, dict[str, dict[str, Any]]]:
    done = bench.run_command("doctor", "--config", "unit.toml", "--json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {finding["subject"]: finding for finding in json.loads(done.stdout)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name != "broker.log")


def test_a_healthy_unit(healthy: Bench) -> None:
    files = _files(healthy.path)
    code, findings = _command(healthy)
    assert code == 0, findings
    assert list(findings) == SUBJECTS
    states = {subject: findings[subject]["state"] for subject in OF_THE_UNIT}
    assert states.pop("unit's key") == "look", "the office's keys are made for 30 days"
    assert set(states.values()) == {"ok"}, findings
    assert findings["authority and list"]["text"].startswith("bench bench-street, 1 entries, until 20")
    assert "profile test force 2031" in findings["trust store"]["text"]
    assert findings["unit's key"]["text"] == "trust store: this unit's key ends in 30 days"
    assert "operators" in findings["accelerator"]["text"]
    assert files == _files(healthy.path), "an examination leaves nothing behind"


def test_the_table_for_a_person(healthy: Bench) -> None:
    done = healthy.run_command("doctor", "--config", "unit.toml")
    assert done.returncode == 0, done.stdout
    for subject in SUBJECTS:
        assert re.search(rf"^(ok|look|\?) +{subject} +\S", done.stdout, re.MULTILINE), done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout, "colours belong on a terminal only"


@pytest.mark.parametrize("synchronised", [True, False])
def test_the_clock(synchronised: bool, healthy: Bench) -> None:
    finding = examine(healthy.config, FixedClock(synchronised=synchronised))[1]
    assert finding.subject == "clock"
    assert finding.state == (State.OK if synchronised else State.LOOK)
    assert ("compare with your watch" in finding.next_step) is not synchronised


def _broken(healthy: Bench, subject: str, *, others_good: bool = True) -> Finding:
    """The one finding that is bad; the rest of the examination goes on."""
    findings = {finding.subject: finding for finding in examine(healthy.config, CLOCK)}
    assert list(findings) == SUBJECTS
    bad = [name for name, finding in findings.items() if finding.state is State.BROKEN]
    assert subject in bad
    assert not others_good or bad == [subject], findings
    assert findings[subject].next_step, "no next step"
    return findings[subject]


def test_a_broker_that_is_off(healthy: Bench) -> None:
    healthy.broker.running.stop()
    try:
        bad = _broken(healthy, "broker")
        assert (
            f"127.0.0.1:{healthy.broker.running.port}: cannot be reached with TLS: Connection refused"
            in bad.text
        )
        assert bad.next_step.startswith("check cable, modem, broker")
        done = healthy.run_command("doctor", "--config", "unit.toml")
        assert done.returncode == 1
        assert re.search(r"^BROKEN broker .*\n( +[^→]+\n)* +→ check cable, modem,", done.stdout, re.MULTILINE)
    finally:
        healthy.broker.running.start()


def test_a_broker_that_hangs(healthy: Bench) -> None:
    """It answers the network and nothing else: a plain connection would take it for well."""
    healthy.broker.running.freeze()
    try:
        assert "cannot be reached with TLS" in _broken(healthy, "broker").text
    finally:
        healthy.broker.running.thaw()


def test_an_authority_that_is_missing(healthy: Bench) -> None:
    kept = healthy.authority_file.read_bytes()
    healthy.authority_file.unlink()
    try:
        bad = _broken(healthy, "authority and list")
        assert "authority.json: cannot be read" in bad.text
        assert bad.next_step == "put the file there, readable"
    finally:
        healthy.authority_file.write_bytes(kept)


def test_a_strangers_trust_store(healthy: Bench) -> None:
    file = healthy.path / "trust.json"
    kept = file.read_bytes()
    file.write_bytes(Office(seed=STRANGE_SEED).trust_document())
    try:
        bad = _broken(healthy, "trust store", others_good=False)
        assert "compare trust.root with the thumbprint" in bad.next_step
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize(
    ("line", "changed", "subject", "said"),
    [
        ('folder = "data"', 'folder = "no/such/folder"', "storage", "does not exist"),
        ("certificate = ", 'certificate = "nothing.crt" #', "certificate", "nothing.crt"),
        ("source = ", 'source = "v4l2:/dev/video99" #', "camera", "/dev/video99: is not there"),
        ('key = "unit.key"', 'key = "desk.key"', "unit's key", "not of unit unit-01"),
    ],
)
def test_each_part_that_is_wrong(line: str, changed: str, subject: str, said: str, healthy: Bench) -> None:
    kept = healthy.config.read_text()
    healthy.config.write_text(kept.replace(line, changed, 1))
    try:
        assert said in _broken(healthy, subject, others_good=False).text
    finally:
        healthy.config.write_text(kept)


def test_without_a_configuration_the_machine_is_still_examined(tmp_path: Path) -> None:
    findings = {finding.subject: finding for finding in examine(tmp_path / "none.toml", CLOCK)}
    assert list(findings) == SUBJECTS
    assert findings["configuration"].state == State.BROKEN
    assert "none.toml: cannot be read" in findings["configuration"].text
    assert findings["models"].state == State.OK
    assert findings["camera"].state == State.UNKNOWN


def test_the_list_is_not_opened(healthy: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: its templates would lie in the memory of a program that nobody locks; only the daemon opens it."""

    def opened(*_: object) -> None:
        pytest.fail("the list was opened")

    monkeypatch.setattr(SealedWatchlist, "open", opened)
    monkeypatch.setattr("edgeagent.agent.deployment.Gallery", opened)
    findings = {finding.subject: finding for finding in examine(healthy.config, CLOCK)}
    assert findings["authority and list"].state == State.OK


WATCHED = """
import sys
from pathlib import Path
from edgeagent.agent.doctor import examine
from edgeagent.system.clock import SystemClock

opened = []
sys.addaudithook(lambda event, said: opened.append(str(said[0])) if event == "open" else None)
findings = examine(Path("unit.toml"), SystemClock(), root=Path(sys.argv[1]), ask=lambda: None)
assert len(opened) > 10, opened
assert not [name for name in opened if "video0" in name and "sys/class" not in name], opened
print(next(finding.text for finding in findings if finding.subject == "camera"))
"""


def test_no_camera_is_opened(healthy: Bench, tmp_path: Path) -> None:
    """R16: not under a valid authority either, since there is no lease."""
    kept = healthy.config.read_text()
    healthy.config.write_text(re.sub('scene:[^"]*', "v4l2:/dev/video0", kept))
    root = with_camera(tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, root],
            cwd=healthy.path,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        healthy.config.write_text(kept)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/dev/video0: anybody may open it"), done.stdout


def test_a_list_that_was_changed(healthy: Bench) -> None:
    whole = healthy.watchlist_file.read_bytes()
    healthy.watchlist_file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert "is not the list that the authority names" in _broken(healthy, "authority and list").text
    finally:
        healthy.watchlist_file.write_bytes(whole)


def test_a_key_for_another_deployment(healthy: Bench) -> None:
    file = key_file(healthy.data, DEPLOYMENT)
    kept = file.read_bytes()
    file.unlink()
    try:
        bad = _broken(healthy, "authority and list")
        assert "there is no one-time key for this deployment" in bad.text
        assert bad.next_step.startswith("edgeagent keys deployment")
    finally:
        file.write_bytes(kept)
        file.chmod(0o600)


@pytest.mark.parametrize(
    ("stage", "state", "next_step"),
    [
        (Stage.DRAFTING, State.LOOK, "edgeagent enrol begin"),
        (Stage.REQUESTED, State.LOOK, "edgeagent enrol status shows the code to read out"),
        (Stage.INSTALLING, State.BROKEN, "run edgeagent enrol finish again, with the same files"),
        (Stage.ENROLLED, State.OK, ""),
    ],
)
def test_how_far_the_enrolment_came(stage: Stage, state: State, next_step: str, tmp_path: Path) -> None:
    there = Enrolment(
        stage=stage, number=2, token_id="ab" * 32, broker="broker.example:8883", kept=Kept.FILE, request=None
    )
    (tmp_path / FOLDER).mkdir()
    write_state(tmp_path / FOLDER, there)
    finding = attempt("enrolment", lambda: papers.enrolment(tmp_path / "edgeagent.toml"))
    assert (finding.state, finding.next_step) == (state, next_step)


def test_sealed_keys_are_not_called_missing(healthy: Bench) -> None:
    kept = healthy.config.read_text()
    sealed = kept.replace('key = "unit.key"', 'key = "/run/credentials/edgeagent.service/unit.key"', 1)
    healthy.config.write_text(sealed)
    try:
        findings = {finding.subject: finding for finding in examine(healthy.config, CLOCK)}
    finally:
        healthy.config.write_text(kept)
    for subject in ("broker", "unit's key", "authority and list"):
        assert findings[subject].state is State.UNKNOWN
        assert findings[subject].next_step == "systemctl start edgeagent, then ask again"
    assert findings["trust store"].state is State.OK


def test_a_unit_without_its_key_is_told_to_enrol(healthy: Bench) -> None:
    kept = healthy.config.read_text()
    healthy.config.write_text(kept.replace('key = "unit.key"', 'key = "none.key"', 1))
    try:
        bad = _broken(healthy, "unit's key")
        assert bad.next_step == "edgeagent enrol status says what to do next"
    finally:
        healthy.config.write_text(kept)


def test_a_unit_that_was_struck_off(healthy: Bench) -> None:
    file = healthy.path / "trust.json"
    kept = file.read_bytes()
    content = healthy.office.trust().content
    mine = [key for key in content.keys if key.name != UNIT]
    struck = content.model_copy(update={"keys": tuple(mine), "sequence": content.sequence + 1})
    file.write_bytes(sign_general(struck.model_dump_json().encode(), TYP, healthy.office[Role.ROOT].signing))
    try:
        assert "not in the trust store" in _broken(healthy, "unit's key", others_good=False).text
    finally:
        file.write_bytes(kept)
