"""One of the two example subscribers as a process at a real broker, in the control room's place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from edgeagent.demo.mosquitto_conf import CONTROL_ROOM
from edgeagent.documents.keys import Role, save_identity
from tests.bench_unit import Office
from tests.broker_tools import Broker, wait_for

HERE = Path(__file__).parent
NODE = HERE.parents[1] / ".venv-contract" / "bin" / "node"
PATIENCE_S = 20.0
Language = Literal["python", "javascript"]


def require_node() -> None:
    """Skip the test, naming what is missing."""
    if not (NODE.parents[1] / "ready").exists() or not (HERE / "node_modules").is_dir():
        pytest.skip("Node.js and its packages are not set up (make contract-tools)")


def command(language: Language) -> list[str]:
    """How the subscriber is started, without its files."""
    if language == "python":
        return [sys.executable, str(HERE / "subscriber.py")]
    require_node()
    return [str(NODE), str(HERE / "subscriber.mjs")]


class Desk:
    """The subscriber; killed at the end of the test."""

    def __init__(
        self, language: Language, folder: Path, broker: Broker, office: Office, **changes: Any
    ) -> None:
        self.folder = folder
        self._write_files(broker, office, changes)
        started = [*command(language), "settings.json", "desk.key", "trust.json"]
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                started, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def _write_files(self, broker: Broker, office: Office, changes: dict[str, Any]) -> None:
        tls = broker.certificate(CONTROL_ROOM)
        given = {
            "name": CONTROL_ROOM,
            "topics": "lfr-bench/v1",
            "host": broker.running.host,
            "port": broker.running.port,
            "ca": str(tls.authority),
            "certificate": str(tls.cert),
            "key": str(tls.key),
            "root": office.root,
            "received": "received.sqlite",
        }
        self.folder.mkdir(exist_ok=True)
        (self.folder / "settings.json").write_text(json.dumps(given | changes))
        (self.folder / "trust.json").write_bytes(office.trust_document())
        if not (self.folder / "desk.key").exists():
            save_identity(office[Role.CONTROL_ROOM], self.folder / "desk.key")

    def __enter__(self) -> Self:
        wait_for(lambda: self.listens or self.code is not None, PATIENCE_S)
        if not self.listens:
            self.__exit__()
            pytest.fail(f"the subscriber does not listen: {self._err.read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(5)

    @property
    def listens(self) -> bool:
        """Whether the broker has granted its subscription, which each says in its own way."""
        said = self._err.read_text()
        return "Granted QoS 1" in said or "qos: 1" in said

    @property
    def code(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def ends(self) -> int:
        """Wait for its end."""
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self.__exit__()

    def alerts(self) -> list[dict[str, Any]]:
        """What it handed on."""
        return [
            json.loads(line) for line in self._out.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]

    def errors(self) -> list[str]:
        """What it said beside."""
        return self._err.read_text().splitlines()

    def refusals(self) -> list[str]:
        """Why it refused messages."""
        return [line for line in self.errors() if line.startswith("refused:")]
