"""Mosquitto as shipped refuses what it should; the files of both brokers say what the program says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeagent.alerts.link_types import LinkSettings
from edgeagent.alerts.topics import LIVE_PREFIX
from edgeagent.demo.mosquitto_conf import PRODUCTION, access_list, render, write_files
from tests.broker_table import DOOR, DUTY, ROWS, TOPICS, Results, attack, missing
from tests.broker_trials import SCRIPTS, Refusal

SHIPPED = SCRIPTS / "mosquitto"
BY_SIGNATURE = {row: "unit" if row.endswith(("lease", "receipt")) else "control room" for row in DUTY}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every attempt against one Mosquitto."""
    if missing("mosquitto"):
        pytest.skip("mosquitto is not installed")
    return attack("mosquitto", tmp_path_factory.mktemp("mosquitto"))


@pytest.mark.parametrize("row", ROWS)
def test_refused(results: Results, row: str) -> None:
    result = results[row]
    assert isinstance(result, Refusal), result
    assert result.by == BY_SIGNATURE.get(row, "broker")


def test_the_rows_of_the_table_are_all_different() -> None:
    assert len(set(ROWS)) == len(DOOR) + len(TOPICS) + len(DUTY)


def test_the_shipped_files_are_what_the_program_writes(tmp_path: Path) -> None:
    write_files(tmp_path)
    for name in ("mosquitto.conf", "edgeagent.acl"):
        again = f"python -m edgeagent.demo.mosquitto_conf {SHIPPED}"
        assert (SHIPPED / name).read_text() == (tmp_path / name).read_text(), f"run {again}"


def test_every_directive_of_the_shipped_file_has_its_reason() -> None:
    lines = (SHIPPED / "mosquitto.conf").read_text().splitlines()
    assert all(line.startswith("# ") for line in lines[::2])
    assert not any(line.startswith("#") for line in lines[1::2])


def test_nobody_comes_in_without_tls_1_3_and_a_certificate_that_counts() -> None:
    lines = render(PRODUCTION).splitlines()
    for line in (
        "tls_version tlsv1.3",
        "require_certificate true",
        "allow_anonymous false",
        "sys_interval 0",
        "crlfile /etc/mosquitto/edgeagent/ca.crl",
    ):
        assert line in lines
    assert len([line for line in lines if line.startswith("listener ")]) == 1
    # Above `listener` Mosquitto takes no notice of it.
    assert lines.index("use_username_as_clientid true") > lines.index("listener 8883")


def test_the_broker_takes_as_much_as_a_link_sends() -> None:
    assert PRODUCTION.max_message == LinkSettings("h", 1, "c", Path(), Path(), Path()).max_payload_bytes


def test_no_unit_may_write_what_only_desks_write() -> None:
    patterns = [line for line in access_list().splitlines() if line.startswith("pattern")]
    assert f"pattern write {LIVE_PREFIX}/%u/alert" in patterns
    assert not [line for line in patterns if "%u" not in line]
    assert not [
        line for line in patterns if "write" in line and line.endswith(("lease", "receipt", "revocation"))
    ]


def test_a_name_that_is_no_units_gets_no_rights_at_rabbitmq() -> None:
    command = [sys.executable, str(SCRIPTS / "rabbitmq" / "definitions.py"), "unit-01", "unit.*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "is not a unit name" in done.stderr
