"""Three RabbitMQ nodes refuse what Mosquitto refuses. Slow: `make broker-table`, or BROKER_RABBITMQ=1."""

from __future__ import annotations

import os

import pytest

from tests.broker_table import ROWS, Results, attack, missing
from tests.broker_trials import Refusal
from tests.test_brokers import BY_SIGNATURE

pytestmark = pytest.mark.timeout(400)
BY_UNIT = {"throw another off by its client id": "unit"}
"""RabbitMQ 3.10 lets everybody choose a client id; a unit's cannot be guessed."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every attempt against one cluster."""
    absent = missing("rabbitmq")
    if absent:
        pytest.skip(f"{absent} is not installed")
    if not os.environ.get("BROKER_RABBITMQ"):
        pytest.skip("BROKER_RABBITMQ is not set: a cluster of three takes about two minutes")
    return attack("rabbitmq", tmp_path_factory.mktemp("rabbitmq"))


@pytest.mark.parametrize("row", ROWS)
def test_refused(results: Results, row: str) -> None:
    result = results[row]
    assert isinstance(result, Refusal), result
    assert result.by == (BY_UNIT | BY_SIGNATURE).get(row, "broker")
