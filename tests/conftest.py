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


@pytest.fixture(scope="session")
def desk() -> Desk:
    """Everybody who signs."""
    return Desk()


@pytest.fixture
def folder(tmp_path: Path, desk: Desk) -> Folder:
    """A unit's folder, empty."""
    return Folder(tmp_path, desk)
