"""R30: a record of every deployment, made from its log, in the columns that forces publish and more."""

from __future__ import annotations

import pytest

from edgeagent.controlroom.record.build import build
from edgeagent.controlroom.record.table import row
from tests.record_log import evening
from tests.test_record import GOLDEN, golden, returned

PUBLISHED = (
    "location date duration_min use_case watchlist_size threshold total_alerts "
    "true_confirmed true_unconfirmed false_confirmed false_unconfirmed false_alert_rate "
    "arrests other_disposals no_action faces_seen"
)
BEYOND = "tpir operator_rejected versions model_pack_sha256 officer_hours"


@pytest.mark.parametrize("name", ["record.txt", "record.csv", "record.json"])
def test_the_evenings_record_is_the_golden_one(name: str) -> None:
    """R30."""
    kept = (GOLDEN / name).read_bytes().decode()
    assert golden()[name] == kept, "if it was meant to change: python -m tests.test_record"


@pytest.mark.parametrize("column", f"{PUBLISHED} {BEYOND}".split())
def test_the_rules_columns_are_there_and_filled(column: str) -> None:
    (record,) = build([evening().log()], [returned()]).deployments
    assert row(record)[column] not in (None, "")


def test_a_log_that_does_not_verify_gives_no_record_that_says_it_does() -> None:
    whole = build([evening().log(verified=False)], [])
    assert not whole.verified
    assert row(whole.deployments[0])["log_verified"] == "NO"
