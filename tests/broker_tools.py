"""What the tests do with a real broker: certificates, links that are closed afterwards, waiting."""

from __future__ import annotations

import importlib.util
import queue
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming, LinkSettings, Subscription, Will
from edgeagent.demo.broker import Kind, RunningBroker, find_mosquitto
from edgeagent.errors import BrokerError
from edgeagent.system.certificates import Certificate

CONTROL_ROOM = "control-room"


def wait_for(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Whether the condition came true within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


class Broker:
    """A running broker with one certificate per client name, and links to it."""

    def __init__(self, running: RunningBroker) -> None:
        self.running = running
        self._certificates: dict[str, Certificate] = {}
        self._links: list[MqttLink] = []

    def certificate(self, name: str) -> Certificate:
        if name not in self._certificates:
            self._certificates[name] = self.running.issue_client(name, now=datetime.now(UTC))
        return self._certificates[name]

    def settings(self, name: str, **changes: Any) -> LinkSettings:
        files = self.certificate(name)
        values: dict[str, Any] = {
            "host": self.running.host,
            "port": self.running.port,
            "client_id": name,
            "ca_file": files.authority,
            "cert_file": files.cert,
            "key_file": files.key,
            "keepalive_s": 1,
            "connect_timeout_s": 3.0,
            "retry_first_s": 0.1,
            "retry_cap_s": 0.5,
        }
        return LinkSettings(**(values | changes))

    def link(
        self,
        name: str,
        *filters: str | Subscription,
        will: Will | None = None,
        on_connected: Callable[[], None] = lambda: None,
        **changes: Any,
    ) -> MqttLink:
        """A started link that is closed at the end of the test."""
        link = MqttLink(
            self.settings(name, **changes),
            subscriptions=[Subscription(f) if isinstance(f, str) else f for f in filters],
            will=will,
            on_connected=on_connected,
            monotonic=time.monotonic,
            rng=random.Random(1),
        )
        self._links.append(link)
        link.start()
        return link

    def connected_link(self, name: str, *filters: str | Subscription, **options: Any) -> MqttLink:
        link = self.link(name, *filters, **options)
        assert wait_for(lambda: link.connected), link.last_error
        return link

    def close_links(self) -> None:
        for link in self._links:
            link.close(None, timeout_s=2.0)
        assert wait_for(lambda: not any(link.running for link in self._links)), "a link's thread lives on"


def publish_all(link: MqttLink, messages: Iterable[tuple[str, bytes]], seconds: float = 10.0) -> None:
    """Publish many messages, as fast as the broker acknowledges them."""
    deadline = time.monotonic() + seconds
    for topic, message in messages:
        while True:
            try:
                link.publish(topic, message)
                break
            except BrokerError:  # more of them wait than may
                assert time.monotonic() < deadline, f"not published within {seconds:g} s"
                time.sleep(0.02)


def receive(link: MqttLink, seconds: float = 3.0) -> Incoming:
    """The next message, or a failed test."""
    try:
        return link.inbox.get(timeout=seconds)
    except queue.Empty:
        pytest.fail(f"nothing arrived within {seconds} s; {link.counts}; last error: {link.last_error}")


def require(kind: Kind) -> None:
    """Skip the test, naming what is missing."""
    if kind == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    if kind == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("amqtt is not installed (extra `demo`)")
