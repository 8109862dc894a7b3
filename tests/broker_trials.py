"""A broker as it is shipped, started as `make broker-…` starts it, and what may be tried at it from outside.

The same attempts go to Mosquitto and to RabbitMQ. Each says by whom it was refused and how, or raises
`NotRefusedError`; each also shows that the honest way works, so that a dead broker refuses nothing here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import LinkSettings
from edgeagent.alerts.settings import new_client_id
from edgeagent.alerts.topics import Topics
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, LEASE_DESK
from edgeagent.system.certificates import Certificate, issue, make_authority
from edgeagent.system.revocation import revoke
from tests.broker_tools import Broker, wait_for

Kind = Literal["mosquitto", "rabbitmq"]
KINDS: tuple[Kind, ...] = ("mosquitto", "rabbitmq")
UNIT, OTHER, REVOKED, EXPIRED = "unit-01", "unit-02", "unit-08", "unit-09"
SCRIPTS = Path(__file__).parents[1] / "deploy" / "broker"
START_S, STOP_S = 200.0, 60.0
REFUSAL_S = 0.3
QUIET_S = 0.25
"""How much longer than the honest a listener may take, before we say that nothing reaches it."""
OVERSIZE = 1_000_000
CONNACK = 0x20


class NotRefusedError(Exception):
    """The broker, the unit or the control room let it happen."""


@dataclass(frozen=True)
class Refusal:
    """By whom and how an attempt was refused."""

    by: Literal["broker", "unit", "control room"]
    how: str


@dataclass(frozen=True)
class Tried:
    """A running broker from `deploy/broker/try_*.py`; also what `Broker` of the tests wants of one."""

    kind: Kind
    host: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    folder: Path
    control: dict[str, Any] | None = None

    @property
    def port(self) -> int:
        """Of the first node."""
        return self.ports[0]

    @property
    def passphrase(self) -> bytes:
        """Of its authority."""
        return (self.folder / "passphrase").read_bytes()

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run one command on the cluster."""
        assert self.control is not None
        done = subprocess.run(
            [self.control["program"], *arguments],
            env=os.environ | self.control["environment"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def spread_crl(self) -> None:
        """Give the broker the authority's CRL as docs/brokers.md says."""
        if self.kind == "mosquitto":
            os.kill(self.pids[0], signal.SIGHUP)
            return
        command = 'cp ca.crl "crl/$(openssl crl -hash -noout -in ca.crl).r0"'
        subprocess.run(["sh", "-c", command], cwd=self.folder, check=True)


@contextlib.contextmanager
def tried(kind: Kind, folder: Path) -> Iterator[Tried]:
    """The broker, started by its script; nothing of it runs afterwards, even what was killed meanwhile."""
    command = [sys.executable, str(SCRIPTS / f"try_{kind}.py"), "--json", "--folder", str(folder)]
    process = subprocess.Popen([*command, UNIT, OTHER, REVOKED, EXPIRED], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        pids = tuple(said["pids"])
        yield Tried(kind, said["host"], tuple(said["ports"]), pids, folder, said.get("control"))
    finally:
        process.send_signal(signal.SIGINT)  # Ctrl-C
        process.communicate(timeout=STOP_S)
    assert process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


class TriedBroker(Broker):
    """Links to it, with the certificates that its script made by `edgeagent keys ca`."""

    def __init__(self, running: Tried) -> None:
        super().__init__(running)  # type: ignore[arg-type]
        self.tried = running

    def certificate(self, name: str) -> Certificate:
        folder = self.tried.folder
        return Certificate(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    def settings(self, name: str, **changes: Any) -> LinkSettings:
        return super().settings(name, **({"keepalive_s": 5, "connect_timeout_s": 8.0} | changes))


# --- the door -----------------------------------------------------------------------------------------------


def connect_packet(client_id: str, credentials: tuple[str, str] | None = None) -> bytes:
    """An MQTT 3.1.1 CONNECT, made by hand so that nothing in a client library stops it."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    flags = 0x02 | (0xC0 if credentials else 0)
    body = text("MQTT") + bytes([4, flags, 0, 30]) + text(client_id)
    body += b"".join(text(value) for value in credentials or ())
    return bytes([0x10, len(body)]) + body


def knock(connection: socket.socket, packet: bytes, patience_s: float = 3.0) -> str:
    """Send and hear; why we were turned away, or '' when a CONNACK says welcome."""
    try:
        # In TLS 1.3 a certificate is refused after the handshake: hear that before anything is sent.
        connection.settimeout(REFUSAL_S)
        with contextlib.suppress(TimeoutError):
            return "the connection is closed" if connection.recv(1) == b"" else "an answer unasked"
        connection.settimeout(patience_s)
        connection.sendall(packet)
        heard = connection.recv(64)
    except TimeoutError:
        return "no answer"
    except ssl.SSLError as error:
        return f"TLS: {_alert(error)}"
    except OSError as error:
        return f"TCP: {error.strerror}"
    if not heard:
        return "the connection is closed"
    if heard[0] == CONNACK and len(heard) >= 4:
        return f"CONNACK {heard[3]}" if heard[3] else ""
    return "an answer that is not MQTT"


def _alert(error: ssl.SSLError) -> str:
    """The alert by name; Python has no name for the newest of them."""
    name = re.search(r"alert ([a-z0-9 ]+)", str(error).replace("_", " "), re.IGNORECASE)
    return name.group(1).strip().lower() if name else "handshake failed"


def over_tls(
    place: Tried, files: Certificate | None, packet: bytes, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> str:
    """`knock` through TLS with these files, or with none."""
    context = ssl.create_default_context(cafile=place.folder / "ca.crt")
    context.maximum_version = newest
    if files is not None:
        context.load_cert_chain(files.cert, files.key)
    try:
        with (
            socket.create_connection((place.host, place.port), 3.0) as plain,
            context.wrap_socket(plain, server_hostname=place.host) as connection,
        ):
            return knock(connection, packet)
    except ssl.SSLError as error:
        return f"TLS: {_alert(error)}"
    except OSError as error:
        return f"TCP: {error.strerror or 'closed'}"


def listening_ports(pids: tuple[int, ...]) -> list[int]:
    """TCP ports on which these processes listen."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return sorted(set(ports))


class Door:
    """Attempts to be let in at all."""

    def __init__(self, broker: TriedBroker) -> None:
        self.broker = broker
        self.place = broker.tried
        self.now = datetime.now(UTC)
        welcome = over_tls(self.place, broker.certificate(OTHER), connect_packet(OTHER))
        assert welcome == "", f"an honest unit is refused: {welcome}"

    def _refused(self, reason: str) -> Refusal:
        if reason in ("", "no answer"):
            raise NotRefusedError(reason or "welcome")
        return Refusal("broker", reason)

    def no_certificate(self) -> Refusal:
        return self._refused(over_tls(self.place, None, connect_packet(UNIT)))

    def rogue_authority(self) -> Refusal:
        folder = self.place.folder / "rogue"
        folder.mkdir()
        make_authority(folder, "edgeagent", now=self.now)  # even of the same name
        files = issue(folder, UNIT, server=False, hosts=(), days=2, now=self.now)
        return self._refused(over_tls(self.place, files, connect_packet(UNIT)))

    def expired(self) -> Refusal:
        for suffix in ("crt", "key"):
            (self.place.folder / f"{EXPIRED}.{suffix}").unlink()
        then, secret = self.now - timedelta(days=3), self.place.passphrase
        files = issue(self.place.folder, EXPIRED, server=False, hosts=(), days=2, now=then, passphrase=secret)
        return self._refused(over_tls(self.place, files, connect_packet(EXPIRED)))

    def revoked(self) -> Refusal:
        """Revoked while it is connected; what becomes of that connection is in `docs/brokers.md`."""
        folder, kept = self.place.folder, self.place.folder / "stolen"
        kept.mkdir()
        for suffix in ("crt", "key"):
            shutil.copy(folder / f"{REVOKED}.{suffix}", kept)
        files = Certificate(kept / f"{REVOKED}.crt", kept / f"{REVOKED}.key", folder / "ca.crt")
        welcome = over_tls(self.place, files, connect_packet(REVOKED))
        assert welcome == "", welcome
        revoke(
            folder,
            REVOKED,
            reason="key-compromise",
            crl_days=30,
            now=datetime.now(UTC),
            passphrase=self.place.passphrase,
        )
        self.place.spread_crl()
        wait_for(lambda: over_tls(self.place, files, connect_packet(REVOKED)), 3.0)
        return self._refused(over_tls(self.place, files, connect_packet(REVOKED)))

    def tls_1_2(self) -> Refusal:
        files = self.broker.certificate(OTHER)
        old = ssl.TLSVersion.TLSv1_2
        return self._refused(over_tls(self.place, files, connect_packet(OTHER), newest=old))

    def password(self) -> Refusal:
        """With a good certificate, as somebody whose password brokers are delivered with."""
        packet = connect_packet("guest", ("guest", "guest"))
        reason = over_tls(self.place, self.broker.certificate(OTHER), packet)
        if reason or self.place.kind == "rabbitmq":
            return self._refused(reason)
        return Refusal("broker", "let in by its certificate, under that name")

    def plain(self) -> Refusal:
        """Every port of the broker's processes, without TLS."""
        return self._every_port(connect_packet(OTHER))

    def websocket(self) -> Refusal:
        """The same with what a browser would say, and through TLS at the MQTT port."""
        upgrade = (
            b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        through = over_tls(self.place, self.broker.certificate(OTHER), upgrade)
        if through == "an answer that is not MQTT":
            raise NotRefusedError("HTTP is spoken at the MQTT port")
        return self._every_port(upgrade)

    def _every_port(self, packet: bytes) -> Refusal:
        ports = listening_ports(self.place.pids)
        assert set(self.place.ports) <= set(ports)
        for port in ports:
            with socket.create_connection((self.place.host, port), 2.0) as connection:
                reason = knock(connection, packet, QUIET_S)
            # TLS answers with an alert, Erlang's own protocol and epmd hang up or wait for more.
            if reason == "":
                raise NotRefusedError(f"port {port} speaks MQTT without TLS")
            if reason == "an answer that is not MQTT" and port not in self.place.ports:
                raise NotRefusedError(f"port {port} answers")
        return Refusal("broker", f"{len(ports)} port(s), none speaks it")


# --- topics -------------------------------------------------------------------------------------------------


class TopicTrials:
    """An honest unit, the desks, and another unit that tries what is not its own."""

    def __init__(self, broker: TriedBroker) -> None:
        self.broker = broker
        self.live, self.bench = Topics(UNIT, bench=False), Topics(UNIT, bench=True)

    @cached_property
    def unit(self) -> MqttLink:
        topics = [getattr(t, last) for t in (self.live, self.bench) for last in ("lease", "receipt")]
        return self.broker.connected_link(UNIT, *topics, client_id=new_client_id(UNIT))

    @cached_property
    def room(self) -> MqttLink:
        filters = ("lfr/v1/+/alert", "lfr-bench/v1/+/alert")
        return self.broker.connected_link(CONTROL_ROOM, *filters, max_payload_bytes=2 * OVERSIZE)

    @cached_property
    def lease_desk(self) -> MqttLink:
        return self.broker.connected_link(LEASE_DESK, "lfr/v1/+/state")

    def publish_for_another(self) -> Refusal:
        return self._publishes(OTHER, self.live.alert)

    def publish_bench_for_another(self) -> Refusal:
        return self._publishes(OTHER, self.bench.alert)

    def give_a_lease_as_unit(self) -> Refusal:
        return self._publishes(OTHER, self.live.lease)

    def give_a_lease_as_control_room(self) -> Refusal:
        return self._publishes(CONTROL_ROOM, self.live.lease)

    def _publishes(self, name: str, topic: str, **changes: Any) -> Refusal:
        """`name` publishes there; then the honest do, and nobody has heard any but them."""
        assert wait_for(lambda: self.unit.connected and self.room.connected, 10.0)
        fresh = name != CONTROL_ROOM
        link = self.broker.connected_link(name, **changes) if fresh else self.room
        link.publish(topic, b"forged")
        wait_for(lambda: link.counts.acknowledged or link.counts.forbidden or not link.connected, 5.0)
        how = self._how(link)
        if fresh:
            link.close(None, timeout_s=1.0)
        else:
            assert wait_for(lambda: link.connected, 10.0)
        if b"forged" in self._honest():  # which was sent later, so the forged one would have come first
            raise NotRefusedError("it arrived")
        return Refusal("broker", how)

    def _how(self, link: MqttLink) -> str:
        if link.counts.forbidden:
            return "PUBACK 0x87, not authorised"
        return "acknowledged, then dropped" if link.connected else "the connection is closed"

    def _honest(self, *, lease: bool = True) -> list[bytes]:
        """The unit's own alert reaches the room, the desk's lease the unit; all that either heard by then."""
        assert wait_for(lambda: self.unit.connected and self.room.connected, 10.0)
        self.unit.publish(self.live.alert, b"honest")
        heard = drain(self.room, 5.0, b"honest")
        assert b"honest" in heard, "the unit's own alert does not arrive"
        if lease:
            assert wait_for(lambda: self.lease_desk.connected, 10.0)
            self.lease_desk.publish(self.live.lease, b"honest")
            answered = drain(self.unit, 5.0, b"honest")
            assert b"honest" in answered, "the desk's lease does not arrive"
            heard += answered
        return heard

    def listen_to_another(self) -> Refusal:
        return self._listens(OTHER, self.live.lease)

    def listen_to_another_on_bench(self) -> Refusal:
        return self._listens(OTHER, self.bench.lease)

    def listen_with_wildcard(self) -> Refusal:
        return self._listens(OTHER, "lfr/v1/+/lease")

    def listen_to_all(self) -> Refusal:
        return self._listens(OTHER, "#")

    def listen_to_system(self) -> Refusal:
        return self._listens(OTHER, "$SYS/#")

    def listen_to_alerts_as_lease_desk(self) -> Refusal:
        self.lease_desk.close(None, timeout_s=1.0)
        del self.lease_desk
        return self._listens(LEASE_DESK, "lfr/v1/+/alert")

    def _listens(self, name: str, topic_filter: str, **changes: Any) -> Refusal:
        """`name` subscribes; what the others say to each other must not reach it."""
        link = self.broker.link(name, topic_filter, **changes)
        granted = wait_for(lambda: link.connected or link.last_error, 5.0) and link.connected
        self._honest(lease=name != LEASE_DESK)
        heard = drain(link, QUIET_S)
        link.close(None, timeout_s=1.0)
        if heard:
            raise NotRefusedError(f"heard {len(heard)} messages")
        return Refusal("broker", "granted, nothing delivered" if granted else "the connection is closed")

    def listen_by_password(self) -> Refusal:
        """With the other unit's certificate, and the control room's name in the password field."""
        files = self.broker.certificate(OTHER)
        heard: list[bytes] = []
        client = Client(CallbackAPIVersion.VERSION2, OTHER, protocol=MQTTProtocolVersion.MQTTv311)
        client.username_pw_set(CONTROL_ROOM, "guest")
        context = ssl.create_default_context(cafile=files.authority)
        context.load_cert_chain(files.cert, files.key)
        client.tls_set_context(context)
        client.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
        client.connect(self.broker.tried.host, self.broker.tried.port)
        client.loop_start()
        accepted = wait_for(client.is_connected, 2.0)
        client.subscribe(self.live.alert, 1)
        self._honest()
        wait_for(lambda: heard, QUIET_S)
        client.disconnect()
        client.loop_stop()
        if heard:
            raise NotRefusedError("the name in the password field counts")
        return Refusal(
            "broker", "the name is ignored: the certificate's counts" if accepted else "not let in"
        )

    def speak_under_anothers_client_id(self) -> Refusal:
        return self._publishes(OTHER, self.live.alert, client_id=f"{UNIT}.0")

    def listen_under_anothers_client_id(self) -> Refusal:
        return self._listens(OTHER, self.live.lease, client_id=f"{UNIT}.0")

    def throw_off_by_client_id(self) -> Refusal:
        """With everything about a unit's client id that another can know: its form, and the name in it."""
        before, place = self.unit.counts.connections, self.broker.tried
        for guess in (UNIT, f"{UNIT}.0", new_client_id(UNIT), UNIT):
            over_tls(place, self.broker.certificate(OTHER), connect_packet(guess))
        lost = wait_for(lambda: not self.unit.connected or self.unit.counts.connections > before, 1.0)
        assert wait_for(lambda: self.unit.connected, 10.0)
        if lost:
            raise NotRefusedError("the unit is thrown off and comes back by itself; its topics stay its own")
        if place.kind == "mosquitto":
            return Refusal("broker", "the client id is ignored: the certificate's name counts")
        return Refusal("unit", "let in, as itself; 128 bits of the unit's client id are secret")

    def oversize(self) -> Refusal:
        """A message four times as long as any limit of ours, on its own topic."""
        link = self.broker.connected_link(OTHER, max_payload_bytes=2 * OVERSIZE)
        drain(self.room)
        link.publish(Topics(OTHER, bench=False).alert, bytes(OVERSIZE))
        refused = wait_for(lambda: link.counts.forbidden or not link.connected, 4.0)
        error, heard = link.last_error, drain(self.room, QUIET_S)
        link.close(None, timeout_s=1.0)
        if heard:
            raise NotRefusedError(f"{len(heard[0])} bytes arrived")
        acknowledged = "acknowledged, " if link.counts.acknowledged else ""
        return Refusal("broker", error.what if refused and error else f"{acknowledged}not delivered")


def drain(link: MqttLink, seconds: float = 0.0, until: bytes | None = None) -> list[bytes]:
    """What has arrived, and arrives within the time or until this payload does."""
    heard: list[bytes] = []

    def take() -> bool:
        while not link.inbox.empty():
            heard.append(link.inbox.get_nowait().payload)
        return until is not None and until in heard

    wait_for(take, seconds)
    return heard
