"""Brokers for the fleet's bench: the shipped configurations on loopback, with certificates for many units.

`python -m tests.bench_fleet_brokers FOLDER UNITS` runs the RabbitMQ cluster until SIGTERM.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edgeagent.demo.broker import find_mosquitto
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, access_list, on_loopback
from edgeagent.fleet.names import unit_name
from edgeagent.fleet.settings import FleetBroker
from edgeagent.system.certificates import issue, load_signer, make_authority
from edgeagent.system.pem import pem, write_key
from edgeagent.system.revocation import write_crl

DEPLOY = Path(__file__).parents[1] / "deploy" / "broker"
sys.path.insert(0, str(DEPLOY))
from loopback import HOST, Options, answers, child, free_port, tidy, wait_until  # noqa: E402

DAYS = 30
CLUSTER_START_S = 300.0
SHIPPED_CONNECTIONS = "max_connections 1000"


@dataclass(frozen=True)
class BenchBroker:
    """A broker under test, and how to throw everybody off it."""

    name: str
    broker: FleetBroker
    reconnect: Callable[[], None]
    reconnect_is: str


def make_certificates(folder: Path, units: int) -> None:
    """An authority without a passphrase, which lives as long as a bench, and a certificate for everybody.

    The private keys of all units are one key: 2,000 of them would take longer, and TLS is none the faster.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    make_authority(folder, "edgeagent-bench", now=now)
    issue(folder, "broker", server=True, hosts=("localhost", HOST), days=DAYS, now=now)
    write_crl(folder, days=DAYS, now=now, passphrase=None)
    signer, key = load_signer(folder, None), ec.generate_private_key(ec.SECP256R1())
    for name in (CONTROL_ROOM, *map(unit_name, range(units))):
        leaf = signer.leaf(name, key.public_key(), server=False, hosts=(), days=DAYS, now=now)
        (folder / f"{name}.crt").write_bytes(pem(leaf))
        write_key(folder / f"{name}.key", key, None)


def _settings(folder: Path, ports: tuple[int, ...], pids: tuple[int, ...]) -> FleetBroker:
    return FleetBroker(host=HOST, ports=ports, ca=str(folder / "ca.crt"), certificates=str(folder), pids=pids)


@contextlib.contextmanager
def mosquitto(folder: Path, units: int) -> Iterator[Callable[[], BenchBroker]]:
    """Mosquitto as shipped, but for the number of connections, which must hold the fleet."""
    program = find_mosquitto()
    if program is None:
        raise SystemExit("mosquitto is not installed: apt install mosquitto")
    make_certificates(folder, units)
    port = free_port()
    text = on_loopback(folder, port, as_root=os.geteuid() == 0)
    if SHIPPED_CONNECTIONS not in text:
        raise SystemExit(f"mosquitto.conf has no {SHIPPED_CONNECTIONS!r}")
    (folder / "mosquitto.conf").write_text(
        text.replace(SHIPPED_CONNECTIONS, f"max_connections {max(1000, units + 100)}")
    )
    (folder / "edgeagent.acl").write_text(access_list())
    (folder / "edgeagent.acl").chmod(0o600)
    with contextlib.ExitStack() as stack:
        running = _Restarting([str(program), "-c", str(folder / "mosquitto.conf")], folder, port)
        stack.callback(running.stop)
        running.start()

        def now() -> BenchBroker:
            settings = _settings(folder, (port,), (running.pid,))
            return BenchBroker("mosquitto", settings, running.restart, "killed (SIGKILL) and started again")

        yield now


class _Restarting:
    """One broker process that can be started again on the same port."""

    def __init__(self, command: list[str], folder: Path, port: int) -> None:
        self._command, self._folder, self._port = command, folder, port
        self._stack = contextlib.ExitStack()
        self.pid = 0

    def start(self) -> None:
        process = self._begin()
        wait_until(lambda: answers(self._folder, self._port), [process], 30)

    def restart(self) -> None:
        """Not waited for: with a fleet at its door, a broker has no time for one more client."""
        os.kill(self.pid, signal.SIGKILL)
        self._stack.close()
        self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        process = self._stack.enter_context(child(self._command, self._folder / "broker.log", {}))
        self.pid = process.pid
        return process

    def stop(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def rabbitmq(folder: Path, units: int) -> Iterator[Callable[[], BenchBroker]]:
    """Three RabbitMQ nodes as shipped."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "cluster.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench_fleet_brokers", str(folder), str(units)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    tools: list[subprocess.Popen[bytes]] = []
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the cluster does not start; read {folder}/*.log")
        said = json.loads(line)
        settings = _settings(folder, tuple(said["ports"]), tuple(said["pids"]))
        control = said["control"]

        def everybody_off() -> None:
            for node in (1, 2, 3):  # started together, as each takes seconds to begin
                tools.append(
                    subprocess.Popen(
                        [control["program"], "-n", f"rabbit{node}@localhost", "eval", CLOSE_ALL],
                        env=os.environ | control["environment"],
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )

        yield lambda: BenchBroker("rabbitmq", settings, everybody_off, "every connection closed by the nodes")
    finally:
        for tool in tools:
            tool.wait()
        process.terminate()
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


CLOSE_ALL = (
    '[catch rabbit_networking:close_connection(P, "bench") || P <- rabbit_networking:local_connections()], '
    '[catch rabbit_mqtt_reader:close_connection(P, "bench") || {_, P} <- rabbit_mqtt_collector:list()], ok.'
)


def _cluster(folder: Path, units: int) -> None:
    import try_rabbitmq

    names = tuple(map(unit_name, range(units)))
    chosen = Options(folder, names, True)
    with tidy(chosen):
        make_certificates(folder, units)
        try_rabbitmq.place_files(chosen)
        try_rabbitmq.run(chosen)


if __name__ == "__main__":
    _cluster(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
