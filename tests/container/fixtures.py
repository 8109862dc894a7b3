"""A unit in a container, deployed to once; shared by the tests of one file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.machine import Machine, NoContainerError, machine, wait_until
from tests.container.needs import missing
from tests.container.packages import built
from tests.container.root import base
from tests.container.technician import Technician

OFFLINE = (
    "Temporary failure",
    "Could not resolve",
    "Max retries",
    "No matching distribution",
    "Failed to fetch",
)
PROBE = Path(__file__).with_name("probe.py")


@dataclass
class Unit:
    """A container, its technician, and the package of this tree."""

    machine: Machine
    technician: Technician
    package: Path
    first: str = ""

    def deploy(self, *options: str, package: Path | None = None, code: int = 0) -> str:
        """`make deploy`, to its end."""
        return self.technician.run("deploy", "--package", str(package or self.package), *options, code=code)

    def release(self) -> str:
        """What /opt/edgeagent points to."""
        return str((self.machine.root / "opt/edgeagent").readlink()).removeprefix("edgeagent-")

    def ready(self) -> bool:
        """Whether the daemon runs and says what it does."""
        shown = self.machine.shown
        active = shown("edgeagent.service", "ActiveState") == "active"
        return active and shown("edgeagent.service", "StatusText").startswith("LOCKED")

    def settled(self) -> None:
        """No switch is under way any more, and the daemon is READY."""
        pending = self.machine.root / "var/lib/edgeagent-deploy/pending.json"
        wait_until(lambda: not pending.exists(), 180, "the switch ends")
        wait_until(self.ready, 120, "READY")

    def probe(
        self,
    ) -> dict[str, str]:
        """Run the probe in the daemon's place, with every property of its service."""
        run = self.machine.run
        target = self.machine.root / "usr/local/share/probe.py"
        target.write_bytes(PROBE.read_bytes())
        text = "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\n"
        text += "ExecStart=/usr/bin/python3 -I /usr/local/share/probe.py\n"
        place = self.machine.root / "etc/systemd/system/edgeagent.service.d/99-probe.conf"
        run("systemctl", "stop", "edgeagent.service")
        place.write_text(text)
        run("systemctl", "daemon-reload")
        try:
            run("systemctl", "start", "edgeagent.service")
            said = run("journalctl", "-u", "edgeagent.service", "-o", "cat", "--no-pager", "-n", "50").stdout
        finally:
            place.unlink()
            run("systemctl", "daemon-reload")
            run("systemctl", "reset-failed", "edgeagent.service", check=False)
            run("systemctl", "start", "edgeagent.service")
        line = [line for line in said.splitlines() if line.startswith("PROBE ")][-1]
        return dict(json.loads(line.removeprefix("PROBE ")))


def _or_skip(work: Future[Path]) -> Path:
    """What was built; skipped if the network is missing, and only then."""
    try:
        return work.result()
    except subprocess.TimeoutExpired as error:
        pytest.skip(f"the mirror was too slow: {error.cmd[0]} took more than {error.timeout:.0f} s")
    except subprocess.CalledProcessError as error:
        said = error.stderr or b""
        words = said if isinstance(said, str) else said.decode(errors="replace")
        if any(sign in words for sign in OFFLINE):
            pytest.skip(f"no mirror is in reach: {words.strip().splitlines()[-1][:200]}")
        raise AssertionError(f"{error.cmd}: {words[-1500:]}") from error


def make_unit(folder: Path) -> Iterator[Unit]:
    """A unit that was deployed to and is READY; skipped, with the reason, where none can be made."""
    lacks = missing()
    if lacks:
        pytest.skip(f"no container here: {lacks}")
    try:
        with ThreadPoolExecutor(2) as both:
            # The container boots and its technician prepares while the package is still being built.
            root, package = both.submit(base), both.submit(built)
            _or_skip(root)
            with machine(folder) as made:
                technician = Technician(folder / "desk", made)
                technician.prepare()
                technician.enrol()
                unit = Unit(made, technician, _or_skip(package))
                unit.first = unit.deploy()
                yield unit
    except NoContainerError as error:
        pytest.skip(f"systemd-nspawn boots no Debian here: {str(error)[-300:]}")
