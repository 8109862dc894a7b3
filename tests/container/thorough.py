"""What takes minutes: `make test-container`. A failed deployment leaves the unit on its old version."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.container.fixtures import Unit, make_unit
from tests.container.machine import UNIT as ADDRESS
from tests.container.machine import wait_until
from tests.container.packages import program_file, variant
from tests.container.technician import new_ssh_key

pytestmark = pytest.mark.timeout(1800)
TARGET_S = 90.0
STEPS = range(1, 9)
FALLS_OVER = """self._tell("READY=1")
        import os, threading
        threading.Timer(2, os._exit, (9,)).start()"""
TOUCHING = range(4, 9)
"""Steps in which something on the unit's card changes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unit")


@pytest.fixture(scope="module")
def unit(folder: Path) -> Iterator[Unit]:
    yield from make_unit(folder)


@pytest.fixture(autouse=True)
def _as_usual(unit: Unit) -> None:
    """Each test begins with a daemon that is READY, on one release or the other."""
    unit.technician.configure(fps=15)
    unit.settled()


def other(unit: Unit, folder: Path) -> Path:
    """The release that does not run: this tree's, or one that differs from it in a comment.

    The unit keeps the one before; here it is removed, or nothing would be copied and unpacked.
    """
    keep = f"edgeagent-{unit.release()}"
    unit.machine.run("sh", "-c", f"cd /opt && ls -d edgeagent-* | grep -vxF {keep} | xargs -r rm -r")
    if unit.release().startswith("0.1.0+newer-"):
        return unit.package
    made = folder / "newer.deb"
    if made.exists():
        return made
    return variant(unit.package, folder, "newer", lambda home: change(home, "errors.py", "#"))


def change(home: Path, file: str, more: str) -> None:
    """Append to a file of the program."""
    with program_file(home, file).open("a") as program:
        program.write(f"\n{more}\n")


def killed_at(unit: Unit, package: Path, step: int) -> None:
    """Deploy, and kill everything of the desk when it says that the step begins."""
    with unit.technician.start("deploy", "--package", str(package)) as process:
        read_to(process, step)
        os.killpg(process.pid, signal.SIGKILL)


def read_to(process: subprocess.Popen[str], step: int) -> str:
    """What was said up to the beginning of a step."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith(f"[{step}/"):
            break
    return said


# --- going over ---------------------------------------------------------------------------------------------


def test_an_upgrade_goes_over_in_time_and_says_what_changed(unit: Unit, folder: Path) -> None:
    package, before = other(unit, folder), unit.release()
    unit.technician.configure(fps=10)
    began = time.monotonic()
    said = unit.deploy(package=package)
    took = time.monotonic() - began
    assert "edgeagent.toml: ~camera.fps" in said
    assert f"program: {before} → {unit.release()}" in said
    assert unit.ready()
    copied = re.search(r"copying ([\d.]+) of (\d+) MiB of program", said)
    assert copied is not None
    assert float(copied.group(1)) < 0.1 * int(copied.group(2)), "libraries that are there travelled again"
    print(f"upgrade took {took:.0f} s (target {TARGET_S:.0f}), load {os.getloadavg()[0]:.1f}")


def test_a_dry_run_changes_nothing(unit: Unit, folder: Path) -> None:
    before = unit.release()
    said = unit.deploy("--dry", package=other(unit, folder))
    assert "dry run" in said
    assert unit.release() == before
    assert "these would be removed" in unit.technician.run("undeploy", "--dry")
    assert unit.ready()


# --- refused before the switch ------------------------------------------------------------------------------


def test_a_configuration_that_is_wrong_is_refused_at_the_desk(unit: Unit) -> None:
    unit.technician.configure(fps=15, more="[camera2]\n")
    said = unit.technician.run("deploy", "--package", str(unit.package), code=2)
    assert "camera2" in said
    assert "connecting" not in said


def test_a_trust_store_of_others_is_refused_on_the_unit(unit: Unit) -> None:
    file = unit.technician.unit / "trust.json"
    good = file.read_bytes()
    file.write_bytes(good[:-40] + b"A" * 20 + good[-20:])
    try:
        said = unit.deploy(code=1)
    finally:
        file.write_bytes(good)
    assert "doctor: " in said
    assert "switching" not in said
    assert unit.ready()


def test_a_package_whose_self_test_fails_is_refused_on_the_unit(unit: Unit, folder: Path) -> None:
    def spoil(home: Path) -> None:
        pack = program_file(home, "models/embedder.tflite")
        pack.write_bytes(pack.read_bytes()[:-1] + b"\x01")

    said = unit.deploy(package=variant(unit.package, folder, "spoiled", spoil), code=1)
    assert "doctor: " in said
    assert "models" in said
    assert "switching" not in said
    assert unit.ready()


def test_a_filter_that_would_lock_us_out_is_refused_at_the_desk(unit: Unit) -> None:
    unit.technician.configure(fps=15, technicians="192.0.2.0/24")
    assert "you would be locked out" in unit.deploy(code=1)


def test_a_private_key_in_the_folder_is_refused(unit: Unit) -> None:
    key = unit.technician.unit / "unit.key"
    new_ssh_key(key)
    try:
        assert "made on the unit and never leave it" in unit.deploy(code=2)
    finally:
        key.unlink()
        key.with_suffix(".key.pub").unlink()


def test_a_path_at_which_there_is_no_key_is_refused_before_an_enrolled_unit_is_stopped(unit: Unit) -> None:
    file = unit.technician.unit / "edgeagent.toml"
    file.write_text(file.read_text().replace("edgeagent.service/tls.key", "edgeagent.service/unit-01.key"))
    pid = unit.machine.shown("edgeagent.service", "MainPID")
    said = unit.deploy(code=1)
    assert "broker.key = /run/credentials/edgeagent.service/unit-01.key" in said
    assert "/etc/edgeagent/credentials/tls.key (sealed)" in said
    assert "switching" not in said
    assert unit.machine.shown("edgeagent.service", "MainPID") == pid


def test_a_unit_that_goes_live_while_it_is_deployed_to_is_left_alone(unit: Unit, folder: Path) -> None:
    """A stand-in for the daemon, which says LIVE when it is told to; the switch looks at what is said."""
    package, before = other(unit, folder), unit.release()
    with stand_in(unit) as go_live:
        pid = unit.machine.shown("edgeagent.service", "MainPID")
        with unit.technician.start("deploy", "--package", str(package)) as process:
            said = read_to(process, 6)
            go_live()
            said += process.communicate(timeout=300)[0]
        assert process.returncode == 1, said
        assert "is LIVE" in said
        assert "is LIVE" in unit.deploy(package=package, code=1)
        assert "is LIVE" in unit.technician.run("undeploy", code=1)
        assert unit.machine.shown("edgeagent.service", "MainPID") == pid
        assert unit.release() == before


STAND_IN = """\
import os, pathlib, socket, time
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
line.send(b"READY=1")
while True:
    live = pathlib.Path("/var/lib/edgeagent/live").exists()
    line.send(b"WATCHDOG=1\\nSTATUS=" + (b"LIVE [R16]" if live else b"STANDBY [R16]"))
    time.sleep(0.2)
"""


@contextmanager
def stand_in(unit: Unit) -> Iterator[Callable[[], None]]:
    """In the daemon's place; what is given makes it LIVE and waits until systemd knows."""
    root, run = unit.machine.root, unit.machine.run
    (root / "usr/local/share/stand-in.py").write_text(STAND_IN)
    # Sorts before the drop-in of the unit in which a new version is tried, which has commands of its own.
    place = root / "etc/systemd/system/edgeagent.service.d/10-stand-in.conf"
    place.write_text("[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I /usr/local/share/stand-in.py\n")
    sign = root / "var/lib/edgeagent/live"

    def go_live() -> None:
        sign.touch()
        wait_until(
            lambda: unit.machine.shown("edgeagent.service", "StatusText").startswith("LIVE"), 60, "LIVE"
        )

    try:
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "edgeagent.service")
        yield go_live
    finally:
        place.unlink()
        sign.unlink(missing_ok=True)
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "edgeagent.service")


# --- back again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "good", "spoiled", "words"),
    [
        ("never", "cli/unit.py", "    exposure = protect_memory()", "    raise SystemExit(7)", "READY"),
        ("falls", "system/notify.py", 'self._tell("READY=1")', FALLS_OVER, "fell over"),
    ],
    ids=["it never reaches READY", "it reaches READY and falls over"],
)
def test_a_release_that_does_not_live_is_rolled_back(
    unit: Unit, folder: Path, name: str, file: str, good: str, spoiled: str, words: str
) -> None:
    def spoil(home: Path) -> None:
        program = program_file(home, file)
        text = program.read_text()
        assert good in text
        program.write_text(text.replace(good, spoiled))

    before = unit.release()
    said = unit.deploy(package=variant(unit.package, folder, name, spoil), code=4)
    print(said)
    assert "rolled back" in said
    assert words in said
    assert unit.release() == before
    assert unit.ready()


def test_a_switch_after_which_nobody_comes_in_anew_is_undone(unit: Unit, folder: Path) -> None:
    """As with a filter that locks technicians out: the connection that stands goes on, a new one does not."""
    package, before = other(unit, folder), unit.release()
    keys = unit.machine.root / "root/.ssh/authorized_keys"
    right = keys.read_text()
    try:
        with unit.technician.start("deploy", "--package", str(package)) as process:
            said = read_to(process, 7)
            keys.write_text("")
            said += process.communicate(timeout=300)[0]
    finally:
        keys.write_text(right)
    print(said)
    assert process.returncode == 4
    assert "no new connection from the desk within 30 s" in said
    assert unit.release() == before
    assert unit.ready()


# --- the connection -----------------------------------------------------------------------------------------


def test_a_wrong_key_a_strange_host_and_a_dead_one_are_named(unit: Unit, tmp_path: Path) -> None:
    technician = unit.technician
    right, known = technician.key, technician.known.read_text()
    technician.key = tmp_path / "other"
    new_ssh_key(technician.key)
    try:
        assert "refuses the key" in technician.run("status", code=5)
    finally:
        technician.key = right
    technician.known.write_text("")
    try:
        assert "not known" in technician.run("status", code=5)
        new_ssh_key(tmp_path / "host")
        technician.known.write_text(f"{ADDRESS} {(tmp_path / 'host.pub').read_text()}")
        assert "not the machine that had this name" in technician.run("status", code=5)
    finally:
        technician.known.write_text(known)
    technician.known.write_text(known + known.replace(ADDRESS, "10.177.7.99"))
    dead = technician.run("status", host="10.177.7.99", code=5)
    assert "No route" in dead or "is not there" in dead or "does not answer" in dead


# --- the disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "while it is unpacked"])
def test_a_full_disk_is_named_and_the_old_version_stays(unit: Unit, folder: Path, when: str) -> None:
    """A small memory disk over /opt, with the release in it."""
    run, before = unit.machine.run, unit.release()
    package = other(unit, folder)
    used = int(run("du", "-sm", "/opt").stdout.split()[0])
    size = used + (50 if when == "before" else used + 130)
    run(
        "sh",
        "-c",
        f"cp -a /opt /tmp/opt && mount -t tmpfs -o size={size}m,mode=755 none /opt && cp -a /tmp/opt/. /opt/",
    )
    try:
        with unit.technician.start("deploy", "--package", str(package)) as process:
            said = read_to(process, 3)
            if when != "before":  # after it was found to have room; the desk stands still meanwhile
                os.killpg(process.pid, signal.SIGSTOP)
                run("sh", "-c", "head -c 4G /dev/zero >/opt/somebody-elses", check=False)
                os.killpg(process.pid, signal.SIGCONT)
            said += process.communicate(timeout=120)[0]
        assert process.returncode == 1
        assert "disk is full" in said
        assert run("readlink", "/opt/edgeagent").stdout.strip() == f"edgeagent-{before}"
        run("systemctl", "restart", "edgeagent.service")
    finally:
        run("systemctl", "stop", "edgeagent.service")
        run("sh", "-c", "umount /opt && rm -r /tmp/opt && systemctl start edgeagent.service")


# --- cut off ------------------------------------------------------------------------------------------------


def test_a_desk_that_is_killed_at_any_step_leaves_the_old_version(unit: Unit, folder: Path) -> None:
    package, before = other(unit, folder), unit.release()
    for step in STEPS:
        killed_at(unit, package, step)
        time.sleep(1)
        unit.settled()
        assert unit.release() == before, f"killed at step {step}"
    assert "READY in" in unit.deploy(package=package)


@pytest.mark.parametrize(
    ("step", "whole"), [*((step, False) for step in TOUCHING), (4, True), (5, True)], ids=str
)
def test_power_cut_at_any_step_leaves_the_old_version(
    unit: Unit, folder: Path, step: int, whole: bool
) -> None:
    """`whole`: the unit cannot say what it has, so all of the package is copied and unpacked."""
    package, before = other(unit, folder), unit.release()
    if whole:
        (unit.machine.root / f"opt/edgeagent-{before}/files.sha256").unlink()
    with unit.technician.start("deploy", "--package", str(package)) as process:
        read_to(process, step)
        unit.machine.cut_power()
        said = process.communicate(timeout=120)[0]
    unit.machine.boot()
    unit.settled()
    assert process.returncode in (1, 4, 5), said
    assert unit.release() == before
    assert "edgeagent" in unit.machine.run("nft", "list", "tables").stdout
    assert "READY in" in unit.deploy(package=package)


# --- taking it off ------------------------------------------------------------------------------------------


def test_undeploy_leaves_the_keys_and_the_data_and_deploy_comes_back(unit: Unit) -> None:
    said = unit.technician.run("undeploy")
    for key in ("unit.key", "tls.key"):
        assert f"private key  /etc/edgeagent/credentials/{key} (sealed)" in said
    assert "/var/lib/edgeagent/audit" in said
    assert "shred" in said
    root = unit.machine.root
    assert not list((root / "opt").glob("edgeagent*"))
    assert not list((root / "etc/systemd/system").glob("edgeagent*.service"))
    assert (root / "etc/edgeagent/credentials/unit.key").exists()
    assert unit.machine.run("nft", "list", "tables").stdout == ""
    assert "nothing to remove" in unit.technician.run("undeploy")
    assert "READY in" in unit.deploy()


def test_the_debian_package_by_itself_installs_starts_and_is_adopted(unit: Unit, folder: Path) -> None:
    """As an image or `apt` would: then a deployment goes over to its own release, and back is possible."""
    unit.technician.run("undeploy")
    shared = unit.machine.root / "root/package.deb"
    subprocess.run(["cp", str(unit.package), str(shared)], check=True)
    run = unit.machine.run
    run("dpkg", "-i", "/root/package.deb", timeout=300)
    run("edgeagent", "--version")
    assert unit.machine.run("dpkg", "-r", "edgeagent", check=False).returncode == 0
    run("dpkg", "-i", "/root/package.deb", timeout=300)
    shared.unlink()
    said = unit.deploy(
        package=variant(unit.package, folder, "later", lambda home: change(home, "errors.py", "#"))
    )
    assert "READY in" in said
    assert unit.release().startswith("0.1.0+later-")
    assert "make undeploy" in run("dpkg", "-r", "edgeagent", check=False).stderr
    unit.settled()
