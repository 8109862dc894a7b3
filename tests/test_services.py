"""Every service that a unit runs: systemd understands it, and what it may do is counted and bounded."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SYSTEM = "usr/lib/systemd/system"
PACKAGE, IMAGE, COMMON = (
    ROOT / "deploy/package/root" / SYSTEM,
    ROOT / "deploy/image/root" / SYSTEM,
    ROOT / "firmware-config/common/root" / SYSTEM,
)
MOST = {
    "edgeagent.service": 0.8,
    "edgeagent-tpm.service": 0.4,
    "edgeagent-clocks.service": 0.7,
    "edgeagent-camera-light.service": 1.0,
    "edgeagent-enrol.service": 1.1,  # root, to seal keys
    "edgeagent-broker.service": 1.1,  # the only one that may speak to the network
    "edgeagent-firewall.service": 1.6,  # root with the right to set the packet filter
}
SCRIPTS_OF_THE_IMAGE = {
    # From the verified root, before the network is up or at the end of a start: they mount, and ask systemd.
    "edgeagent-commit.service",
    "edgeagent-first-boot.service",
    "edgeagent-settle.service",
}
FILES = sorted(file for folder in (PACKAGE, IMAGE, COMMON) for file in folder.glob("*.service"))
EVERY_SERVICE = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd of this machine, of which nothing is changed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def test_every_service_has_a_bound_or_a_reason() -> None:
    assert {file.name for file in FILES} == set(MOST) | SCRIPTS_OF_THE_IMAGE


@EVERY_SERVICE
def test_what_it_may_do_is_bounded(file: Path) -> None:
    if file.name in SCRIPTS_OF_THE_IMAGE:
        return
    done = analyze("security", "--no-pager", "--offline=true", str(file))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"systemd of this machine cannot rate a file: {done.stderr.strip()}")
    assert float(found[1]) <= MOST[file.name], done.stdout


@EVERY_SERVICE
def test_systemd_knows_every_setting(file: Path) -> None:
    """A misspelt restriction is ignored with a warning, and restricts nothing."""
    done = analyze("verify", "--man=no", str(file))
    said = [line for line in done.stderr.splitlines() if file.name in line]
    # Programs of the unit are not on this machine.
    assert [line for line in said if "is not executable" not in line] == []


def test_a_misspelt_restriction_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "edgeagent.service"
    text = (PACKAGE / file.name).read_text()
    file.write_text(text.replace("PrivateNetwork=yes", "PrivateNetworks=yes"))
    assert "PrivateNetworks" in analyze("verify", "--man=no", str(file)).stderr


def test_the_daemon_may_ask_whether_the_clock_is_synchronised() -> None:
    """ProtectClock= forbids the question with the setting; a unit with a time server stayed LOCKED then."""
    lines = (PACKAGE / "edgeagent.service").read_text().splitlines()
    assert "ProtectClock=yes" not in lines
    assert [line for line in lines if line.startswith("SystemCallFilter=")][-1].endswith(
        "adjtimex clock_adjtime"
    )
    assert {"CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes"} <= set(lines), (
        "nor set it"
    )


def test_a_camera_that_is_plugged_in_later_is_not_forbidden() -> None:
    """systemd looks up `char-video4linux` when it starts the service, and never again."""
    lines = (PACKAGE / "edgeagent.service").read_text().splitlines()
    assert "DeviceAllow=char-video4linux rw" in lines
    assert {"Wants=modprobe@videodev.service", "After=modprobe@videodev.service"} <= set(lines)
