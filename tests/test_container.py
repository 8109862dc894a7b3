"""A unit in a container with its own systemd: deployed over SSH, its sandbox attacked from inside.

The rest, which takes minutes, is `make test-container`.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeagent.demo.broker import find_mosquitto
from edgeagent.system.certificates import issue
from tests.bench_unit import UNIT
from tests.container.fixtures import PROBE, Unit, make_unit
from tests.container.machine import DESK, wait_until
from tests.container.probe import ALLOWED, ATTEMPTS

pytestmark = pytest.mark.timeout(600)  # the first test's fixture may build root and package
EXPOSURE_MOST = 1.0
REFUSALS = {
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "No such file or directory",
    "Address family not supported by protocol",
    "none is seen",
}
POSSIBLE_FOR_ROOT = (
    "write /etc",
    "write /usr",
    "write the program",
    "write its configuration",
    "read /home",
    "read /root",
    "read the sealed keys",
    "read the machine's own key",
    "internet socket",
    "packet socket",
    "netlink socket",
    "mount",
    "new namespace",
    "make a set-user-id file",
    "other processes",
    "memory that is written and run",
)
"""What a program of root in this container can do: there, the sandbox alone refuses it."""


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    yield from make_unit(tmp_path_factory.mktemp("unit"))


def test_a_unit_is_deployed_to_over_ssh_and_is_ready(unit: Unit) -> None:
    assert "READY in" in unit.first
    assert "program: none → " in unit.first
    assert unit.ready()
    assert unit.release() in unit.first


def test_the_daemon_in_its_sandbox_speaks_to_its_broker(unit: Unit) -> None:
    """TLS 1.3 with its certificate, through the forwarder and the packet filter: its signed state arrives."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    with broker(program, unit.technician.folder, unit.machine.desk_net) as log:
        unit.machine.run("systemctl", "restart", "edgeagent.service")
        wait_until(lambda: "/state'" in log.read_text(), 180, f"a state of the unit in {log}")
        connected = [line for line in log.read_text().splitlines() if "New client connected" in line]
        assert any(f" as {UNIT}." in line and f"u'{UNIT}'" in line for line in connected), connected
    unit.settled()


def test_a_second_deployment_changes_nothing_and_disturbs_nothing(unit: Unit) -> None:
    before = unit.machine.shown("edgeagent.service", "MainPID")
    assert "nothing to change" in unit.deploy()
    assert unit.machine.shown("edgeagent.service", "MainPID") == before


def test_the_exposure_that_systemd_counts_is_at_most_one(unit: Unit) -> None:
    for service in ("edgeagent.service", "edgeagent-broker.service"):
        said = unit.machine.run("systemd-analyze", "security", "--no-pager", service).stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found is not None
        assert float(found.group(1)) <= EXPOSURE_MOST + (0.5 if "broker" in service else 0), said[-300:]


def test_the_daemon_comes_after_the_clock_but_waits_for_it_at_most_half_a_minute(unit: Unit) -> None:
    shown = unit.machine.shown
    assert "time-sync.target" in shown("edgeagent.service", "After").split()
    assert shown("systemd-time-wait-sync.service", "TimeoutStartUSec") == "30s"


def test_the_time_service_reads_the_servers_of_this_unit(unit: Unit) -> None:
    read = unit.machine.run("systemd-analyze", "cat-config", "systemd/timesyncd.conf").stdout
    assert "NTP=\nNTP=192.0.2.5\nFallbackNTP=" in read
    file = "/run/systemd/timesyncd.conf.d/edgeagent.conf"
    said = unit.machine.run("runuser", "-u", "systemd-timesync", "--", "cat", file).stdout
    assert "NTP=192.0.2.5" in said  # as the user that the time service is


def test_nothing_that_is_tried_from_inside_the_sandbox_succeeds(unit: Unit) -> None:
    root = unit.machine.root
    (root / "home/technician").mkdir(exist_ok=True)
    for secret in ("home/technician/secret", "root/secret"):
        (root / secret).write_text("secret")
        (root / secret).chmod(0o644)
    found = unit.probe()
    for attempt in ATTEMPTS:
        assert found[attempt] in REFUSALS, f"{attempt}: {found[attempt]}"
    assert {attempt: found[attempt] for attempt in ALLOWED} == dict.fromkeys(ALLOWED, "done")


def test_the_same_attempts_succeed_outside_the_sandbox(unit: Unit) -> None:
    """Otherwise the container would refuse them, and the test above would show nothing."""
    (unit.machine.root / "usr/local/share/probe.py").write_bytes(PROBE.read_bytes())
    said = unit.machine.run("/usr/bin/python3", "-I", "/usr/local/share/probe.py", *POSSIBLE_FOR_ROOT).stdout
    found = json.loads(said.removeprefix("PROBE "))
    assert found == dict.fromkeys(POSSIBLE_FOR_ROOT, "done")


def test_nobody_else_reads_the_units_keys(unit: Unit) -> None:
    run = unit.machine.run
    key = "/run/credentials/edgeagent.service/unit.key"
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat")
    for path in (key, "/etc/edgeagent/credentials/unit.key", "/var/lib/systemd/credential.secret"):
        done = run(*as_nobody, path, check=False)
        assert done.returncode != 0, path
        assert "Permission denied" in done.stderr, path
    # Another service that asks for the sealed file under a name of its own does not get it opened.
    options = ("-p", "LoadCredentialEncrypted=other:/etc/edgeagent/credentials/unit.key", "--wait", "-q")
    assert run("systemd-run", *options, "true", check=False).returncode != 0
    sealed = (unit.machine.root / "etc/edgeagent/credentials/unit.key").read_bytes()
    assert b"sign_d" not in sealed


def test_no_private_key_is_left_open_on_the_card(unit: Unit) -> None:
    done = unit.machine.run(
        "grep",
        "-rlE",
        "sign_d|BEGIN (EC )?PRIVATE KEY",
        "/etc/edgeagent",
        "/var/lib/edgeagent",
        "/root",
        check=False,
    )
    assert done.stdout == ""


def test_the_journal_of_the_daemon_can_be_asked_by_field(unit: Unit) -> None:
    """docs/journal.md: each line says what it is about, as fields that a program can match."""
    unit.machine.run("systemctl", "restart", "edgeagent.service")
    unit.settled()
    ask = ("journalctl", "-u", "edgeagent.service", "-b", "-o", "json", "--no-pager", "-q")
    wait_until(
        lambda: unit.machine.run(*ask, "EDGEAGENT_EVENT=broker").stdout != "", 60, "word of the broker"
    )
    rows = [json.loads(row) for row in unit.machine.run(*ask, "EDGEAGENT_EVENT=broker").stdout.splitlines()]
    for row in rows:
        assert row["MESSAGE"].startswith("broker: ")
        named = (row["PRIORITY"], row["SYSLOG_IDENTIFIER"], row["_SYSTEMD_UNIT"], row["_TRANSPORT"])
        assert named == ("6", "edgeagent", "edgeagent.service", "journal")
    for folder, there in (("/run/log/journal", True), ("/var/log/journal", False)):
        said = unit.machine.run(*ask, "-D", folder, "EDGEAGENT_EVENT=broker", check=False).stdout
        assert (said != "") is there, f"{folder}: no log outlives a power cut"


def test_a_collector_of_another_user_reads_the_health_numbers(unit: Unit) -> None:
    numbers = "/run/edgeagent/health.prom"
    reading = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat", numbers)
    wait_until(lambda: unit.machine.run(*reading, check=False).returncode == 0, 60, numbers)
    assert "\nedgeagent_" in unit.machine.run(*reading).stdout


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_comes_back(unit: Unit) -> None:
    pid = unit.machine.shown("edgeagent.service", "MainPID")
    unit.machine.run("kill", "-STOP", pid)
    wait_until(
        lambda: unit.machine.shown("edgeagent.service", "MainPID") not in (pid, "0"), 120, "a new process"
    )
    wait_until(unit.ready, 120, "READY")
    assert int(unit.machine.shown("edgeagent.service", "NRestarts")) >= 1
    said = unit.machine.run("journalctl", "-u", "edgeagent.service", "-o", "cat", "--no-pager").stdout
    assert "Watchdog timeout" in said


def test_a_daemon_that_crashes_again_and_again_stays_down_and_says_so(unit: Unit) -> None:
    run, shown = unit.machine.run, unit.machine.shown
    run("systemctl", "reset-failed", "edgeagent.service", check=False)
    run(
        "systemctl", "restart", "edgeagent.service"
    )  # counting begins at 0: a test before this one had a restart
    try:
        until = time.monotonic() + 300
        while shown("edgeagent.service", "ActiveState") != "failed":
            assert time.monotonic() < until
            run("systemctl", "kill", "-s", "KILL", "edgeagent.service", check=False)
            time.sleep(0.5)
        assert int(shown("edgeagent.service", "NRestarts")) <= 5
        said = unit.technician.run("status", code=1)
        assert "failed" in said
    finally:
        run("systemctl", "reset-failed", "edgeagent.service")
        run("systemctl", "restart", "edgeagent.service")


@contextmanager
def broker(program: Path, desk: Path, net: str) -> Iterator[Path]:
    """Mosquitto at the name that the unit's configuration has, on the desk's network; its log."""
    server = issue(desk / "ca", "broker", server=True, hosts=("broker.test",), days=30, now=datetime.now(UTC))
    folder = desk / "broker"
    folder.mkdir()
    log, conf = folder / "log", folder / "mosquitto.conf"
    log.touch()
    conf.write_text(
        f"user root\nlog_dest file {log}\nlog_type all\nlistener 8883 {DESK}\ncafile {server.authority}\n"
        f"certfile {server.cert}\nkeyfile {server.key}\ntls_version tlsv1.3\n"
        "require_certificate true\nuse_identity_as_username true\n"
    )
    with subprocess.Popen(["ip", "netns", "exec", net, str(program), "-c", str(conf)]) as process:
        try:
            yield log
        finally:
            process.terminate()
