"""A real unit on duty at a broker, and a thief with every desk's TLS certificate but nobody's signing key.

Whoever owns the broker can publish whatever it likes; these are the attempts that only signatures stop (R16,
R20). The unit is the daemon as a process, the control room is the program's own receiver.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from datetime import timedelta
from pathlib import Path
from typing import Self

from edgeagent.alerts.envelope import unwrap
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.lease_holder import LeaseHolder, read_state
from edgeagent.controlroom.receiver import Receiver
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, LEASE_DESK
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.messages import Alert, CameraState, Presence, UnitState
from edgeagent.documents.table import ALERT, sign, verify
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.safeguards.instant import Instant
from tests.bench_unit import CLOCK, DEPLOYMENT, LEASE_S, STRANGE_SEED, UNIT, Bench, Office, wrapped
from tests.broker_tools import wait_for
from tests.broker_trials import NotRefusedError, Refusal, TriedBroker, drain

READY_S = 90.0
"""On a machine with much else to do; nothing waits for longer than it must."""
STATES = 2
"""States of the unit to wait for, until we say that something had no effect."""


class Duty:
    """The unit, the two desks, and what the thief does; the attempts run in the order of `ATTEMPTS`."""

    def __init__(self, broker: TriedBroker, folder: Path) -> None:
        self.bench = Bench(folder, broker)
        self.bench.write()
        self.bench.put()
        self.topics = Topics(UNIT, bench=True)
        self.trust = self.bench.office.trust()
        self.thieves = Office(seed=STRANGE_SEED)
        self.receiver = Receiver(folder / "received.sqlite", self.bench.office[Role.CONTROL_ROOM], self.trust)
        self.states: list[tuple[bytes, UnitState]] = []
        self.alerts: list[bytes] = []
        self.lease = b""

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        broker = self.bench.broker
        both = [Subscription(f"lfr-bench/v1/+/{last}", accept_retained=True) for last in ("alert", "state")]
        self.room = broker.connected_link(CONTROL_ROOM, *both, Subscription("lfr/v1/+/alert"))
        self.desk = broker.connected_link(LEASE_DESK, both[1])
        self._gone = threading.Event()
        self.unit = self._stack.enter_context(self.bench.unit())
        self._stack.callback(self._gone.set)
        self._until(lambda: any(s.deployment and s.challenge for _, s in self.states), READY_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.receiver.__exit__()

    # --- the unit ---------------------------------------------------------------------------------------

    def forged_lease(self) -> Refusal:
        """Everything right but the key."""
        message, _ = self.states[-1]
        self.desk.publish(self.topics.lease, self._answer(self.thieves[Role.CONTROL_ROOM], message))
        self._no_effect(lambda state: state.state is Presence.LIVE or state.camera is not CameraState.CLOSED)
        return Refusal("unit", self._logged("lease"))

    def forged_receipt(self) -> Refusal:
        """While officers hold a lease, an alert waits for its receipt; a forged one must not release it."""
        officers = threading.Thread(target=self._hold)
        officers.start()
        self._until(lambda: self.alerts and self._last.alerts.pending, READY_S)
        alert = self._alert(self.alerts[0])
        self.room.publish(
            self.topics.receipt, self.bench.receipt(alert.alert, self.thieves[Role.CONTROL_ROOM])
        )
        self._no_effect(lambda state: state.alerts.received > 0)
        return Refusal("unit", self._logged("receipt"))

    def replayed_receipt(self) -> Refusal:
        """The genuine one releases its alert, once."""
        alert = self._alert(self.alerts[0])
        genuine = self.bench.receipt(alert.alert)
        self.room.publish(self.topics.receipt, genuine)
        self._until(lambda: self._last.alerts.received == 1, READY_S)
        self.room.publish(self.topics.receipt, genuine)
        self._no_effect(lambda state: state.alerts.received > 1)
        return Refusal("unit", "it names one alert, which is gone already; the others stay")

    def replayed_lease(self) -> Refusal:
        """Officers leave, the camera closes; their last lease is sent again."""
        self._gone.set()
        self._until(
            lambda: self._last.state is Presence.STANDBY and self._last.camera is CameraState.CLOSED, READY_S
        )
        assert self.lease
        self.desk.publish(self.topics.lease, self.lease)
        self._no_effect(lambda state: state.state is Presence.LIVE or state.camera is not CameraState.CLOSED)
        return Refusal("unit", self._logged("lease"))

    # --- the control room -------------------------------------------------------------------------------

    def forged_alert(self) -> Refusal:
        """Sent with the unit's own TLS certificate, signed with another key."""
        self._take_over_the_unit()
        alert = self._alert(self.alerts[0])
        strange = self.thieves[Role.UNIT]
        return self._room_refuses(self.topics.alert, wrapped("alert", sign(ALERT, alert, strange)))

    def replayed_alert(self) -> Refusal:
        """A genuine alert again: shown once. After its end it is no alert any more."""
        first = self.receiver.take(
            self.topics.alert, self._through(self.topics.alert, self.alerts[0]), CLOCK.now()
        )
        if not first.first:
            raise AssertionError("the first arrival was taken for a repetition")
        self.receiver.shown(first.alert)
        again = self.receiver.take(
            self.topics.alert, self._through(self.topics.alert, self.alerts[0]), CLOCK.now()
        )
        if again.first:
            raise NotRefusedError("shown twice")
        late = CLOCK.now()
        late = Instant(late.monotonic_ns, late.wall + timedelta(minutes=10), synchronised=True)
        how = self._room_refuses(self.topics.alert, self.alerts[0], late).how
        return Refusal("control room", f"known by its id, not shown again; later: {how}")

    def alert_of_another_unit(self) -> Refusal:
        """The other unit's genuine signature on this unit's topic."""
        alert = self._alert(self.alerts[0])
        message = wrapped("alert", sign(ALERT, alert, self.bench.office.other_unit))
        return self._room_refuses(self.topics.alert, message)

    def bench_alert_on_live_topic(self) -> Refusal:
        """R33: a test must not pass for an alert."""
        return self._room_refuses(Topics(UNIT, bench=False).alert, self.alerts[0])

    # --- what they share --------------------------------------------------------------------------------

    @property
    def _last(self) -> UnitState:
        return self.states[-1][1]

    def _listen(self) -> None:
        with contextlib.suppress(queue.Empty):
            message = self.room.inbox.get(timeout=0.05)
            if message.topic == self.topics.state:
                state = read_state(message.topic, message.payload, self.trust, CLOCK.now())
                self.states.append((message.payload, state))
            elif message.topic == self.topics.alert:
                self.alerts.append(message.payload)

    def _until(self, condition: object, seconds: float) -> None:
        assert callable(condition)

        def heard() -> bool:
            self._listen()
            return bool(self.states) and bool(condition())

        assert wait_for(heard, seconds), self.states[-1:] or self.unit.said()[-2000:]

    def _no_effect(self, effect: object) -> None:
        assert callable(effect)
        seen = len(self.states)
        self._until(lambda: len(self.states) >= seen + STATES, READY_S)
        if any(effect(state) for _, state in self.states[seen:]):
            raise NotRefusedError("the unit believed it")

    def _answer(self, signer: Identity, state: bytes) -> bytes:
        holder = LeaseHolder(signer, self.trust, DEPLOYMENT, 4, LEASE_S)
        answer = holder.answer(self.topics.state, state, CLOCK.now())
        assert answer is not None
        return answer.message

    def _hold(self) -> None:
        """Honest officers, until they are gone."""
        holder = LeaseHolder(self.bench.office[Role.CONTROL_ROOM], self.trust, DEPLOYMENT, 4, LEASE_S)
        while not self._gone.is_set():
            with contextlib.suppress(queue.Empty, DocumentError, BrokerError):
                message = self.desk.inbox.get(timeout=0.05)
                answer = holder.answer(message.topic, message.payload, CLOCK.now())
                if answer is not None:
                    self.lease = answer.message
                    self.desk.publish(answer.topic, answer.message)

    def _logged(self, kind: str) -> str:
        """What the unit's log said last about such a message."""
        lines = [line for line in self.unit.said().splitlines() if "refused" in line and kind in line]
        assert lines, self.unit.said()[-1000:]
        return lines[-1].partition("refused ")[2].partition(" — ")[0]

    def _alert(self, message: bytes) -> Alert:
        return verify(ALERT, unwrap(message, "alert"), self.trust, CLOCK.now()).body

    def _take_over_the_unit(self) -> None:
        self.unit.kill()
        self.stolen = self.bench.broker.connected_link(UNIT)
        drain(self.room, 0.5)

    def _through(self, topic: str, message: bytes) -> bytes:
        """As it arrives in the room after a way through the broker."""
        drain(self.room)
        self.stolen.publish(topic, message)
        assert message in drain(self.room, 5.0, message), "the broker does not carry it"
        return message

    def _room_refuses(self, topic: str, message: bytes, now: Instant | None = None) -> Refusal:
        try:
            self.receiver.take(topic, self._through(topic, message), now or CLOCK.now())
        except DocumentError as error:
            return Refusal("control room", f"{error.where}: {error.what}")
        raise NotRefusedError("the control room took it")
