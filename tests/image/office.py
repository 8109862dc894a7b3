"""A control room at a desk, by the program's own commands: it invites the board and answers its request."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.image.guest import GuestError

ROOT = Path(__file__).parents[2]
UNIT = "unit-07"
PLACEHOLDER = "PASTE-THE-43-CHARACTERS-THAT-THE-ROOT-HOLDER-READS-OUT"
NETWORK = """\
technicians = ["10.0.2.2"]   # the emulator's host
clocks = ["10.0.2.2"]
broker = ["192.0.2.10"]      # nothing answers there; the unit stays LOCKED
"""


@dataclass(frozen=True)
class ControlRoom:
    """Its files, with a folder for the unit among them."""

    folder: Path

    @property
    def unit(self) -> Path:
        """The unit's folder at the desk, as `make deploy` takes it."""
        return self.folder / "units" / UNIT

    def open(self) -> None:
        """Keys, trust store, TLS authority, and an invitation in the unit's folder."""
        self.unit.mkdir(parents=True)
        self._run("keys", "new", "root", "root", "--out", "root.key")
        self._run("keys", "new", "control_room", "control-room", "--out", "desk.key")
        self._run("keys", "public", "desk.key", "--out", "desk.public.json")
        signing = ["--root", "root.key", "--profile", str(ROOT / "deploy/profile-example.toml")]
        signed = self._run(
            "keys", "trust", *signing, "--sequence", "1", "desk.public.json", "--out", "trust.json"
        )
        passphrase = self.folder / "passphrase"
        passphrase.write_text("five random words or more\n")
        passphrase.chmod(0o600)
        self._run("keys", "ca", "init", "--folder", "ca", "--passphrase-file", "passphrase")
        (self.folder / "tls").mkdir()
        (self.folder / "tls/ca.crt").write_bytes((self.folder / "ca/ca.crt").read_bytes())
        text = (ROOT / "deploy/desk-example.toml").read_text()
        (self.folder / "desk.toml").write_text(text.replace(PLACEHOLDER, signed.split()[-1]))
        told = self.unit / "enrolment.toml"
        self._run("enrolment", "invite", UNIT, "--config", "desk.toml", "--out", str(told))
        (self.unit / "network.toml").write_text(NETWORK)

    def answer(self, request: str, code: str) -> Path:
        """Approve what the unit asked, by the code that was read from it; the folder that goes back to it."""
        (self.folder / "request.json").write_text(request)
        words = ["enrolment", "approve", "request.json", "--config", "desk.toml", "--code", code, "--json"]
        said = self._run(*words, "--ca-folder", "ca", "--passphrase-file", "passphrase")
        return self.folder / str(json.loads(said)["folder"])

    def _run(self, *words: str) -> str:
        command = [sys.executable, "-m", "edgeagent", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GuestError(f"edgeagent {' '.join(words[:2])} at the desk: {done.stderr.strip()[-400:]}")
        return done.stdout
