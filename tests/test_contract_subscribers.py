"""The subscribers of docs/integrators.md, in Python and in JavaScript, at a real broker with real alerts."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeagent.alerts.alert import Circumstances, Sealed, make_alert
from edgeagent.alerts.envelope import unwrap
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.demo.broker import start_broker
from edgeagent.demo.mosquitto_conf import REVOCATION_DESK
from edgeagent.documents.jws import sign_general, strict_json, unbase64url
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import Receipt, UnitState
from edgeagent.documents.seal import crop_info, unseal
from edgeagent.documents.table import ALERT, RECEIPT, STATE, sign
from edgeagent.documents.trust import TYP, TrustStoreContent, trusted
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.instant import Instant
from edgeagent.vision.types import CHIP_SIZE, Chip
from tests import desk as papers
from tests.bench_unit import CLOCK, OTHER_UNIT, UNIT, Bench, Office, Officers, wrapped
from tests.broker_tools import Broker, receive, require, wait_for
from tests.contract.desk_process import PATIENCE_S, Desk, Language

pytest_plugins = ["tests.bench_fixtures", "tests.broker_fixtures"]

LANGUAGES: tuple[Language, ...] = ("python", "javascript")


class Town(Office):
    """An office whose trust store also has, under the unit's name, keys that may not sign its alerts."""

    @property
    def stolen(self) -> Identity:
        return papers.identity(Role.UNIT, UNIT, 2)

    @property
    def ended(self) -> Identity:
        return papers.identity(Role.UNIT, UNIT, 3)

    @property
    def namesake(self) -> Identity:
        return papers.identity(Role.OPERATOR, UNIT, 4)

    def trust_document(self) -> bytes:
        payload = unbase64url(strict_json(super().trust_document())["payload"])
        content = TrustStoreContent.model_validate_json(payload)
        now, day = CLOCK.now().wall, timedelta(days=1)
        stolen = trusted(self.stolen, not_before=now - day, not_after=now + day)
        ended = trusted(self.ended, not_before=now - 2 * day, not_after=now - day)
        namesake = trusted(self.namesake, not_before=now - day, not_after=now + day)
        added = (stolen.model_copy(update={"revoked": True}), ended, namesake)
        listed = content.model_copy(update={"keys": content.keys + added})
        return sign_general(listed.model_dump_json().encode(), TYP, self[Role.ROOT].signing)


OFFICE, STRANGERS = Town(), Office(seed=1)
TOPIC = f"lfr-bench/v1/{UNIT}/alert"


def earlier(seconds: float) -> Instant:
    now = CLOCK.now()
    return Instant(now.monotonic_ns, now.wall - timedelta(seconds=seconds), synchronised=True)


def alert(signer: Identity | None = None, now: Instant | None = None, **authority: Any) -> Sealed:
    """An alert as the daemon makes it, of noise."""
    pixels = np.random.default_rng(secrets.randbits(32)).integers(0, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
    said = {"alert_key": OFFICE[Role.CONTROL_ROOM].seal_key} | authority
    moment = now or CLOCK.now()
    about = Circumstances(papers.Desk().bench_authority(**said), "ef" * 32, 7, moment.wall, 41)
    unit = signer or OFFICE[Role.UNIT]
    return make_alert(Hit(0, 0, 0.7, 0.8, 3), papers.test_subject(1), Chip(pixels), about, unit, moment)


def crop_of(sealed: Sealed) -> bytes:
    """What the unit sealed, opened by the program itself."""
    said = sealed.alert
    info = crop_info(said.unit, said.alert)
    return unseal(unbase64url(said.crop), OFFICE[Role.CONTROL_ROOM].sealing, info)


# --- one broker and one subscriber for many messages --------------------------------------------------------


class Street:
    """A subscriber under test, and two units' connections, of which the first also hears receipts."""

    def __init__(self, subscriber: Desk, broker: Broker) -> None:
        self.subscriber = subscriber
        receipts = Topics(UNIT, bench=True).receipt
        self.unit: MqttLink = broker.connected_link(UNIT, receipts)
        self.other: MqttLink = broker.connected_link(OTHER_UNIT)

    def receipt(self) -> Receipt:
        """The next receipt, verified as the unit does it."""
        message = receive(self.unit, PATIENCE_S)
        return received(RECEIPT, message.payload, OFFICE.trust(), CLOCK.now()).body


@pytest.fixture(scope="module", params=LANGUAGES)
def whole_street(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Street]:
    require("mosquitto")
    folder = tmp_path_factory.mktemp(request.param)
    with start_broker(folder / "broker", now=CLOCK.now().wall, kind="mosquitto") as running:
        broker = Broker(running)
        with Desk(request.param, folder / "desk", broker, OFFICE) as subscriber:
            yield Street(subscriber, broker)
        broker.close_links()


@pytest.fixture
def street(whole_street: Street) -> Street:
    """Without receipts that a failed test left."""
    assert whole_street.subscriber.code is None, "the subscriber has ended"
    while not whole_street.unit.inbox.empty():
        whole_street.unit.inbox.get_nowait()
    return whole_street


def test_a_genuine_alert_is_opened_kept_and_acknowledged(street: Street) -> None:
    sent = alert()
    street.unit.publish(TOPIC, sent.message)
    receipt = street.receipt()
    assert (receipt.alert, receipt.unit) == (sent.alert.alert, UNIT)
    handed_on = street.subscriber.alerts()[-1]
    assert base64.b64decode(handed_on.pop("crop")) == crop_of(sent)
    assert handed_on == json.loads(sent.alert.model_dump_json(exclude={"crop"}))


def test_a_repetition_is_acknowledged_again_and_not_handed_on_again(street: Street) -> None:
    sent = alert()
    for _ in range(3):
        street.unit.publish(TOPIC, sent.message)
    assert [street.receipt().alert for _ in range(3)] == [sent.alert.alert] * 3
    assert [a["alert"] for a in street.subscriber.alerts()].count(sent.alert.alert) == 1


def test_an_alert_that_was_long_on_its_way_is_taken_before_its_end(street: Street) -> None:
    street.unit.publish(TOPIC, alert(now=earlier(61), alert_ttl_s=120.0).message)
    street.receipt()


def altered() -> bytes:
    """Genuinely signed, then another entry was written into it."""
    head, payload, signature = unwrap(alert().message, "alert").split(b".")
    said = unbase64url(payload).replace(b'"entry":"e1"', b'"entry":"e2"')
    return wrapped("alert", b".".join([head, papers.b64(said).encode(), signature]))


def with_header(**header: Any) -> bytes:
    payload = alert().alert.model_dump_json().encode()
    return wrapped("alert", papers.raw_document(ALERT, payload, OFFICE[Role.UNIT], header=header))


def signed_by(signer: Identity) -> bytes:
    """What the program itself would not sign."""
    payload = alert().alert.model_dump_json().encode()
    return wrapped("alert", papers.raw_document(ALERT, payload, signer))


def state_as_alert() -> bytes:
    """Signed by the unit, but another kind of document."""
    return wrapped("alert", sign(STATE, papers.state(unit=UNIT), OFFICE[Role.UNIT]))


def moved_crop() -> bytes:
    """Signed by the unit, with the picture of another alert in it."""
    said = alert().alert.model_copy(update={"crop": alert().alert.crop})
    return wrapped("alert", sign(ALERT, said, OFFICE[Role.UNIT]))


BAD: dict[str, Callable[[], bytes]] = {
    "forged": lambda: alert(STRANGERS[Role.UNIT]).message,
    "altered": altered,
    "expired": lambda: alert(now=earlier(61), alert_ttl_s=60.0).message,
    "live on a bench topic": lambda: alert(kind=Kind.LIVE).message,
    "of another unit": lambda: alert(OFFICE.other_unit).message,
    "in another unit's name": lambda: wrapped("alert", sign(ALERT, alert().alert, OFFICE.other_unit)),
    "by a revoked key": lambda: alert(OFFICE.stolen).message,
    "by a key that has ended": lambda: alert(OFFICE.ended).message,
    "by another role": lambda: signed_by(OFFICE[Role.CONTROL_ROOM]),
    "by another role of the unit's name": lambda: signed_by(OFFICE.namesake),
    "another kind of document": state_as_alert,
    "sealed to another desk": lambda: alert(alert_key=STRANGERS[Role.CONTROL_ROOM].seal_key).message,
    "another alert's picture": moved_crop,
    "no algorithm": lambda: with_header(alg="none"),
    "older name of the algorithm": lambda: with_header(alg="EdDSA"),
    "symmetric algorithm": lambda: with_header(alg="HS256"),
    "key in the header": lambda: with_header(jwk=OFFICE[Role.UNIT].signing.as_dict(private=False)),
    "critical extension": lambda: with_header(crit=["exp"], exp=1),
    "not JSON": lambda: b"\xff\x00",
    "a list": lambda: b"[]",
    "empty": lambda: b"",
    "no token": lambda: b'{"data": 1}',
    "deep": lambda: b"[" * 100_000,
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_whatever_is_not_a_genuine_alert_is_refused(street: Street, make: Callable[[], bytes]) -> None:
    refused, handed_on = len(street.subscriber.refusals()), len(street.subscriber.alerts())
    street.unit.publish(TOPIC, make())
    assert wait_for(lambda: len(street.subscriber.refusals()) > refused, PATIENCE_S)
    follows = alert()  # in order: had there been a receipt for the first, it would come now
    street.unit.publish(TOPIC, follows.message)
    assert street.receipt().alert == follows.alert.alert
    assert len(street.subscriber.alerts()) == handed_on + 1
    assert len(street.subscriber.refusals()) == refused + 1


@pytest.mark.parametrize("signer", [OFFICE[Role.UNIT], OFFICE.other_unit], ids=["moved", "a lie"])
def test_an_alert_on_another_units_topic_is_refused(street: Street, signer: Identity) -> None:
    """It names the one unit; it, or the other that sends it, signed."""
    refused, said = len(street.subscriber.refusals()), alert().alert
    street.other.publish(f"lfr-bench/v1/{OTHER_UNIT}/alert", wrapped("alert", sign(ALERT, said, signer)))

    def handed_on() -> list[str]:
        return [one["alert"] for one in street.subscriber.alerts()]

    assert wait_for(
        lambda: len(street.subscriber.refusals()) > refused or said.alert in handed_on(), PATIENCE_S
    )
    assert said.alert not in handed_on()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_trust_store_of_another_root_is_not_used(
    language: Language, tmp_path: Path, mosquitto: Broker
) -> None:
    subscriber = Desk(language, tmp_path / "desk", mosquitto, OFFICE, root=STRANGERS.root)
    assert subscriber.ends() != 0
    assert "another root" in "".join(subscriber.errors())


# --- the real unit ------------------------------------------------------------------------------------------


def test_a_real_unit_lets_its_alerts_go_at_each_ones_receipts(bench: Bench) -> None:
    """The daemon with its outbox sends; first the one subscriber acknowledges, then the other."""
    bench.put()
    states: list[UnitState] = []
    link = bench.broker.connected_link(
        REVOCATION_DESK, Subscription("lfr-bench/v1/+/state", accept_retained=True)
    )

    def state() -> UnitState:
        message = receive(link, PATIENCE_S)
        states.append(read_state(message.topic, message.payload, bench.office.trust(), CLOCK.now()))
        return states[-1]

    with bench.unit(), Officers(bench):
        before = 0
        assert wait_for(lambda: state().alerts.pending > 0, 60), "nothing waits in the outbox"
        for language in LANGUAGES:
            with Desk(language, bench.path / language, bench.broker, bench.office) as subscriber:
                assert wait_for(lambda: state().alerts.received > before, 60), states[-1]  # noqa: B023
                assert wait_for(lambda: subscriber.alerts(), 5)
                assert not subscriber.refusals()
            before = states[-1].alerts.received
    assert all(a.made == a.pending + a.received for a in (s.alerts for s in states))
