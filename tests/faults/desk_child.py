"""The control room of a trial: `edgeagent alerts watch` itself in a process, with ledger and mishaps."""

from __future__ import annotations

import os
import random
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeagent.alerts.link import MqttLink
from edgeagent.cli import alerts as alerts_cli
from edgeagent.controlroom.receiver import Arrival, Receiver
from edgeagent.documents.messages import Alert
from edgeagent.errors import DocumentError
from edgeagent.safeguards.instant import Instant
from tests.faults.clock import SteppedClock
from tests.faults.ledger import Ledger


@dataclass(frozen=True)
class DeskOrder:
    """What one start of the control room is to do.

    Attributes:
        receipts_lost: share of its receipts that never reach the broker, by `seed`.
        die_after: killed by the kernel once it has committed so many alerts, before it shows the last one or
            sends its receipt; 0: not.
        file_limit: octets that no file may exceed; None: no limit.
    """

    folder: Path
    seed: int
    receipts_lost: float = 0.0
    die_after: int = 0
    file_limit: int | None = None


def run(order: DeskOrder) -> None:
    """The real command, until it is killed."""
    ledger, clock = Ledger(order.folder / "desk.jsonl"), SteppedClock(order.folder / "clock-desk")
    if order.file_limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_limit, resource.RLIM_INFINITY))
    setattr(alerts_cli, "SystemClock", lambda: clock)  # noqa: B010 - not a name that it exports
    _keep_books(ledger, order.die_after)
    if order.receipts_lost:
        _lose_receipts(order, ledger)
    alerts_cli.alerts.main(
        ["watch", "--config", str(order.folder / "desk.toml"), "--bench", "--json"], standalone_mode=False
    )


def _keep_books(ledger: Ledger, die_after: int) -> None:
    """Note what was committed, and what was shown to somebody."""
    take, shown, serve = Receiver.take, Receiver.shown, MqttLink._serve
    committed = [0]

    def taken(self: Receiver, topic: str, message: bytes, now: Instant) -> Arrival:
        try:
            arrival = take(self, topic, message, now)
        except DocumentError as refusal:
            ledger.write("refused", why=refusal.what)
            raise
        committed[0] += 1
        if committed[0] == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        ledger.write("accepted", id=arrival.alert.alert, first=arrival.first, ns=now.monotonic_ns)
        return arrival

    def was_shown(self: Receiver, alert: Alert) -> None:
        ledger.write("shown", id=alert.alert)
        shown(self, alert)

    def served(self: MqttLink, session: Any) -> float:
        ledger.write("connected")
        return serve(self, session)

    Receiver.take, Receiver.shown = taken, was_shown  # type: ignore[method-assign]
    MqttLink._serve = served  # type: ignore[method-assign]


def _lose_receipts(order: DeskOrder, ledger: Ledger) -> None:
    publish, rng = MqttLink.publish, random.Random(order.seed)

    def published(self: MqttLink, topic: str, *values: Any, **more: Any) -> None:
        if topic.endswith("/receipt") and rng.random() < order.receipts_lost:
            ledger.write("receipt lost")
            return
        publish(self, topic, *values, **more)

    MqttLink.publish = published  # type: ignore[method-assign]
