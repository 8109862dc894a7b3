"""One simulated unit: the real way out of an alert, from the outbox to the receipt. It has no camera."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.agent.despatch import Despatch
from edgeagent.agent.recorder import Recorder
from edgeagent.agent.report import Facts, Reporter
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import LinkSettings, Subscription, Will
from edgeagent.alerts.outbox import Outbox, OutboxCounts
from edgeagent.alerts.received import received
from edgeagent.alerts.settings import new_client_id
from edgeagent.alerts.topics import Topics
from edgeagent.audit.events import Started
from edgeagent.audit.log import Journal
from edgeagent.documents.keys import Identity
from edgeagent.documents.messages import CameraState, Receipt
from edgeagent.documents.table import RECEIPT
from edgeagent.documents.trust import TrustedKey, TrustStore
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.fleet.diary import OUTBOX, Diary, Fate
from edgeagent.fleet.office import NO_LIST
from edgeagent.fleet.wire import Endpoint
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.gate import Gate, Why
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import Clock

if TYPE_CHECKING:  # an idle publisher is measured without any picture library
    from edgeagent.alerts.alert import Sealed
    from edgeagent.fleet.hits import BenchPaper

log = logging.getLogger("edgeagent")

CAPACITY, IN_FLIGHT = 1000, 16
RESEND_FIRST_S, RESEND_MOST_S = 1.0, 15.0
"""As the daemon has them (`edgeagent.agent.build`)."""
LOOK_AGAIN_S = 0.2
LOOK_S = 1.0
"""A unit's link looks five times a second whether to stop; a hundred links in one process need not."""
_SIMULATED = Why("R33", "a simulated unit of a bench: it has no camera")


def settings_of(name: str, endpoint: Endpoint) -> LinkSettings:
    """A unit's usual settings, but for `LOOK_S`."""
    return LinkSettings(
        host=endpoint.host,
        port=endpoint.port,
        client_id=new_client_id(name),
        ca_file=Path(endpoint.ca),
        cert_file=Path(endpoint.certificate),
        key_file=Path(endpoint.key),
        through=None if endpoint.through is None else Path(endpoint.through),
        look_s=LOOK_S,
    )


class FleetUnit:
    """Outbox, audit log, link and state of one unit; one thread, but for the link's own."""

    def __init__(
        self,
        identity: Identity,
        data: Path,
        trust: TrustStore,
        settings: LinkSettings,
        *,
        clock: Clock,
        paper: BenchPaper | None,
        state_every_s: float,
        seed: int,
    ) -> None:
        """Open or make the unit's files in `data`, which may be those of a unit that was killed.

        Raises:
            OutboxError, AuditError: naming the file that cannot be used.
        """
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        rng = random.Random(seed)  # noqa: S311 - jitter
        self.identity = identity
        self.paper = paper
        self._trust = trust
        self._clock = clock
        self._every_s = state_every_s
        self._topics = Topics(identity.name, bench=True)  # R33: there is no other value
        self._outbox = Outbox(
            data / OUTBOX,
            capacity=CAPACITY,
            in_flight_cap=IN_FLIGHT,
            retry=Backoff(RESEND_FIRST_S, RESEND_MOST_S),
            rng=rng,
        )
        self._diary = Diary(data)
        self._recorder = Recorder(Journal(data, identity), clock)
        self._reporter = Reporter(identity)
        self._recorder.start(Started(boot=self._reporter.boot, version="fleet", model_pack_sha256=NO_LIST))
        self._recorder.check()
        self._despatch = Despatch(self._outbox, self._recorder, self._topics.alert)
        self.counts = self._outbox.counts()
        self._link = self._make_link(settings, rng)
        self._was_connected = False
        self._send_at = 0.0
        self._state_at = time.monotonic() + rng.uniform(0.0, state_every_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the unit and all its subscriptions."""
        return self._link.connected

    @property
    def link(self) -> MqttLink:
        """The unit's own link."""
        return self._link

    def start(self) -> None:
        """Begin to connect."""
        self._link.start()

    def hit(self, sealed: Sealed, age: timedelta) -> None:
        """Log and keep an alert, then offer it to the broker, as the daemon does.

        Raises:
            OutboxError, AuditError: it cannot be kept.
        """
        now = self._clock.now()
        self._despatch.note(sealed, age)
        displaced = self._despatch.keep(sealed, now)
        self._diary.write(Fate.KEPT, sealed.alert.alert)
        self._diary.write(Fate.DISPLACED, *displaced)
        self._send(now)
        self.counts = self._outbox.counts()

    def turn(self, monotonic: float) -> list[str]:
        """One look at the inbox, the outbox and the clock; the ids of alerts that were released.

        Called for each unit of a process many times a second, so that with nothing to do it costs little.
        """
        released = self._take() if self._link.inbox.queue else []
        connected = self._link.connected
        if connected and not self._was_connected:
            self._send_at = 0.0
        self._was_connected = connected
        if self.counts.pending and monotonic >= self._send_at:
            self._send_at = monotonic + LOOK_AGAIN_S
            now = self._clock.now()
            self._diary.write(Fate.EXPIRED, *self._despatch.expire(now))
            self._send(now)
            self.counts = self._outbox.counts()
        if connected and monotonic >= self._state_at:
            self._state_at = monotonic + self._every_s
            self._say()
        return released

    def leave(self) -> None:
        """Begin to disconnect, the retained state cleared; does not wait, so that many leave together."""
        with contextlib.suppress(BrokerError):
            self._link.publish(self._topics.state, b"", retain=True)
        self._link.close(None, timeout_s=0.0)

    def close(self) -> OutboxCounts:
        """Disconnect and close the files; what became of every alert."""
        self._link.close(None, timeout_s=4.0)
        self.counts = self._outbox.counts()
        self._outbox.close()
        return self.counts

    def _send(self, now: Instant) -> None:
        if self._link.connected and not self._recorder.failed:
            self._despatch.send(self._link, now)

    def _take(self) -> list[str]:
        now = self._clock.now()
        released: list[str] = []
        while True:
            try:
                message = self._link.inbox.get_nowait()
            except queue.Empty:
                break
            try:
                verified = received(RECEIPT, message.payload, self._trust, now)
                released += self._release(verified.body, verified.signers[0])
            except DocumentError as refusal:
                log.warning("refused %s", refusal)
        self.counts = self._outbox.counts()
        return released

    def _release(self, receipt: Receipt, signer: TrustedKey) -> list[str]:
        if receipt.unit != self.identity.name or not self._outbox.holds(receipt.alert):
            return []
        self._despatch.release(receipt, signer)
        self._recorder.check()
        return [receipt.alert]

    def _say(self) -> None:
        try:
            message = self._reporter.state(self._facts(), "", self._clock.now())
            self._link.publish(self._topics.state, message, retain=True)
        except BrokerError as lost:
            log.warning("%s", lost)

    def _facts(self) -> Facts:
        """No challenge goes with it, so that no lease is ever asked for (R16)."""
        paper, counts = self.paper, self._outbox.counts()
        return Facts(
            gate=replace(Gate.locked(self._clock.now()), why=_SIMULATED),
            authority=paper.authority if paper else None,
            authority_sha256=paper.sha256 if paper else None,
            camera=CameraState.CLOSED,
            buffers_wiped=True,
            lapse_to_closed_ms=None,
            frames=0,
            faces=FaceLedger.carried(counts.pending),
            alerts=counts,
            rate=None,
            revoked=(),
            problem="",
            audit=self._recorder.head,
        )

    def _born(self) -> None:
        self._reporter.birth += 1
        self._state_at = 0.0

    def _make_link(self, settings: LinkSettings, rng: random.Random) -> MqttLink:
        """With the daemon's five subscriptions and its will, on bench topics."""
        topics = self._topics
        return MqttLink(
            settings,
            subscriptions=[
                Subscription(topics.lease),
                Subscription(topics.receipt),
                Subscription(topics.revocation, accept_retained=True),
                Subscription(topics.verdict),
                Subscription(topics.review),
            ],
            will=Will(topics.state, self._reporter.will(self._facts(), self._clock.now()), retain=True),
            on_connected=self._born,
            monotonic=time.monotonic,
            rng=rng,
        )
