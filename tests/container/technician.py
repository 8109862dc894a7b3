"""The technician: a folder for the unit, SSH keys, and `make deploy`'s program on the desk's network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.documents.keys import Role, save_identity
from edgeagent.system.certificates import issue, make_authority
from tests.bench_unit import UNIT, Office
from tests.container.machine import DESK, Machine
from tests.container.machine import UNIT as UNIT_ADDRESS
from tests.container.root import REPOSITORY

TOML = """\
[unit]
name = "{unit}"
key = "/run/credentials/edgeagent.service/unit.key"
[trust]
store = "trust.json"
root = "{root}"
[documents]
authority = "documents/authority.json"
watchlist = "documents/watchlist.edgelist"
[data]
folder = "/var/lib/edgeagent"
[camera]
source = "v4l2:/dev/video0"
fps = {fps}
[broker]
host = "broker.test"
port = 8883
through = "/run/edgeagent-broker"
ca = "tls/ca.crt"
certificate = "tls/{unit}.crt"
key = "/run/credentials/edgeagent.service/tls.key"
"""
DROP_IN = """\
[Service]
LoadCredentialEncrypted=unit.key:/etc/edgeagent/credentials/unit.key
LoadCredentialEncrypted=tls.key:/etc/edgeagent/credentials/tls.key
"""


class Technician:
    """A desk with everything for one unit."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder = folder
        self.machine = machine
        self.unit = folder / "unit-01"
        self.key, self.known = folder / "ssh-key", folder / "known-hosts"
        self._secrets = folder / "as-made-on-the-unit"

    def prepare(self) -> None:
        """Keys of SSH, the unit's folder, and the host key as it would stand on the delivery note."""
        self.unit.mkdir(parents=True)
        self._secrets.mkdir()
        new_ssh_key(self.key)
        ssh = self.machine.root / "root/.ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        (ssh / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        host = (self.machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        self.known.write_text(f"{UNIT_ADDRESS} {host}")
        self._make_folder()

    def _make_folder(self) -> None:
        office, now = Office(), datetime.now(UTC)
        tls = self.folder / "ca"
        tls.mkdir()
        make_authority(tls, "test-authority", now=now)
        made = issue(tls, UNIT, server=False, hosts=(), days=300, now=now)
        save_identity(office[Role.UNIT], self._secrets / "unit.key")
        shutil.copyfile(made.key, self._secrets / "tls.key")
        (self.unit / "tls").mkdir()
        shutil.copyfile(made.cert, self.unit / f"tls/{UNIT}.crt")
        shutil.copyfile(tls / "ca.crt", self.unit / "tls/ca.crt")
        (self.unit / "trust.json").write_bytes(office.trust_document())
        self.configure(fps=15)

    def configure(self, fps: int, technicians: str = f"{DESK}/24", more: str = "") -> None:
        """Write the two files that a person writes."""
        (self.unit / "edgeagent.toml").write_text(TOML.format(unit=UNIT, root=Office().root, fps=fps) + more)
        network = f'technicians = ["{technicians}"]\nclocks = ["192.0.2.5"]\n'
        (self.unit / "network.toml").write_text(network.replace(".1/24", ".0/24"))

    def enrol(self) -> None:
        """What `edgeagent enrol` leaves on a unit: sealed keys, and a drop-in that opens them."""
        run, etc = self.machine.run, self.machine.root / "etc/edgeagent/credentials"
        etc.mkdir(parents=True, mode=0o700)
        for name in ("unit.key", "tls.key"):
            plain = self.machine.root / "root" / name
            shutil.copyfile(self._secrets / name, plain)
            sealed = f"/etc/edgeagent/credentials/{name}"
            run("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", f"/root/{name}", sealed)
            plain.unlink()
        drop_in = self.machine.root / "etc/systemd/system/edgeagent.service.d"
        drop_in.mkdir(parents=True, exist_ok=True)
        (drop_in / "50-enrolment.conf").write_text(DROP_IN)
        run("systemctl", "daemon-reload")

    def command(self, command: str, *options: str, host: str = UNIT_ADDRESS) -> list[str]:
        """As the Makefile calls it, on the desk's network."""
        call = ["ip", "netns", "exec", self.machine.desk_net, sys.executable, "-m", "unit", command]
        call += ["--host", host, "--key", str(self.key), "--known-hosts", str(self.known)]
        return [*call, "--unit", str(self.unit), *options] if command == "deploy" else [*call, *options]

    def start(self, command: str, *options: str, host: str = UNIT_ADDRESS) -> subprocess.Popen[str]:
        """Start it; its lines come as they are said."""
        return subprocess.Popen(
            self.command(command, *options, host=host),
            env={
                **os.environ,
                "PYTHONPATH": f"{REPOSITORY / 'deploy'}:{REPOSITORY}",
                "PYTHONUNBUFFERED": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str, *options: str, host: str = UNIT_ADDRESS, code: int = 0) -> str:
        """Run it to its end; what it said."""
        with self.start(command, *options, host=host) as process:
            said = process.communicate(timeout=300)[0]
        assert process.returncode == code, f"exit {process.returncode}, not {code}:\n{said}"
        return said


def new_ssh_key(file: Path) -> None:
    """A key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
