"""Three RabbitMQ nodes refuse what Mosquitto refuses. Slow: `make broker-table`, or BROKER_RABBITMQ=1."""

from __future__ import annotations

import os

import pytest

from tests.broker_table import KNOWN_GAPS, ROWS, Results, attack, missing
from tests.broker_trials import NotRefusedError, Refusal
from tests.test_brokers import BY_SIGNATURE

pytestmark = pytest.mark.timeout(400)


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
    if isinstance(result, NotRefusedError) and ("rabbitmq", row) in KNOWN_GAPS:
        pytest.xfail(KNOWN_GAPS["rabbitmq", row])
    assert isinstance(result, Refusal), result
    assert result.by == BY_SIGNATURE.get(row, "broker")
