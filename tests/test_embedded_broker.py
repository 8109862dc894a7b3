from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeagent.demo import broker as embedded
from edgeagent.demo.amqtt_child import allowed
from edgeagent.demo.broker import Kind, find_mosquitto, start_broker
from edgeagent.demo.mosquitto_conf import access_list, configuration
from edgeagent.errors import BrokerError, KeyFileError
from edgeagent.system.certificates import Certificate, issue, make_authority
from tests.broker_tools import Broker, require, wait_for

pytest_plugins = ["tests.broker_fixtures"]

KINDS: list[Kind] = ["mosquitto", "amqtt"]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_says_what_it_is_and_what_it_cannot_do(any_broker: Broker) -> None:
    running = any_broker.running
    assert running.name.split()[0] == running.kind
    assert running.name.split()[1][0].isdigit()
    assert bool(running.limits) == (running.kind == "amqtt")


def test_it_listens_on_loopback_only(any_broker: Broker) -> None:
    port = f":{any_broker.running.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    sockets = [line.split() for line in lines]
    listening = [fields[1] for fields in sockets if fields[3] == "0A" and fields[1].endswith(port)]
    assert listening == [f"0100007F{port}"]


def test_it_ends_and_starts_again_on_the_same_port(any_broker: Broker) -> None:
    running = any_broker.running
    port, first = running.port, running.pid
    assert first is not None
    running.stop()
    assert (running.pid, _alive(first)) == (None, False)
    running.start()
    assert running.port == port
    assert running.pid not in (None, first)


def test_a_frozen_broker_can_still_be_stopped(any_broker: Broker) -> None:
    pid = any_broker.running.pid
    assert pid is not None
    any_broker.running.freeze()
    began = time.monotonic()
    any_broker.running.stop()
    assert time.monotonic() - began < 4.0
    assert not _alive(pid)


@pytest.mark.parametrize("kind", KINDS)
def test_it_dies_with_the_process_that_started_it(tmp_path: Path, kind: Kind) -> None:
    require(kind)
    script = (
        "import sys, time\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from edgeagent.demo.broker import start_broker\n"
        "b = start_broker(Path(sys.argv[1]), now=datetime.now(UTC), kind=sys.argv[2])\n"
        "print(b.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "b"), kind],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(5.0)
        ended = wait_for(lambda: not _alive(pid))
        if not ended:
            os.kill(pid, signal.SIGKILL)
        assert ended


def test_a_broker_that_cannot_start_points_to_its_log(tmp_path: Path) -> None:
    require("mosquitto")
    with (
        start_broker(tmp_path / "one", now=datetime.now(UTC), kind="mosquitto") as first,
        pytest.raises(BrokerError, match=r"broker\.log"),
    ):
        start_broker(tmp_path / "two", now=datetime.now(UTC), kind="mosquitto", port=first.port)
    assert "Address already in use" in (tmp_path / "two" / "broker.log").read_text()


def test_a_folder_is_not_used_twice(tmp_path: Path) -> None:
    require("amqtt")
    start_broker(tmp_path, now=datetime.now(UTC), kind="amqtt").stop()
    with pytest.raises(KeyFileError, match="not overwritten"):
        start_broker(tmp_path, now=datetime.now(UTC), kind="amqtt")


def test_without_any_broker_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_mosquitto", lambda: None)
    with pytest.raises(BrokerError, match="Install Mosquitto"):
        start_broker(tmp_path, now=datetime.now(UTC), kind="mosquitto")


def test_a_mosquitto_unpacked_beside_the_environment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_mosquitto()
    if real is None:
        pytest.skip("mosquitto is not installed")
    program = tmp_path / "mosquitto" / "usr" / "sbin" / "mosquitto"
    program.parent.mkdir(parents=True)
    shutil.copy(real, program)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _name: str(program))
    assert find_mosquitto() == program
    (tmp_path / "mosquitto" / "usr" / "lib" / "some-linux-gnu").mkdir(parents=True)
    with start_broker(tmp_path / "b", now=datetime.now(UTC)) as broker:
        assert broker.kind == "mosquitto"
        environment = Path(f"/proc/{broker.pid}/environ").read_bytes()
        assert f"LD_LIBRARY_PATH={tmp_path}/mosquitto/usr/lib/some-linux-gnu".encode() in environment


def test_every_client_must_show_a_certificate_and_nothing_is_kept() -> None:
    files = Certificate(Path("s.crt"), Path("s.key"), Path("ca.crt"))
    lines = configuration(1, files, Path("acl"), max_message=9, as_root=False).splitlines()
    for line in (
        "require_certificate true",
        "allow_anonymous false",
        "tls_version tlsv1.3",
        "persistence false",
    ):
        assert line in lines
    assert lines.index("listener 1 127.0.0.1") < lines.index("acl_file acl")
    assert not any(line.startswith("user ") for line in lines)
    assert "user root" in configuration(1, files, Path("acl"), max_message=9, as_root=True).splitlines()


@pytest.mark.parametrize(
    ("name", "topic", "write", "read"),
    [
        ("unit-a", "lfr/v1/unit-a/alert", True, False),
        ("unit-a", "lfr-bench/v1/unit-a/alert", True, False),
        ("unit-a", "lfr/v1/unit-a/lease", False, True),
        ("unit-a", "lfr/v1/unit-b/alert", False, False),
        ("unit-a", "lfr/v1/unit-b/lease", False, False),
        ("unit-a", "lfr/v1/+/lease", False, False),
        ("unit-a", "#", False, False),
        ("control-room", "lfr/v1/unit-a/alert", False, True),
        ("control-room", "lfr/v1/+/alert", False, True),
        ("control-room", "lfr/v1/unit-a/receipt", True, False),
        ("control-room", "lfr/v1/unit-a/revocation", True, True),
        ("control-room", "lfr/v1/unit-a/lease", False, False),
        ("lease-desk", "lfr/v1/unit-a/lease", True, False),
        ("lease-desk", "lfr/v1/+/state", False, True),
        ("lease-desk", "lfr/v1/unit-a/alert", False, False),
        ("lease-desk", "lfr/v1/unit-a/receipt", False, False),
        ("control-room", "#", False, False),
        ("", "lfr/v1/unit-a/alert", False, False),
    ],
)
def test_amqtt_applies_the_access_list(name: str, topic: str, write: bool, read: bool) -> None:
    require("amqtt")
    assert (allowed(name, topic, write=True), allowed(name, topic, write=False)) == (write, read)


def test_the_access_list_grants_no_wildcard_to_a_unit() -> None:
    grants = [line for line in access_list().splitlines() if line.startswith("pattern")]
    assert len(grants) == 16
    assert all("/%u/" in line and "+" not in line and "#" not in line for line in grants)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_mosquitto_runs_for_an_ordinary_user_too() -> None:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    nobody, now = 65534, datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), _free_port()
        make_authority(folder, "test-authority", now=now)
        server = issue(folder, "broker", server=True, hosts=("127.0.0.1",), days=2, now=now)
        (folder / "acl").write_text(access_list())
        text = configuration(port, server, folder / "acl", max_message=9, as_root=False)
        (folder / "conf").write_text(text)
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody, nobody)
        command = [str(program), "-c", str(folder / "conf")]
        with subprocess.Popen(command, user=nobody, group=nobody, stderr=subprocess.DEVNULL) as child:
            try:
                assert wait_for(lambda: _answers(port))
            finally:
                child.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False
