"""The broker behind a local socket: how a service without a network of its own reaches it."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgeagent.alerts.topics import Topics, every_unit
from tests.broker_tools import CONTROL_ROOM, Broker, receive, wait_for

pytest_plugins = ["tests.broker_fixtures"]

UNIT = Topics("unit-a", bench=False)


@contextmanager
def forwarder(path: Path, host: str, port: int) -> Iterator[list[bytes]]:
    """What systemd-socket-proxyd does, and a copy of what the unit sent through it."""
    seen: list[bytes] = []

    def copy(source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while octets := source.recv(65_536):
                if keep:
                    seen.append(octets)
                target.sendall(octets)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection((host, port)) as far:
            back = threading.Thread(target=copy, args=(far, near, False))
            back.start()
            copy(near, far, True)
            back.join()

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                serve(listener.accept()[0])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        yield seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_the_link_uses_no_other_kind_of_socket(mosquitto: Broker, tmp_path: Path) -> None:
    """The service may use no other (`RestrictAddressFamilies=AF_UNIX`), or it reaches no broker."""
    families: set[int] = set()
    watching = True

    def hook(event: str, values: tuple[object, ...]) -> None:
        if watching and event == "socket.__new__" and threading.current_thread().name == "mqtt":
            families.add(int(str(values[1])))

    sys.addaudithook(hook)  # for good, so it can be told to look away
    running = mosquitto.running
    with forwarder(tmp_path / "broker", running.host, running.port):
        unit = mosquitto.connected_link("unit-a", UNIT.receipt, through=tmp_path / "broker", port=1)
        unit.publish(UNIT.alert, b"anything")
        assert wait_for(lambda: unit.counts.acknowledged == 1, 60)
        unit.close(None, timeout_s=2.0)
    watching = False
    assert families == {int(socket.AF_UNIX)}


def test_alerts_and_receipts_pass_and_the_forwarder_sees_tls_only(mosquitto: Broker, tmp_path: Path) -> None:
    running = mosquitto.running
    with forwarder(tmp_path / "broker", running.host, running.port) as seen:
        # Port 1 answers nobody: it is the socket that is used.
        unit = mosquitto.connected_link("unit-a", UNIT.receipt, through=tmp_path / "broker", port=1)
        desk = mosquitto.connected_link(CONTROL_ROOM, every_unit("alert", bench=False))
        unit.publish(UNIT.alert, b"an alert in the clear", expires_in_s=30)
        assert receive(desk).payload == b"an alert in the clear"
        desk.publish(UNIT.receipt, b"receipt")
        assert receive(unit).payload == b"receipt"
        unit.close(None, timeout_s=2.0)
    assert seen
    assert b"an alert in the clear" not in b"".join(seen)


def test_the_brokers_certificate_must_still_be_for_its_own_name(mosquitto: Broker, tmp_path: Path) -> None:
    running = mosquitto.running
    with forwarder(tmp_path / "broker", running.host, running.port):
        link = mosquitto.link("unit-a", through=tmp_path / "broker", host="broker.elsewhere.example")
        assert wait_for(lambda: link.last_error is not None)
        assert not link.connected
        assert "elsewhere" in str(link.last_error)
        link.close(None, timeout_s=2.0)


# paho leaves the socket that could not be connected to the garbage collector, which closes it at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_missing_socket_is_named(mosquitto: Broker, tmp_path: Path) -> None:
    link = mosquitto.link("unit-a", through=tmp_path / "nobody")
    assert wait_for(lambda: link.last_error is not None)
    assert f"{tmp_path / 'nobody'}: the local socket is not there" in str(link.last_error)
