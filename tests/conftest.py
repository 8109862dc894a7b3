"""Fixtures that several test files share. Real brokers are in `tests.broker_fixtures`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.desk import Desk, Folder

# `HYPOTHESIS_PROFILE=thorough` before a release. No deadline: machines are shared, correctness is not timing.
settings.register_profile("usual", max_examples=60, deadline=None)
settings.register_profile(
    "thorough", max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

LONG = (
    "test_container",
    "test_demo",
    "test_faults",
    "test_r17_end_to_end",
    "test_agent",
    "test_r16_camera_closes",
    "test_r01_04_live_search",
    "test_r01_ledger_end_to_end",
    "test_r25_26_audit",
    "test_soak",
    "test_brokers",
    "test_list_page",
    "test_fleet",
)
"""Files that take longest, in that order; begun last, one would keep a single core busy at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, where `make test` gives each of its workers a file at a time."""
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def desk() -> Desk:
    """Everybody who signs."""
    return Desk()


@pytest.fixture
def folder(tmp_path: Path, desk: Desk) -> Folder:
    """A unit's folder, empty."""
    return Folder(tmp_path, desk)
