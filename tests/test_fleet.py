"""A simulated fleet: every alert once at the control room whatever breaks, and nothing live ever (R33)."""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import edgeagent.fleet
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.topics import Topics
from edgeagent.cli.fleet import fleet as fleet_command
from edgeagent.cli.fleet import simulate
from edgeagent.cli.main import edgeagent as root
from edgeagent.controlroom.receiver import Receiver
from edgeagent.documents.jws import strict_json, unbase64url
from edgeagent.documents.keys import Identity, Role, new_identity
from edgeagent.documents.table import AUTHORITY, BENCH_AUTHORITY, sign
from edgeagent.documents.trust import TrustStore, open_trust_store
from edgeagent.errors import ConfigError, DocumentError, EdgeAgentError, KeyFileError, SafeguardError
from edgeagent.fleet.diary import OUTBOX, Diary, Fate, lost
from edgeagent.fleet.hits import BenchPaper, bench_alert
from edgeagent.fleet.names import CONTROL_ROOM, unit_name
from edgeagent.fleet.office import Office, packed, unpacked
from edgeagent.fleet.run import Fleet
from edgeagent.fleet.script import script, victims
from edgeagent.fleet.settings import Outage, Scenario, load_broker
from edgeagent.fleet.usage import percentile, usage
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock
from tests.broker_tools import Broker, wait_for
from tests.desk import raw_document

pytest_plugins = ["tests.broker_fixtures"]

FOLDER = Path(edgeagent.fleet.__file__).parent
MAY_BE_ASKED = {
    "--units",
    "--broker-config",
    "--seconds",
    "--hits-per-minute",
    "--all-at",
    "--outage",
    "--kill",
    "--state-every",
    "--per-process",
    "--seed",
    "--folder",
    "--json",
}
"""No key, no trust store, no authority, no topic, no name of a unit."""


def broker_config(broker: Broker, units: int, folder: Path) -> Path:
    for name in (CONTROL_ROOM, *map(unit_name, range(units))):
        certificate = broker.certificate(name)
    running = broker.running
    file = folder / "fleet.toml"
    file.write_text(
        f'[broker]\nhost = "{running.host}"\nports = [{running.port}]\nca = "{certificate.authority}"\n'
        f'certificates = "{certificate.cert.parent}"\npids = [{running.pid}]\n'
    )
    return file


# --- the whole --------------------------------------------------------------------------------------------


def test_every_alert_arrives_once_through_an_outage_and_a_kill(mosquitto: Broker, tmp_path: Path) -> None:
    """Ten units in two processes; the network is cut, a process is killed with SIGKILL."""
    config = broker_config(mosquitto, 10, tmp_path)
    command = [sys.executable, "-m", "edgeagent", "fleet", "simulate", "--broker-config", str(config)]
    options = "--units 10 --per-process 5 --seconds 4 --hits-per-minute 60 --state-every 1 --seed 3 --json"
    events = "--all-at 1 --outage 1:1 --kill 2.5"
    done = subprocess.run(
        [*command, *options.split(), *events.split()],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = json.loads(done.stdout)
    alerts = said["alerts"]
    assert said["processes"] == 2
    assert alerts["made"] >= 10
    assert alerts["made"] == alerts["received"] == alerts["at_control_room"]
    assert alerts["lost"] == alerts["pending"] == alerts["expired"] == alerts["displaced"] == 0
    assert said["capture_to_receipt_ms"]["count"] == alerts["at_control_room"]  # shown once each
    assert said["cost"]["broker"]["pss_mb"] > 0


def test_a_loss_is_seen_also_where_the_sums_agree(tmp_path: Path) -> None:
    """One alert vanished, another was both received and given up, as its receipt was late."""
    unit, room = tmp_path / "fleet-00001", tmp_path / "room.sqlite"
    unit.mkdir()
    with closing(sqlite3.connect(room)) as db, db:
        db.execute("CREATE TABLE received (alert TEXT)")
        db.executemany("INSERT INTO received VALUES (?)", [("arrived",), ("late",)])
    retry, rng = Backoff(1, 9), random.Random(1)
    with Outbox(unit / OUTBOX, capacity=9, in_flight_cap=9, retry=retry, rng=rng) as outbox:
        outbox.add("pending", b"m", 2.0, 1.0)
    diary = Diary(unit)
    diary.write(Fate.KEPT, "arrived", "late", "vanished", "pending", "displaced")
    diary.write(Fate.EXPIRED, "late")
    diary.write(Fate.DISPLACED, "displaced")
    assert lost([unit], room) == ["vanished"]


def test_ctrl_c_ends_everything(mosquitto: Broker, tmp_path: Path) -> None:
    """Between two steps, with the exit code of an interruption; no process and no folder is left."""
    config = broker_config(mosquitto, 2, tmp_path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgeagent",
            "fleet",
            "simulate",
            "--broker-config",
            str(config),
            "--units",
            "2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        assert wait_for(lambda: len(children.read_text().split()) == 2, 60)
        started = children.read_text().split()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert not list(temporary.iterdir())


def test_a_process_that_fails_is_named_with_its_reason(mosquitto: Broker, tmp_path: Path) -> None:
    """A unit's outbox is damaged: the simulation says which file."""
    broker = load_broker(broker_config(mosquitto, 1, tmp_path))
    (tmp_path / "fleet-00001").mkdir()
    (tmp_path / "fleet-00001" / "outbox.sqlite").write_bytes(b"no database" * 500)
    scenario = Scenario(units=1, seconds=5, hits_per_minute=60, seed=1)
    with (
        Fleet(scenario, broker, tmp_path, lambda what, share: None) as running,
        pytest.raises(EdgeAgentError, match="cannot be used as the outbox") as failed,
    ):
        running.start()
    assert "outbox.sqlite" in failed.value.where


# --- R33: nothing of it is ever live ------------------------------------------------------------------------


@pytest.fixture
def now() -> Instant:
    return SystemClock().now()


@pytest.fixture
def office(now: Instant) -> Office:
    return Office.new(2, now.wall)


@pytest.fixture
def trust(office: Office) -> TrustStore:
    return open_trust_store(office.trust(office.units), office.root.kid)


@pytest.fixture
def paper(office: Office, trust: TrustStore, now: Instant) -> BenchPaper:
    return BenchPaper.of(office.authority(office.units[:1]), trust, now)


def said_by(document: bytes) -> dict[str, Any]:
    """What an authority says."""
    said: dict[str, Any] = strict_json(unbase64url(strict_json(document)["payload"]))
    return said


def test_no_option_takes_a_key_a_document_a_topic_or_a_name() -> None:
    """R33."""
    assert {option for one in simulate.params for option in one.opts} == MAY_BE_ASKED
    assert list(fleet_command.commands) == ["simulate"]


def test_no_code_of_it_reads_a_key_or_names_a_live_topic() -> None:
    """R33: the only thing live that it knows is the state of live units, which ends the run."""
    for file in FOLDER.glob("*.py"):
        tree = ast.parse(file.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not {"load_identity", "LIVE_PREFIX", "AUTHORITY", "make_authority"} & (names | attributes)
        assert "LIVE" not in attributes
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            bench = [key.value for key in call.keywords if key.arg == "bench"]
            if isinstance(call.func, ast.Name) and call.func.id == "Topics":
                assert [ast.literal_eval(value) for value in bench] == [True], file.name
            live = [value for value in bench if not ast.literal_eval(value)]
            assert not live or (file.name == "desk.py" and ast.unparse(call.args[0]) == "'state'")


def test_a_live_authority_is_refused_by_its_type(office: Office, now: Instant) -> None:
    """R33: even one that the simulation's own trust store would believe."""
    officer = new_identity(Role.AUTHORISING_OFFICER, "an officer")
    known = open_trust_store(office.trust([*office.units, officer]), office.root.kid)
    body = Authority.model_validate_json(
        json.dumps(said_by(office.authority(office.units)) | {"kind": "live"})
    )
    with pytest.raises(DocumentError, match="not a edgeagent-bench-authority"):
        BenchPaper.of(sign(AUTHORITY, body, officer), known, now)


def test_a_bench_authority_that_says_live_is_refused(office: Office, trust: TrustStore, now: Instant) -> None:
    """R33."""
    content = said_by(office.authority(office.units)) | {"kind": "live"}
    document = raw_document(BENCH_AUTHORITY, json.dumps(content).encode(), office.bench)
    with pytest.raises(SafeguardError) as refused:
        BenchPaper.of(document, trust, now)
    assert refused.value.rule == "R33"


def test_only_simulated_units_that_the_authority_names_make_alerts(
    office: Office, paper: BenchPaper, now: Instant
) -> None:
    """R33."""
    bench_alert(office.units[0], paper, 1, now.wall, now)
    real = new_identity(Role.UNIT, "unit-07")
    for who in (real, office.units[1], replace(office.units[0], role=Role.CONTROL_ROOM)):
        with pytest.raises(SafeguardError) as refused:
            bench_alert(who, paper, 1, now.wall, now)
        assert refused.value.rule == "R33"
    live = replace(paper, authority=paper.authority.model_copy(update={"kind": Kind.LIVE}))
    with pytest.raises(SafeguardError, match="never a live one"):
        bench_alert(office.units[0], live, 1, now.wall, now)


@pytest.mark.parametrize(
    ("holder", "role"),
    [
        (new_identity(Role.UNIT, "unit-07"), Role.UNIT),
        (new_identity(Role.AUTHORISING_OFFICER, "fleet-00001"), Role.UNIT),
        (new_identity(Role.CONTROL_ROOM, "another desk"), Role.CONTROL_ROOM),
    ],
)
def test_nobody_else_gets_into_a_process_of_the_fleet(holder: Identity, role: Role) -> None:
    """R33."""
    with pytest.raises(SafeguardError) as refused:
        unpacked(packed(holder), role)
    assert refused.value.rule == "R33"


def test_no_control_room_believes_it_and_none_takes_it_on_a_live_topic(
    office: Office, paper: BenchPaper, trust: TrustStore, now: Instant, tmp_path: Path
) -> None:
    """R33: keys are new for each run, and the kind is signed inside."""
    sealed = bench_alert(office.units[0], paper, 1, now.wall, now)
    assert sealed.alert.kind is Kind.BENCH
    other = Office.new(2, now.wall)
    elsewhere = open_trust_store(other.trust(other.units), other.root.kid)
    bench, live = (Topics(office.units[0].name, bench=bench).alert for bench in (True, False))
    with Receiver(tmp_path / "other.sqlite", other.control_room, elsewhere) as receiver:
        for topic in (bench, live):
            with pytest.raises(DocumentError, match="not in the trust store"):
                receiver.take(topic, sealed.message, now)
    with Receiver(tmp_path / "own.sqlite", office.control_room, trust) as receiver:
        with pytest.raises(DocumentError, match="bench alert on a live topic"):
            receiver.take(live, sealed.message, now)
        assert receiver.take(bench, sealed.message, now).first


def test_a_live_unit_on_the_broker_ends_the_run(mosquitto: Broker, tmp_path: Path) -> None:
    """R33: whatever it says, and although nobody here could read it."""
    unit = mosquitto.connected_link("unit-07")
    unit.publish(Topics("unit-07", bench=False).state, b"a live unit's state", retain=True)
    broker = load_broker(broker_config(mosquitto, 1, tmp_path))
    scenario = Scenario(units=1, seconds=5, hits_per_minute=60, seed=1)
    with Fleet(scenario, broker, tmp_path, lambda what, share: None) as running:
        with pytest.raises(SafeguardError, match=r"a live unit \(unit-07\) uses this broker") as refused:
            running.start()
        assert refused.value.rule == "R33"
        assert not running.ledger.totals.made


# --- script, settings, errors -------------------------------------------------------------------------------

SCENARIO = Scenario(
    units=12, seconds=60, hits_per_minute=6, seed=5, all_at=(30.0,), kills=(10.0, 20.0), per_process=4
)


def test_the_script_follows_from_the_seed() -> None:
    again = replace(SCENARIO)
    assert script(again) == script(SCENARIO)
    assert victims(again) == victims(SCENARIO)
    assert script(replace(SCENARIO, seed=6)) != script(SCENARIO)
    hits = script(SCENARIO)
    assert sum(hit.at_s == 30.0 for hit in hits) == 12
    assert all(0 <= hit.at_s < 60 and 0 <= hit.unit < 12 for hit in hits)
    assert list(hits) == sorted(hits)
    assert 40 < len(hits) - 12 < 110  # about 72
    # More units change nothing for those that were there before.
    more = script(replace(SCENARIO, units=13))
    assert [hit for hit in more if hit.unit < 12] == list(hits)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"units": 0}, "units"),
        ({"units": 2501}, "units"),
        ({"per_process": 151}, "per-process"),
        ({"hits_per_minute": -1.0}, "hits-per-minute"),
        ({"all_at": (61.0,)}, "time of an event"),
        ({"outages": (Outage(-1.0, 2.0),)}, "time of an event"),
    ],
)
def test_an_impossible_scenario_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        replace(SCENARIO, **change)
    assert refused.value.where == named


def test_the_broker_file(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        '[broker]\nhost = "localhost"\nports = [1883, 1884]\nca = "ca.crt"\ncertificates = "tls"\n'
    )
    broker = load_broker(file)
    assert broker.ca == str(tmp_path / "ca.crt")
    assert broker.certificate("fleet-00001")[1] == tmp_path / "tls" / "fleet-00001.key"
    with pytest.raises(KeyFileError) as missing:
        Fleet(Scenario(units=1, seconds=1, hits_per_minute=1, seed=1), broker, tmp_path, lambda *_: None)
    assert missing.value.where == str(tmp_path / "ca.crt")
    for text, named in (
        ("", "is empty"),
        ('[broker]\nhost = "x"\n', "broker.ports"),
        ("[brok", "is not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError) as refused:
            load_broker(file)
        assert named in str(refused.value)


def test_a_broker_that_is_not_there_is_a_named_error(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = load_broker(broker_config(mosquitto, 1, tmp_path))
    mosquitto.running.stop()
    monkeypatch.setattr("edgeagent.fleet.run.START_S", 1.5)
    scenario = Scenario(units=1, seconds=5, hits_per_minute=60, seed=1)
    with (
        Fleet(scenario, broker, tmp_path, lambda what, share: None) as running,
        pytest.raises(EdgeAgentError, match="the control room cannot connect"),
    ):
        running.start()
    assert not any(child.running for child in running._children.values())


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    (tmp_path / "fleet.toml").write_text(
        '[broker]\nhost = "localhost"\nports = [1883]\nca = "a"\ncertificates = "b"\n'
    )
    options = ["simulate", "--units", "1", "--broker-config", str(tmp_path / "fleet.toml")]
    result = CliRunner().invoke(root, ["fleet", *options, "--folder", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "is not empty" in str(result.exception)


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    values = [float(n) for n in range(1, 101)]
    random.Random(1).shuffle(values)
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]


def test_usage_of_a_process_and_of_one_that_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert 0 < usage([process.pid]).rss_mb < 200
    finally:
        process.communicate(b"\n")
    assert usage([process.pid]).rss_mb == 0
