"""R6: a deployment that ended while the unit was off is over when it starts again, and its list is gone."""

from __future__ import annotations

import pytest

from edgeagent.agent.deployment import DeploymentOverError, load_deployment
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import SafeguardError
from tests.desk import END, START, Desk, Folder, at

AFTER = (END - START).total_seconds() + 1


def test_an_authority_past_its_end_is_over_for_good(folder: Folder, desk: Desk) -> None:
    folder.put()
    seen = HighWater(folder.path / "seen.json")
    with pytest.raises(DeploymentOverError) as over:
        load_deployment(folder.unit(), seen, at(AFTER))
    assert over.value.rule == "R6"
    assert over.value.deployment == desk.authority().deployment


def test_a_clock_that_nobody_vouches_for_destroys_nothing(folder: Folder) -> None:
    """A battery-less clock may be years ahead at boot: refused, but not for good."""
    folder.put()
    with pytest.raises(SafeguardError) as refusal:
        load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), at(AFTER, synchronised=False))
    assert not isinstance(refusal.value, DeploymentOverError)
