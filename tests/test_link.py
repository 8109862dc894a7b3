from __future__ import annotations

import gc
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client

from edgeagent.alerts import link as link_module
from edgeagent.alerts.link import WITHOUT_5_S, MqttLink
from edgeagent.alerts.link_types import LinkSettings, Subscription, Will
from edgeagent.alerts.topics import Topics, every_unit
from edgeagent.demo.mosquitto_conf import LEASE_DESK
from edgeagent.errors import BrokerError, ConfigError, KeyFileError
from edgeagent.system.certificates import issue, make_authority
from tests.broker_tools import CONTROL_ROOM, Broker, receive, wait_for

pytest_plugins = ["tests.broker_fixtures"]

UNIT = Topics("unit-a", bench=False)
OTHER = Topics("unit-b", bench=False)
BENCH = Topics("unit-a", bench=True)


def test_alert_and_receipt_make_the_round_trip(any_broker: Broker) -> None:
    unit = any_broker.connected_link("unit-a", UNIT.receipt)
    desk = any_broker.connected_link(CONTROL_ROOM, every_unit("alert", bench=False))
    alert = bytes(range(256)) * 150
    unit.publish(UNIT.alert, alert, expires_in_s=30)
    arrived = receive(desk)
    assert (arrived.topic, arrived.payload, arrived.retained) == (UNIT.alert, alert, False)
    desk.publish(UNIT.receipt, b"receipt")
    assert receive(unit).payload == b"receipt"
    assert wait_for(lambda: unit.counts.acknowledged == 1)
    assert "receipt" not in repr(arrived).replace("receipt'", "")


@pytest.mark.parametrize(("kind", "protocol"), [("mosquitto", "MQTT 5"), ("amqtt", "MQTT 3.1.1")])
def test_the_newest_protocol_that_the_broker_has_is_spoken(
    request: pytest.FixtureRequest, kind: str, protocol: str
) -> None:
    broker: Broker = request.getfixturevalue(kind)
    link = broker.connected_link("unit-a", UNIT.lease, will=Will(UNIT.state, b"lost"))
    assert link.broker_protocol == protocol
    assert link.last_error is None


def test_retained_state_reaches_a_desk_that_comes_late_and_the_will_follows(any_broker: Broker) -> None:
    unit = any_broker.link("unit-a", will=Will(UNIT.state, b"lost"))
    assert wait_for(lambda: unit.connected)
    unit.publish(UNIT.state, b"birth 1", retain=True)
    assert wait_for(lambda: unit.counts.acknowledged == 1)
    desk = any_broker.connected_link(CONTROL_ROOM, Subscription(UNIT.state, accept_retained=True))
    first = receive(desk)
    assert (first.payload, first.retained) == (b"birth 1", True)
    _cut(unit)
    assert receive(desk).payload == b"lost"


def test_a_polite_close_publishes_the_last_word_and_no_will(any_broker: Broker) -> None:
    desk = any_broker.connected_link(CONTROL_ROOM, Subscription(UNIT.state, accept_retained=True))
    unit = any_broker.connected_link("unit-a", will=Will(UNIT.state, b"lost"))
    assert unit.close((UNIT.state, b"offline", True), timeout_s=4.0)
    assert receive(desk).payload == b"offline"
    time.sleep(0.5)
    assert desk.inbox.empty(), "the broker published the will although we said goodbye"
    assert not unit.running
    assert not unit.connected


def test_without_a_last_word_the_will_speaks(any_broker: Broker) -> None:
    desk = any_broker.connected_link(CONTROL_ROOM, Subscription(UNIT.state, accept_retained=True))
    unit = any_broker.connected_link("unit-a", will=Will(UNIT.state, b"lost"), max_payload_bytes=100)
    assert not unit.close((UNIT.state, b"x" * 101, True), timeout_s=4.0)
    assert receive(desk).payload == b"lost"


def test_birth_is_published_on_every_connection(any_broker: Broker) -> None:
    births: list[str] = []

    def birth() -> None:
        births.append(f"birth {len(births) + 1}")
        unit.publish(UNIT.state, births[-1].encode(), retain=True)

    unit = any_broker.link("unit-a", UNIT.lease, on_connected=birth)
    assert wait_for(lambda: unit.counts.acknowledged == 1)
    any_broker.running.kill()
    began = time.monotonic()
    assert wait_for(lambda: not unit.connected, 60)
    assert time.monotonic() - began < 1.0
    with pytest.raises(BrokerError, match="not connected"):
        unit.publish(UNIT.alert, b"must not be queued")
    any_broker.running.start()
    assert wait_for(lambda: unit.counts.acknowledged == 2, 60), unit.last_error
    desk = any_broker.connected_link(
        CONTROL_ROOM, every_unit("alert", bench=False), Subscription(UNIT.state, accept_retained=True)
    )
    assert receive(desk).payload == b"birth 2"
    time.sleep(0.3)
    assert desk.inbox.empty(), "a message refused while disconnected was sent after all"


def test_a_birth_that_fails_gives_the_connection_up_and_tries_again(mosquitto: Broker) -> None:
    calls: list[int] = []

    def birth() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BrokerError("the birth could not be said")

    unit = mosquitto.link("unit-a", on_connected=birth)
    assert wait_for(lambda: unit.connected and len(calls) == 2)
    assert "birth" in str(unit.last_error)


def test_what_the_broker_never_acknowledged_is_not_sent_again_by_itself(mosquitto: Broker) -> None:
    unit = mosquitto.connected_link("unit-a")
    mosquitto.running.freeze()
    unit.publish(UNIT.alert, b"stale")
    mosquitto.running.kill()
    assert wait_for(lambda: not unit.connected, 60)
    mosquitto.running.start()
    desk = mosquitto.connected_link(CONTROL_ROOM, every_unit("alert", bench=False))
    assert wait_for(lambda: unit.connected, 60)
    unit.publish(UNIT.alert, b"fresh")
    assert receive(desk).payload == b"fresh"


def test_a_frozen_broker_is_noticed_within_two_keepalives(any_broker: Broker) -> None:
    unit = any_broker.connected_link("unit-a", UNIT.lease, keepalive_s=1)
    any_broker.running.freeze()
    began = time.monotonic()
    assert wait_for(lambda: not unit.connected, 60)
    assert time.monotonic() - began < 2.5
    assert "does not answer" in str(unit.last_error)
    with pytest.raises(BrokerError):
        unit.publish(UNIT.alert, b"m")
    any_broker.running.thaw()
    assert wait_for(lambda: unit.connected, 60), unit.last_error


def test_a_frozen_broker_does_not_hold_up_close(mosquitto: Broker) -> None:
    unit = mosquitto.connected_link("unit-a", will=Will(UNIT.state, b"lost"), keepalive_s=60)
    mosquitto.running.freeze()
    began = time.monotonic()
    assert not unit.close((UNIT.state, b"offline", True), timeout_s=2.0)
    assert time.monotonic() - began < 2.5
    mosquitto.running.thaw()
    desk = mosquitto.connected_link(CONTROL_ROOM, Subscription(UNIT.state, accept_retained=True))
    assert receive(desk).payload in (b"offline", b"lost")
    assert wait_for(lambda: not unit.running)


def test_paho_never_queues(mosquitto: Broker) -> None:
    unit = mosquitto.connected_link("unit-a", max_in_flight=4, keepalive_s=60)
    mosquitto.running.freeze()
    for _ in range(4):
        unit.publish(UNIT.alert, b"m")
    with pytest.raises(BrokerError, match="too many"):
        unit.publish(UNIT.alert, b"m")
    mosquitto.running.thaw()
    assert wait_for(lambda: unit.counts.acknowledged == 4)
    unit.publish(UNIT.alert, b"m")


def test_an_alert_that_nobody_listens_for_is_counted(mosquitto: Broker) -> None:
    unit = mosquitto.connected_link("unit-a")
    unit.publish(UNIT.alert, b"m")
    assert wait_for(lambda: unit.counts.unheard == 1)


# Who may connect


def _refused(link: MqttLink, pattern: str) -> None:
    assert wait_for(lambda: link.last_error is not None and pattern in str(link.last_error)), link.last_error
    assert not link.connected
    assert link.last_error is not None
    assert link.last_error.next_step


def test_a_client_from_another_authority_is_refused(any_broker: Broker, tmp_path: Path) -> None:
    make_authority(tmp_path, "somebody-else", now=datetime.now(UTC))
    stranger = issue(tmp_path, "unit-a", server=False, hosts=(), days=2, now=datetime.now(UTC))
    link = any_broker.link("unit-a", cert_file=stranger.cert, key_file=stranger.key)
    # asyncio, under amqtt, aborts a failed handshake before its alert is sent.
    says_why = any_broker.running.kind == "mosquitto"
    _refused(link, "the broker refuses our certificate" if says_why else "the connection was closed")


def test_a_broker_from_another_authority_is_refused(any_broker: Broker, tmp_path: Path) -> None:
    other = make_authority(tmp_path, "somebody-else", now=datetime.now(UTC))
    _refused(any_broker.link("unit-a", ca_file=other.cert), "the broker's certificate is not accepted")


def test_a_client_without_a_certificate_is_refused(any_broker: Broker) -> None:
    context = ssl.create_default_context(cafile=any_broker.running.ca_file)
    address = (any_broker.running.host, any_broker.running.port)
    with (
        socket.create_connection(address, 3.0) as plain,
        context.wrap_socket(plain, server_hostname=address[0]) as secure,
    ):
        assert not _answer_to(secure, b"\x10\x13\x00\x04MQTT\x04\x02\x00\x05\x00\x07unit-xy")


def _answer_to(secure: ssl.SSLSocket, packet: bytes) -> bytes:
    try:
        secure.sendall(packet)
        return secure.recv(4)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_a_broker_under_another_host_name_is_refused(any_broker: Broker) -> None:
    # The same broker by an address that its certificate does not name.
    link = any_broker.link("unit-a", host=f"::ffff:{any_broker.running.host}")
    _refused(link, "certificate is not accepted (IP address mismatch")


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"port": 1}, "nothing listens there"),
        ({"host": "no-such-host.invalid"}, "cannot be resolved"),
    ],
)
def test_an_unreachable_broker_is_named(mosquitto: Broker, changes: dict[str, Any], pattern: str) -> None:
    _refused(mosquitto.link("unit-a", **changes), pattern)


def test_nobody_can_throw_another_out_by_taking_its_name(any_broker: Broker) -> None:
    victim = any_broker.connected_link("unit-b")
    impostor = any_broker.link("unit-a", client_id="unit-b")
    time.sleep(0.5)
    # Mosquitto lets it in under its own name; amqtt cannot, and does not let it in.
    assert impostor.connected == (any_broker.running.kind == "mosquitto")
    assert (victim.connected, victim.counts.connections) == (True, 1)


def test_two_devices_with_one_certificate_are_told(mosquitto: Broker) -> None:
    first = mosquitto.connected_link("unit-a", retry_first_s=2.0, retry_cap_s=2.0)
    mosquitto.connected_link("unit-a", retry_first_s=2.0, retry_cap_s=2.0)
    assert wait_for(lambda: first.last_error is not None)
    assert "a second device with this name" in str(first.last_error)


# What each may do


@pytest.mark.parametrize(
    "topic", [OTHER.alert, OTHER.state, Topics("unit-b", bench=True).alert, UNIT.lease, UNIT.receipt]
)
def test_a_unit_cannot_speak_for_another_or_for_the_desk(any_broker: Broker, topic: str) -> None:
    every = [every_unit(kind, bench=bench) for kind in ("alert", "state") for bench in (False, True)]
    desk = any_broker.connected_link(CONTROL_ROOM, *every)
    victim = any_broker.connected_link("unit-b", OTHER.lease, OTHER.receipt)
    unit = any_broker.connected_link("unit-a", UNIT.lease, UNIT.receipt)
    unit.publish(topic, b"forged")
    unit.publish(UNIT.alert, b"genuine")
    assert receive(desk).payload == b"genuine"
    assert all(link.inbox.empty() for link in (desk, victim, unit))
    if unit.broker_protocol == "MQTT 5":
        assert wait_for(lambda: unit.counts.forbidden == 1)
        assert "does not authorise" in str(unit.last_error)


def test_the_control_room_cannot_hold_the_lease(any_broker: Broker) -> None:  # R16
    unit = any_broker.connected_link("unit-a", UNIT.lease, UNIT.receipt)
    desk = any_broker.connected_link(CONTROL_ROOM)
    desk.publish(UNIT.lease, b"not its own to give")
    desk.publish(UNIT.receipt, b"receipt")
    assert receive(unit).payload == b"receipt"
    assert unit.inbox.empty()


def test_a_unit_hears_nothing_of_another(any_broker: Broker) -> None:
    unit = any_broker.link("unit-a", OTHER.lease)
    desk = any_broker.connected_link(LEASE_DESK)
    wait_for(lambda: unit.connected, 1.0)
    desk.publish(OTHER.lease, b"for b")
    assert wait_for(lambda: desk.counts.acknowledged == 1)
    time.sleep(0.2)
    assert unit.inbox.empty()


def test_a_subscription_that_the_broker_refuses_is_no_connection(amqtt: Broker) -> None:
    _refused(amqtt.link("unit-a", OTHER.lease), "reason 0x80")


def test_bench_and_live_do_not_meet(mosquitto: Broker) -> None:  # R33
    live = mosquitto.connected_link(CONTROL_ROOM, every_unit("alert", bench=False))
    unit = mosquitto.connected_link("unit-a")
    unit.publish(BENCH.alert, b"bench")
    unit.publish(UNIT.alert, b"live")
    assert receive(live).payload == b"live"


# What is taken in


def test_a_retained_lease_is_refused(any_broker: Broker) -> None:  # R16
    desk = any_broker.connected_link(LEASE_DESK)
    desk.publish(UNIT.lease, b"stale", retain=True)
    assert wait_for(lambda: desk.counts.acknowledged == 1)
    unit = any_broker.connected_link("unit-a", UNIT.lease)
    assert wait_for(lambda: unit.counts.retained_refused == 1)
    desk.publish(UNIT.lease, b"fresh")
    assert receive(unit).payload == b"fresh"


def test_a_lease_marked_retained_is_refused_even_while_we_listen(mosquitto: Broker) -> None:  # R16
    unit = mosquitto.connected_link("unit-a", UNIT.lease)
    desk = mosquitto.connected_link(LEASE_DESK)
    desk.publish(UNIT.lease, b"to be kept", retain=True)
    assert wait_for(lambda: unit.counts.retained_refused == 1)
    assert unit.inbox.empty()


def test_a_message_over_the_limit_is_dropped_and_refused(any_broker: Broker) -> None:
    desk = any_broker.connected_link(CONTROL_ROOM)
    unit = any_broker.connected_link("unit-a", UNIT.receipt, max_payload_bytes=100)
    desk.publish(UNIT.receipt, b"x" * 101)
    desk.publish(UNIT.receipt, b"x" * 100)
    assert len(receive(unit).payload) == 100
    assert unit.counts.oversize == 1
    with pytest.raises(BrokerError, match="over the limit"):
        unit.publish(UNIT.alert, b"x" * 101)


def test_a_full_inbox_drops_and_counts(any_broker: Broker) -> None:
    desk = any_broker.connected_link(CONTROL_ROOM)
    unit = any_broker.connected_link("unit-a", UNIT.receipt, inbox_size=3)
    for number in range(5):
        desk.publish(UNIT.receipt, str(number).encode())
    assert wait_for(lambda: unit.counts.overflow == 2)
    assert [receive(unit).payload for _ in range(3)] == [b"0", b"1", b"2"]


# Brokers that know only MQTT 3.1.1 and say so badly

_CONNACK_OK = b"\x20\x02\x00\x00"
_CONNACK_WRONG_PROTOCOL = b"\x20\x02\x00\x01"
_SUBACK = b"\x90\x03"
_PINGREQ = b"\xc0\x00"


@contextmanager
def _old_broker(
    folder: Path,
    manner: str,
    *,
    cuts: bool = False,
    asked: list[int] | None = None,
    hesitates_s: float = 0.0,
    thinks_s: float = 0.0,
    grants_after_s: float = 0.0,
) -> Iterator[LinkSettings]:
    """Speaks TLS and MQTT 3.1.1; at a CONNECT of MQTT 5 it hangs up, keeps silent, or refuses.

    `asked`: the protocol of each CONNECT, 5 or 4. `cuts`: it hangs up right after its answer.
    `hesitates_s`: before it begins with TLS, one connection after the other. `thinks_s`: before it welcomes a
    client, and again before it grants a subscription. `grants_after_s`: before that alone.
    """
    now = datetime.now(UTC)
    make_authority(folder, "old-authority", now=now)
    server = issue(folder, "broker", server=True, hosts=("localhost",), days=2, now=now)
    client = issue(folder, "unit-a", server=False, hosts=(), days=2, now=now)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server.authority)
    context.load_cert_chain(server.cert, server.key)
    over = threading.Event()

    def answer(connection: ssl.SSLSocket) -> None:
        known = b"MQTT\x04" in (said := connection.recv(200))
        if asked is not None and said:
            asked.append(said[said.index(b"MQTT") + 4])
        if known:
            time.sleep(thinks_s)
            connection.sendall(_CONNACK_OK)
            if thinks_s or grants_after_s:
                subscribe = connection.recv(200)
                over.wait(thinks_s or grants_after_s)
                if _PINGREQ in connection.recv(200):  # else nobody is there any more, to a broker
                    connection.sendall(_SUBACK + subscribe[2:4] + b"\x01")
            if not cuts:
                hold(connection)
        elif manner == "refuses":
            connection.sendall(_CONNACK_WRONG_PROTOCOL)
        elif manner == "keeps silent":
            connection.recv(1)  # until the client gives up

    def hold(connection: ssl.SSLSocket) -> None:
        connection.settimeout(0.1)
        while not over.is_set():
            with suppress(TimeoutError):
                if not connection.recv(100):
                    return

    def serve() -> None:
        while not over.is_set():
            try:
                raw, _address = listener.accept()
            except TimeoutError:
                continue
            raw.settimeout(5.0)
            time.sleep(hesitates_s)
            with raw, suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        yield LinkSettings(
            "localhost", port, "unit-a", client.authority, client.cert, client.key, keepalive_s=1
        )
        over.set()
        thread.join(5.0)
        assert not thread.is_alive()


@pytest.mark.parametrize("manner", ["refuses", "hangs up", "keeps silent"])
def test_a_broker_that_does_not_know_mqtt_5_is_spoken_to_in_3_1_1(tmp_path: Path, manner: str) -> None:
    with _old_broker(tmp_path, manner) as settings:
        link = _start(replace(settings, connect_timeout_s=1.0))
        assert wait_for(lambda: link.connected, 60), link.last_error
        assert link.broker_protocol == "MQTT 3.1.1"
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)


def test_a_broker_that_hung_up_on_mqtt_5_is_asked_for_it_again_after_an_hour_only(tmp_path: Path) -> None:
    asked: list[int] = []
    now = [0.0]
    with _old_broker(tmp_path, "hangs up", cuts=True, asked=asked) as settings:
        link = _start(replace(settings, retry_first_s=0.01, retry_cap_s=0.05), lambda: now[0])
        assert wait_for(lambda: len(asked) >= 6, 60), link.last_error
        assert asked[:6] == [5, 4, 4, 4, 4, 4]
        now[0] = WITHOUT_5_S
        assert wait_for(lambda: 5 in asked[6:], 60), link.last_error
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)


def test_a_broker_that_is_slower_than_the_first_patience_is_reached_all_the_same(tmp_path: Path) -> None:
    """As one is whose whole fleet comes back at once; everybody would leave before his turn, for ever."""
    with _old_broker(tmp_path, "refuses", hesitates_s=1.2) as settings:
        link = _start(replace(settings, connect_timeout_s=0.1, retry_cap_s=0.5))
        assert wait_for(lambda: link.connected, 60), link.last_error
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)


def test_a_broker_that_has_let_us_in_is_given_more_time_to_grant_and_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LET_IN_S", 4.0)
    asked: list[int] = []
    with _old_broker(tmp_path, "hangs up", asked=asked, grants_after_s=2.5) as settings:
        hasty = replace(settings, connect_timeout_s=1.0)
        link = _start(hasty, subscriptions=[Subscription(UNIT.receipt)])
        assert wait_for(lambda: link.connected, 60), link.last_error
        assert asked == [5, 4]
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)
    (tmp_path / "second").mkdir()
    with _old_broker(tmp_path / "second", "hangs up", asked=asked, grants_after_s=60.0) as settings:
        link = _start(replace(settings, connect_timeout_s=1.0), subscriptions=[Subscription(UNIT.receipt)])
        assert wait_for(lambda: "did not grant" in str(link.last_error), 60), link.last_error
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)


def test_a_broker_that_is_silent_for_longer_than_two_keep_alives_is_waited_for(tmp_path: Path) -> None:
    """It has a fleet to welcome, and what those leave behind who go too early is more work for it."""
    asked: list[int] = []
    with _old_broker(tmp_path, "hangs up", asked=asked, thinks_s=3.5) as settings:
        patient = replace(settings, keepalive_s=1, connect_timeout_s=20.0)
        link = _start(patient, subscriptions=[Subscription(UNIT.receipt)])
        assert wait_for(lambda: link.connected, 60), link.last_error
        assert asked == [5, 4]
        link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not link.running)


def _start(
    settings: LinkSettings,
    monotonic: Callable[[], float] = time.monotonic,
    subscriptions: Sequence[Subscription] = (),
) -> MqttLink:
    link = MqttLink(
        settings,
        subscriptions=subscriptions,
        will=None,
        on_connected=lambda: None,
        monotonic=monotonic,
        rng=random.Random(1),
    )
    link.start()
    return link


def test_the_log_says_once_why_there_is_no_broker_and_when_there_is_one_again(
    mosquitto: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "edgeagent"):
        unit = mosquitto.connected_link("unit-a", retry_first_s=0.01, retry_cap_s=0.02)
        _cut(unit)
        assert wait_for(lambda: unit.counts.connections == 2 and unit.connected)
        mosquitto.running.kill()
        assert wait_for(lambda: "nothing listens" in str(unit.last_error)), unit.last_error
        time.sleep(0.5)  # many attempts
    said = [line.removeprefix("broker: ") for line in caplog.messages if line.startswith("broker: ")]
    assert said[0] == said[2] == "connected over MQTT 5"
    assert "closed" in said[1]
    assert sum("nothing listens there" in line for line in said) == 1, said


def _cut(link: MqttLink) -> None:
    """Close the link's socket under it, as a lost network would."""
    session = link._session
    assert session is not None
    session.close(polite=False)


def test_lost_connections_leave_no_sockets_threads_or_messages_behind(mosquitto: Broker) -> None:
    unit = mosquitto.connected_link("unit-a", retry_first_s=0.01, retry_cap_s=0.02)

    def cycle() -> None:
        seen = unit.counts.connections
        unit.publish(UNIT.alert, b"m" * 10_000)
        _cut(unit)
        assert wait_for(lambda: unit.counts.connections > seen and unit.connected), unit.last_error

    cycle()
    time.sleep(0.3)
    gc.collect()
    before = _held()
    for _ in range(30):
        cycle()
    time.sleep(0.3)
    gc.collect()
    after = _held()
    assert all(after[name] <= before[name] for name in before), (before, after)


def _held() -> dict[str, int]:
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "clients": sum(isinstance(thing, Client) for thing in gc.get_objects()),
    }


# Settings


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"port": 0}, "broker.port"),
        ({"port": 65536}, "broker.port"),
        ({"keepalive_s": 0}, "broker.keepalive_s"),
        ({"max_payload_bytes": 0}, "broker.max_payload_bytes"),
        ({"max_in_flight": 0}, "broker.max_in_flight"),
        ({"inbox_size": 0}, "broker.inbox_size"),
        ({"retry_cap_s": 0.1}, "broker.retry_cap_s"),
        ({"host": ""}, "broker"),
        ({"tls_minimum": "1.0"}, "broker"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], where: str) -> None:
    sound = LinkSettings("localhost", 8883, "unit-a", Path("ca"), Path("crt"), Path("key"))
    with pytest.raises(ConfigError) as caught:
        replace(sound, **changes)
    assert caught.value.where == where


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
@pytest.mark.parametrize("content", [None, "not PEM"])
def test_unusable_tls_files_are_refused_at_start(tmp_path: Path, field: str, content: str | None) -> None:
    now = datetime.now(UTC)
    make_authority(tmp_path, "test-authority", now=now)
    files = issue(tmp_path, "unit-a", server=False, hosts=(), days=2, now=now)
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    sound = LinkSettings("localhost", 8883, "unit-a", files.authority, files.cert, files.key)
    changes: dict[str, Any] = {field: bad}
    settings = replace(sound, **changes)
    with pytest.raises(KeyFileError, match=r"bad\.pem"):
        _start(settings)
