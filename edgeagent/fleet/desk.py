"""The control room of a simulated fleet, `python -m edgeagent.fleet.desk`: the real receiver, as
`edgeagent alerts watch` uses it, without a screen. Started by the simulation only.
"""

from __future__ import annotations

import logging
import queue
import random
import time
from collections import Counter
from pathlib import Path

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming, Subscription
from edgeagent.alerts.settings import of_a_desk
from edgeagent.alerts.topics import every_unit, split_topic
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.controlroom.receiver import Receiver
from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.trust import TrustStore, open_trust_store
from edgeagent.errors import BrokerError, ConfigError, DocumentError, EdgeAgentError
from edgeagent.fleet.office import unpacked
from edgeagent.fleet.unit import settings_of
from edgeagent.fleet.wire import DeskReport, DeskTask, failure, first_line, orders, say
from edgeagent.system.clock import SystemClock

REPORT_EVERY_S = 0.25
WAIT_S = 0.05
DATABASE = "control-room.sqlite"


class Desk:
    """Takes alerts and states of the bench, and watches that no live unit is on this broker (R33)."""

    def __init__(self, receiver: Receiver, trust: TrustStore, link: MqttLink) -> None:
        """`link` is subscribed to the bench's alerts and states and to live states."""
        self._receiver = receiver
        self._trust = trust
        self._link = link
        self._clock = SystemClock()
        self._received: list[tuple[float, float]] = []
        self._unanswered: set[str] = set()
        self._repeated = 0
        self._states = 0
        self._refused: Counter[str] = Counter()
        self._live_unit = ""
        self._report_at = 0.0

    def turn(self) -> None:
        """Take what there is, for a moment at most."""
        try:
            self._take(self._link.inbox.get(timeout=WAIT_S))
        except queue.Empty:
            pass
        except (DocumentError, BrokerError) as refusal:
            self._refused[refusal.what] += 1
        if time.monotonic() >= self._report_at:
            self.report(last=False)

    def report(self, *, last: bool) -> None:
        """Say how it goes."""
        self._report_at = time.monotonic() + REPORT_EVERY_S
        error = self._link.last_error
        say(
            DeskReport(
                connected=self._link.connected,
                received=tuple(self._received),
                repeated=self._repeated,
                refused=dict(self._refused.most_common(50)),
                states=self._states,
                overflow=self._link.counts.overflow,
                problem="" if error is None else str(error),
                live_unit=self._live_unit,
                last=last,
            )
        )
        self._received.clear()

    def _take(self, message: Incoming) -> None:
        try:
            topics, kind = split_topic(message.topic)
        except ConfigError:
            self._refused["no topic of edgeagent"] += 1
            return
        if not message.payload:
            return  # somebody cleared a retained message
        if not topics.bench:
            self._live_unit = topics.unit  # whatever it says, and whoever it is
        elif kind == "state":
            read_state(message.topic, message.payload, self._trust, self._clock.now())
            self._states += 1
        else:
            self._take_alert(message)

    def _take_alert(self, message: Incoming) -> None:
        """In the order of `edgeagent alerts watch`: committed and open, shown, and only then the receipt."""
        arrival = self._receiver.take(message.topic, message.payload, self._clock.now())
        self._receiver.shown(arrival.alert)
        if arrival.first:
            self._unanswered.add(arrival.alert.alert)
        else:
            self._repeated += 1
        self._link.publish(arrival.receipt_topic, arrival.receipt)
        if arrival.alert.alert in self._unanswered:  # the first receipt that went out counts, and it alone
            self._unanswered.remove(arrival.alert.alert)
            captured = arrival.alert.captured_at.timestamp()
            self._received.append((captured, (time.time() - captured) * 1000))


def run(task: DeskTask) -> None:
    """Until the order to stop.

    Raises:
        EdgeAgentError: what cannot be used.
    """
    identity = unpacked(task.holder, Role.CONTROL_ROOM)
    trust = open_trust_store(unbase64url(task.trust), task.root)
    data = Path(task.folder) / DATABASE
    link = MqttLink(
        of_a_desk(settings_of(identity.name, task.endpoint)),
        subscriptions=[
            Subscription(every_unit("alert", bench=True)),
            Subscription(every_unit("state", bench=True), accept_retained=True),
            Subscription(every_unit("state", bench=False), accept_retained=True),
        ],
        will=None,
        on_connected=lambda: None,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    coming = orders()
    with Receiver(data, identity, trust) as receiver:
        desk = Desk(receiver, trust, link)
        link.start()
        while coming.empty():
            desk.turn()
        link.close(None, timeout_s=2.0)
        desk.report(last=True)


def main() -> None:
    """Read the task, do it, say how it went."""
    logging.getLogger("edgeagent").setLevel(logging.ERROR)
    try:
        run(first_line(DeskTask))
    except EdgeAgentError as error:
        say(failure(error))


if __name__ == "__main__":
    main()
