"""R3: when an alert's time is over nobody can open it any more, whatever copies were kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edgeagent.controlroom.receiver import Receiver
from edgeagent.controlroom.retention import due, new_alert_key, survey
from edgeagent.controlroom.retention_erasure import Eraser, ErasureLog
from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role, load_identity, save_identity
from edgeagent.documents.seal import crop_info, unseal
from edgeagent.documents.table import AUTHORITY, sign
from edgeagent.errors import DocumentError, KeyFileError, SafeguardError
from edgeagent.safeguards.authority import authority_allows
from tests.desk import END, NOW, UNIT, Desk, at, profile

TOPIC = f"lfr/v1/{UNIT}/alert"
DUE_S = (END + timedelta(hours=24) - NOW.wall).total_seconds()


def test_no_authority_lets_alerts_be_kept_for_longer_than_the_profile(desk: Desk) -> None:
    most = profile().retention_max_h
    authority_allows(desk.authority(retention_h=most), profile(), unit=UNIT, now=NOW)
    with pytest.raises(SafeguardError, match="retention_h") as refusal:
        authority_allows(desk.authority(retention_h=most + 0.1), profile(), unit=UNIT, now=NOW)
    assert refusal.value.rule == "R3"


def test_a_kept_message_opens_for_nobody_after_the_expiry(desk: Desk, tmp_path: Path) -> None:
    """The MQTT message, the receiver's file, the trust store and the desk's own key are all kept."""
    room = desk[Role.CONTROL_ROOM]
    key = tmp_path / "deployment.key"
    save_identity(new_alert_key(room), key)
    mine = load_identity(key)
    (tmp_path / "authority.json").write_bytes(
        sign(AUTHORITY, desk.authority(alert_key=mine.seal_key), desk[Role.AUTHORISING_OFFICER])
    )
    kept = desk.alert(alert_key=mine.seal_key)
    with Receiver(tmp_path / "received.sqlite", mine, desk.trust) as receiver:
        assert receiver.take(TOPIC, kept.message, NOW).crop
    late = at(DUE_S)
    (one,) = survey([tmp_path], desk.trust, late).kept
    assert one.overdue(late)
    assert not one.overdue(at(DUE_S - 1))
    with ErasureLog(tmp_path / "log", "desk") as log:
        for path in one.keys:
            Eraser(log).key(path, one.deployment, late)
    assert not key.exists()
    with pytest.raises(KeyFileError):
        load_identity(key)
    with (
        Receiver(tmp_path / "received.sqlite", room, desk.trust) as receiver,
        pytest.raises(DocumentError, match="cannot be opened with this key"),
    ):
        receiver.take(TOPIC, kept.message, NOW)
    alert = kept.alert
    for who in desk.people.values():
        with pytest.raises(DocumentError):
            unseal(unbase64url(alert.crop), who.sealing, crop_info(alert.unit, alert.alert))


@pytest.mark.parametrize(
    ("retention_h", "most_h", "hours"),
    [(24.0, 24.0, 24.0), (1.5, 24.0, 1.5), (24.0, 1.0, 1.0), (744.0, 744.0, 744.0)],
)
def test_the_key_lives_until_the_retention_after_the_end(
    retention_h: float, most_h: float, hours: float, desk: Desk
) -> None:
    """A profile that was tightened since counts; one that was loosened gives no more than was authorised."""
    assert due(desk.authority(retention_h=retention_h), most_h) == END + timedelta(hours=hours)
