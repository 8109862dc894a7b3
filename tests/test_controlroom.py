"""The control room's receiver: verify, open, commit once, and only then sign a receipt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeagent.alerts.envelope import unwrap, wrap
from edgeagent.controlroom.receiver import Receiver
from edgeagent.documents.jws import base64url
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import Alert
from edgeagent.documents.seal import crop_info, seal
from edgeagent.documents.table import ALERT, RECEIPT, sign, verify
from edgeagent.errors import DocumentError, OutboxError
from edgeagent.safeguards.authority import Kind
from tests.desk import NOW, OTHER_UNIT, UNIT, Desk, at

TOPIC = f"lfr/v1/{UNIT}/alert"
BENCH_TOPIC = f"lfr-bench/v1/{UNIT}/alert"


@pytest.fixture
def receiver(tmp_path: Path, desk: Desk) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received.sqlite", desk[Role.CONTROL_ROOM], desk.trust) as opened:
        yield opened


def rows(tmp_path: Path) -> list[tuple[Any, ...]]:
    """What is committed, read by another connection."""
    reader = sqlite3.connect(tmp_path / "received.sqlite")
    try:
        return reader.execute("SELECT alert, unit FROM received").fetchall()
    finally:
        reader.close()


def message(desk: Desk, signer: Identity | None = None, **changes: Any) -> bytes:
    """A genuine alert in which something is changed and which is then signed again."""
    alert = Alert(**(dict(desk.alert().alert) | changes))
    token = sign(ALERT, alert, signer or desk.unit)
    return wrap("alert", token, identifier=alert.alert, source=UNIT, time=NOW.wall)


def test_an_alert_is_opened_committed_and_receipted(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    sealed = desk.alert()
    arrival = receiver.take(TOPIC, sealed.message, at(1))
    assert arrival.first
    assert arrival.alert == sealed.alert
    picture = cv2.imdecode(np.frombuffer(arrival.crop, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (112, 112, 3)  # R2: the matched face and nothing else
    assert rows(tmp_path) == [(sealed.alert.alert, UNIT)]
    assert arrival.receipt_topic == f"lfr/v1/{UNIT}/receipt"
    receipt = verify(RECEIPT, unwrap(arrival.receipt, "receipt"), desk.trust, NOW).body
    assert (receipt.alert, receipt.unit, receipt.received_at) == (sealed.alert.alert, UNIT, at(1).wall)


def test_a_repetition_is_shown_once_and_receipted_again(
    receiver: Receiver, desk: Desk, tmp_path: Path
) -> None:
    sealed = desk.alert()
    arrivals = [receiver.take(TOPIC, sealed.message, at(n)) for n in range(2)]
    assert [arrival.first for arrival in arrivals] == [True, True], "nobody has seen it yet"
    receiver.shown(sealed.alert)
    arrivals.append(receiver.take(TOPIC, sealed.message, at(2)))
    assert not arrivals[-1].first
    assert all(arrival.receipt for arrival in arrivals)
    assert len(rows(tmp_path)) == 1


def test_a_repetition_is_known_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    sealed = desk.alert()
    for first in (True, False):
        with Receiver(tmp_path / "received.sqlite", desk[Role.CONTROL_ROOM], desk.trust) as receiver:
            assert receiver.take(TOPIC, sealed.message, NOW).first is first
            receiver.shown(sealed.alert)


def test_one_unit_cannot_hide_anothers_alert_by_using_its_id(receiver: Receiver, desk: Desk) -> None:
    """The id is not secret; an alert must not be taken for a repetition of another unit's."""
    genuine = desk.alert()
    crop = seal(
        b"x" * 64, desk[Role.CONTROL_ROOM].sealing.public_key(), crop_info(OTHER_UNIT, genuine.alert.alert)
    )
    forged = message(desk, desk.other_unit, alert=genuine.alert.alert, unit=OTHER_UNIT, crop=base64url(crop))
    assert receiver.take(f"lfr/v1/{OTHER_UNIT}/alert", forged, NOW).first
    assert receiver.take(TOPIC, genuine.message, NOW).first


def _refused(
    receiver: Receiver, topic: str, octets: bytes, what: str, tmp_path: Path, seconds: float = 0
) -> None:
    with pytest.raises(DocumentError, match=what):
        receiver.take(topic, octets, at(seconds))
    assert rows(tmp_path) == [], "a refused alert was committed"


@pytest.mark.parametrize(
    "topic",
    [f"lfr/v1/{OTHER_UNIT}/alert", "lfr/v1/x/alert", BENCH_TOPIC, "", "lfr/v1/UPPER/alert", "other/topic"],
)
def test_an_alert_on_another_topic_is_refused(
    topic: str, receiver: Receiver, desk: Desk, tmp_path: Path
) -> None:
    _refused(receiver, topic, desk.alert().message, "no unit's topic|not of the unit|bench", tmp_path)


def test_an_alert_signed_by_another_unit_is_refused(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    _refused(receiver, TOPIC, message(desk, desk.other_unit), "not of the unit", tmp_path)
    as_other = message(desk, desk.other_unit, unit=OTHER_UNIT)
    _refused(receiver, TOPIC, as_other, "not of the unit", tmp_path)


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.UNIT, Role.ROOT)])
def test_nobody_but_a_unit_makes_an_alert(role: Role, receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    from tests.desk import raw_document

    token = raw_document(ALERT, desk.alert().alert.model_dump_json().encode(), desk[role])
    octets = wrap("alert", token, identifier="1", source=UNIT, time=NOW.wall)
    _refused(receiver, TOPIC, octets, "may not be signed", tmp_path)


@pytest.mark.parametrize(("kind", "topic"), [(Kind.BENCH, TOPIC), (Kind.LIVE, BENCH_TOPIC)])
def test_bench_and_live_alerts_never_mix(
    kind: Kind, topic: str, receiver: Receiver, desk: Desk, tmp_path: Path
) -> None:
    """R33."""
    _refused(receiver, topic, desk.alert(kind=kind).message, "bench", tmp_path)


def test_a_bench_alert_on_the_bench_is_receipted_on_the_bench(receiver: Receiver, desk: Desk) -> None:
    arrival = receiver.take(BENCH_TOPIC, desk.alert(kind=Kind.BENCH).message, NOW)
    assert arrival.receipt_topic == f"lfr-bench/v1/{UNIT}/receipt"
    assert arrival.alert.kind is Kind.BENCH


def test_an_alert_that_expired_on_its_way_is_refused(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    octets = desk.alert().message
    _refused(receiver, TOPIC, octets, "expired", tmp_path, seconds=60)
    assert receiver.take(TOPIC, octets, at(59.9)).first


def test_a_crop_sealed_elsewhere_is_refused(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    """Another key, another alert's crop, another unit's, a cut one: none is committed or receipted."""
    control = desk[Role.CONTROL_ROOM].sealing.public_key()
    alert = desk.alert().alert.alert
    crops = [
        seal(b"x" * 64, desk.unit.sealing.public_key(), crop_info(UNIT, alert)),
        seal(b"x" * 64, control, crop_info(UNIT, "f" * 32)),
        seal(b"x" * 64, control, crop_info(OTHER_UNIT, alert)),
        seal(b"x" * 64, control, crop_info(UNIT, alert))[:-1],
        bytes(64),
    ]
    for crop in crops:
        octets = message(desk, alert=alert, crop=base64url(crop))
        _refused(receiver, TOPIC, octets, "cannot be opened", tmp_path)
    moved = message(desk, alert="0" * 32)
    _refused(receiver, TOPIC, moved, "cannot be opened", tmp_path)


def test_an_altered_message_is_refused(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    octets = desk.alert().message
    for position in range(0, len(octets), 97):
        changed = octets[:position] + bytes([octets[position] ^ 1]) + octets[position + 1 :]
        try:
            receiver.take(TOPIC, changed, NOW)
        except DocumentError:
            continue
        # Only the envelope's id, source and time are outside the signature, and nothing is taken from them.
        assert unwrap(changed, "alert") == unwrap(octets, "alert")


def test_a_message_too_long_is_refused_unread(receiver: Receiver, tmp_path: Path) -> None:
    _refused(receiver, TOPIC, b"[" * 1_000_000, "too long", tmp_path)


def test_no_receipt_without_a_commit(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    """The file fails: no receipt is made, so the unit keeps its alert and sends it again."""
    breaker = sqlite3.connect(tmp_path / "received.sqlite")
    breaker.execute("DROP TABLE received")
    breaker.close()
    with pytest.raises(OutboxError):
        receiver.take(TOPIC, desk.alert().message, NOW)


def test_a_file_that_is_no_database_is_refused_by_name(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "received.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(OutboxError, match="cannot be used"):
        Receiver(path, desk[Role.CONTROL_ROOM], desk.trust)


def test_the_crop_is_neither_kept_nor_shown(receiver: Receiver, desk: Desk, tmp_path: Path) -> None:
    """R3: nothing of the face is in the desk's file or in a printed arrival."""
    sealed = desk.alert()
    arrival = receiver.take(TOPIC, sealed.message, NOW)
    assert arrival.crop[:32] not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert repr(arrival.crop)[2:40] not in repr(arrival)


def test_absurd_times_are_refused_or_taken_but_never_crash(receiver: Receiver, desk: Desk) -> None:
    sealed = desk.alert()
    for year in (1, 9999):
        expires = NOW.wall.replace(year=year)
        try:
            receiver.take(TOPIC, message(desk, expires_at=expires), NOW)
        except DocumentError:
            continue
    assert replace(sealed).expires_at - NOW.wall == timedelta(seconds=60)
