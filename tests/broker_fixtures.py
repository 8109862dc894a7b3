"""Real brokers as fixtures. A test module takes them with `pytest_plugins = ["tests.broker_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeagent.demo.broker import Kind, start_broker
from tests.broker_tools import Broker, require


def _run(folder: Path, kind: Kind) -> Iterator[Broker]:
    with start_broker(folder, now=datetime.now(UTC), kind=kind) as running:
        broker = Broker(running)
        yield broker
        running.thaw()
        broker.close_links()
    assert running.pid is None


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A real Mosquitto: TLS 1.3, client certificates, access list."""
    require("mosquitto")
    yield from _run(tmp_path / "mosquitto", "mosquitto")


@pytest.fixture(params=["mosquitto", "amqtt"])
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Each kind of broker in turn."""
    require(request.param)
    yield from _run(tmp_path / request.param, request.param)


@pytest.fixture
def amqtt(tmp_path: Path) -> Iterator[Broker]:
    """The broker in Python."""
    require("amqtt")
    yield from _run(tmp_path / "amqtt", "amqtt")
