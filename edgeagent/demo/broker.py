"""An MQTT broker of our own on loopback, for the demo and the tests: Mosquitto, or amqtt without it.

It makes its own authority and certificates, admits only clients that hold one of them, and ends with the
process that started it, even if that one is killed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from edgeagent.demo.mosquitto_conf import access_list, configuration
from edgeagent.demo.tied import tied
from edgeagent.errors import BrokerError
from edgeagent.system.certificates import Certificate, issue, make_authority

Kind = Literal["mosquitto", "amqtt"]
HOST = "127.0.0.1"
PORTS, PORT_TRIES = (20_000, 32_000), 50
MAX_MESSAGE_BYTES = 1_048_576
CERTIFICATE_DAYS = 60
"""More than the days within which a unit's state warns of the end."""
_START_S = 10.0
_STOP_S = 3.0

AMQTT_LIMITS = (
    "speaks MQTT 3.1.1 only",
    "has no limit on the size of a message",
    "hangs up on a foreign certificate without saying why",
    "keeps no list of what it refused: a forbidden publication is acknowledged and dropped",
    "is one Python process, fit for a demo and not for duty",
)


class RunningBroker:
    """A broker in a child process.

    Attributes:
        name: what it is, such as `"mosquitto 2.0.11"`.
        limits: what it cannot do, in words for the demo's output; empty for Mosquitto.
        host, port: where it listens.
        ca_file: the authority that its clients must trust.
    """

    def __init__(self, kind: Kind, name: str, folder: Path, port: int, command: Sequence[str]) -> None:
        self.kind = kind
        self.name = name
        self.limits = AMQTT_LIMITS if kind == "amqtt" else ()
        self.host = HOST
        self.port = port
        self.ca_file = folder / "ca.crt"
        self._folder = folder
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None when it is not running."""
        return self._process.pid if self._process is not None else None

    def issue_client(self, common_name: str, *, now: datetime) -> Certificate:
        """Make a client certificate; a unit's common name is its unit name."""
        return issue(self._folder, common_name, server=False, hosts=(), days=CERTIFICATE_DAYS, now=now)

    def start(self) -> None:
        """Start, or start again, on the same port; returns when TLS is answered, else `BrokerError`."""
        self.stop()
        command = tied(self._command)
        environment = _environment(Path(self._command[0]))
        try:
            with (self._folder / "broker.log").open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=environment,
                )
        except OSError as error:
            raise self._does_not_start(str(error)) from error
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Ask it to end, then make it; returns within a few seconds."""
        if self._process is None:
            return
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing its connections, as a hang would."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _wait_until_it_answers(self) -> None:
        context = ssl.create_default_context(cafile=self.ca_file)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            # The handshake is complete before the broker misses a certificate, which this probe has not.
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.host, self.port), 1.0) as plain,
                context.wrap_socket(plain, server_hostname=self.host),
            ):
                return
            time.sleep(0.05)
        self.kill()
        raise self._does_not_start("it ended or does not answer")

    def _does_not_start(self, reason: str) -> BrokerError:
        return BrokerError(
            f"{self.name} does not start ({reason})",
            where=f"{self.host}:{self.port}",
            next_step=f"Read {self._folder / 'broker.log'}.",
        )


def start_broker(folder: Path, *, now: datetime, port: int = 0, kind: Kind | None = None) -> RunningBroker:
    """Start a broker whose files all lie in `folder` (made if missing; it must hold no authority yet).

    `port` 0 takes a free one; `kind` None takes Mosquitto where it is found, else amqtt. The broker ends
    with the thread that calls this. Raises `BrokerError` when there is none or it does not start.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mosquitto = find_mosquitto() if kind != "amqtt" else None
    make_authority(folder, "edgeagent-demo", now=now)
    server = issue(folder, "broker", server=True, hosts=("localhost", HOST), days=CERTIFICATE_DAYS, now=now)
    port = port or _free_port()
    if mosquitto is not None:
        broker = _mosquitto(mosquitto, folder, port, server)
    elif kind != "mosquitto" and importlib.util.find_spec("amqtt") is not None:
        broker = _amqtt(folder, port, server)
    else:
        raise BrokerError(
            "no MQTT broker on this machine",
            next_step="Install Mosquitto with the system's packages, or `pip install edgeagent[demo]`.",
        )
    broker.start()
    return broker


def find_mosquitto() -> Path | None:
    """Mosquitto's program: on the path, where Debian puts it, or unpacked in `mosquitto/` of the venv."""
    candidates = [shutil.which("mosquitto"), "/usr/sbin/mosquitto", str(_unpacked())]
    return next((Path(name) for name in candidates if name and os.access(name, os.X_OK)), None)


def _unpacked() -> Path:
    return Path(sys.prefix) / "mosquitto" / "usr" / "sbin" / "mosquitto"


def _environment(program: Path) -> dict[str, str]:
    environment = dict(os.environ)
    # The Python child finds this package even where it runs from a source tree.
    paths = [str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if program == _unpacked():
        libraries = sorted((Path(sys.prefix) / "mosquitto" / "usr" / "lib").glob("*-linux-gnu*"))
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
    return environment


def _mosquitto(program: Path, folder: Path, port: int, server: Certificate) -> RunningBroker:
    conf, acl = folder / "mosquitto.conf", folder / "mosquitto.acl"
    text = configuration(port, server, acl, max_message=MAX_MESSAGE_BYTES, as_root=os.geteuid() == 0)
    conf.write_text(text)
    acl.write_text(access_list())
    acl.chmod(0o600)
    usage = subprocess.run(
        [program, "-h"], capture_output=True, text=True, check=False, timeout=10, env=_environment(program)
    )
    name = usage.stdout.partition("\n")[0].replace(" version", "") or "mosquitto"
    return RunningBroker("mosquitto", name, folder, port, [str(program), "-c", str(conf)])


def _amqtt(folder: Path, port: int, server: Certificate) -> RunningBroker:
    files = [str(server.authority), str(server.cert), str(server.key)]
    command = [sys.executable, "-m", "edgeagent.demo.amqtt_child", str(port), *files]
    return RunningBroker("amqtt", f"amqtt {importlib.metadata.version('amqtt')}", folder, port, command)


def _free_port() -> int:
    """A port that nobody uses now, nor will as the far end of a connection: below the kernel's own range.

    So a broker that is stopped and started again finds its port still free.
    """
    for _ in range(PORT_TRIES):
        port = secrets.randbelow(PORTS[1] - PORTS[0]) + PORTS[0]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise BrokerError("no port is free", where=HOST, next_step="stop other programs and try again")
