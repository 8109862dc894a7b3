"""What a test does to a real program from outside: dies at a chosen step, keeps a ledger, loses receipts.

Everything here replaces a method in the child's own memory. The product has no switch for any of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client

from edgeagent.agent.despatch import Despatch
from edgeagent.alerts import outbox as outbox_module
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.mqtt_session import MqttSession
from edgeagent.alerts.outbox import Outbox
from edgeagent.errors import BrokerError
from edgeagent.safeguards.instant import Instant

Die = Callable[[], None]
PUBLISH = 0x30
PUBACK_S = 2.0
HEAD = 200
"""Octets of a packet in which its topic is."""


def _before(owner: Any, name: str, die: Die) -> None:
    real = getattr(owner, name)

    def replaced(*values: Any, **more: Any) -> Any:
        die()
        return real(*values, **more)

    setattr(owner, name, replaced)


def _after(owner: Any, name: str, die: Die) -> None:
    real = getattr(owner, name)

    def replaced(*values: Any, **more: Any) -> Any:
        answer = real(*values, **more)
        die()
        return answer

    setattr(owner, name, replaced)


def _counted(total: str) -> Callable[[Die], None]:
    """After the rows of a change are written, before the change is committed."""

    def install(die: Die) -> None:
        real = outbox_module._count

        def replaced(db: Any, name: str, by: int) -> None:
            real(db, name, by)
            if name == total:
                die()

        outbox_module._count = replaced

    return install


def _on_the_wire(die: Die) -> None:
    """The whole packet of an alert is in the socket; nothing was read since."""
    real = Client._sock_send

    def replaced(self: Client, buf: Any) -> int:
        sent = real(self, buf)
        if buf[0] & 0xF0 == PUBLISH and b"/alert" in bytes(buf[:HEAD]) and sent == len(buf):
            die()
        return sent

    Client._sock_send = replaced  # type: ignore[method-assign]


def _acknowledged(die: Die) -> None:
    """The broker's PUBACK for an alert was taken note of; its receipt was not looked at."""
    publish, acknowledged = MqttSession.publish, MqttSession._acknowledged
    alerts: set[int] = set()

    def published(self: MqttSession, topic: str, *values: Any, **more: Any) -> Any:
        info = publish(self, topic, *values, **more)
        if topic.endswith("/alert"):
            alerts.add(info.mid)
        return info

    def taken(self: MqttSession, client: Any, data: object, mid: int, *more: Any) -> None:
        acknowledged(self, client, data, mid, *more)
        if mid in alerts:
            die()

    MqttSession.publish = published  # type: ignore[method-assign]
    MqttSession._acknowledged = taken  # type: ignore[method-assign, assignment]


STEPS: dict[str, Callable[[Die], None]] = {
    "before the insert": lambda die: _before(Outbox, "add", die),
    "after the insert, before the commit": _counted("made"),
    "after the commit, before it is sent": lambda die: _after(Outbox, "add", die),
    "after it is sent, before PUBACK": _on_the_wire,
    "after PUBACK, before its receipt": _acknowledged,
    "with its receipt, before that is noted": lambda die: _before(Despatch, "release", die),
    "in its deletion, before the commit": _counted("received"),
    "in its deletion, after the commit": lambda die: _before(Outbox, "_forget", die),
}


def die_at(step: str, nth: int) -> None:
    """Be killed by the kernel, as by the power button, when the step comes for the n-th time."""
    left = [nth]

    def die() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    STEPS[step](die)


def release_on_puback() -> None:
    """A LOSSY unit, to prove that the table finds one: it lets an alert go as soon as the broker has it."""

    def send(self: Despatch, link: MqttLink, now: Instant) -> None:
        for row in self.outbox.due(now.epoch_s, 1):
            self.outbox.attempted(row.alert_id, now.epoch_s)
            before, until = link.counts.acknowledged, time.monotonic() + PUBACK_S
            with contextlib.suppress(BrokerError):
                link.publish(self.topic, row.message, expires_in_s=60)
            while link.counts.acknowledged == before and time.monotonic() < until:
                time.sleep(0.001)
            self.outbox.release(row.alert_id)

    Despatch.send = send  # type: ignore[method-assign]
