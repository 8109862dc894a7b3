"""Benches as fixtures. A test module takes them with `pytest_plugins = ["tests.bench_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench_unit import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Keys, trust store, configuration and broker; documents are put in place by the test."""
    yield from make_bench(tmp_path)


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same for all tests of a module."""
    yield from make_bench(tmp_path_factory.mktemp("bench"))
