"""Real brokers as fixtures. A test module takes them with `pytest_plugins = ["tests.broker_fixtures"]`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeagent.demo.broker import Kind, find_mosquitto, start_broker
from tests.broker_tools import Broker


def _run(folder: Path, kind: Kind) -> Iterator[Broker]:
    with start_broker(folder, now=datetime.now(UTC), kind=kind) as running:
        broker = Broker(running)
        yield broker
        running.thaw()
        broker.close_links()
    assert running.pid is None


def require(kind: Kind) -> None:
    """Skip the test, naming what is missing."""
    if kind == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    if kind == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("amqtt is not installed (extra `demo`)")


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
