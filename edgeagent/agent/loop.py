"""The daemon's one loop: time, messages, gate, frame, outbox, state; no step can block long.

Everything that decides is elsewhere: the gate says what is allowed, this carries it out and reports.
"""

from __future__ import annotations

import logging
import queue
import threading
from datetime import timedelta
from typing import Any

from edgeagent.agent.camera import Camera
from edgeagent.agent.custody import Custody
from edgeagent.agent.deployment import Deployment, DeploymentOverError, Unit
from edgeagent.agent.leases import LeaseDesk
from edgeagent.agent.loading import Loader
from edgeagent.agent.recogniser import Recogniser
from edgeagent.agent.report import Facts, Reporter
from edgeagent.alerts.alert import Circumstances, make_alert
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import Topics
from edgeagent.documents.messages import CameraState, Receipt, Revocation
from edgeagent.documents.table import LEASE, RECEIPT, REVOCATION, DocumentType, Verified
from edgeagent.errors import BrokerError, DocumentError, OutboxError, SafeguardError
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.gate import (
    Action,
    AuthorityAccepted,
    Event,
    Gate,
    Revoked,
    RuleBroken,
    State,
    Tick,
    Why,
    step,
)
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.lease import Lease
from edgeagent.system.clock import Clock
from edgeagent.vision.types import Chip, Frame

log = logging.getLogger("edgeagent")

STATE_EVERY_NS = 2 * SECOND
WHY_CHARACTERS = 300
IDLE_S = 0.05
SEND_AT_ONCE = 16
MESSAGES_A_TURN = 32
"""A flood of messages must not keep the loop from looking at the clock (R16)."""


class Agent:
    """One unit's daemon. `run` returns when `stop` is set; the camera is closed by then."""

    def __init__(
        self,
        unit: Unit,
        *,
        clock: Clock,
        loader: Loader,
        custody: Custody,
        camera: Camera,
        topics: Topics,
    ) -> None:
        """Wire the parts; `attach` the broker link before `run`."""
        self._unit = unit
        self._clock = clock
        self._loader = loader
        self._custody = custody
        self._outbox: Outbox = custody.outbox
        self._camera = camera
        self._topics = topics
        self._messages: dict[str, DocumentType[Any]] = {
            topics.lease: LEASE,
            topics.receipt: RECEIPT,
            topics.revocation: REVOCATION,
        }
        self._link: MqttLink | None = None
        self._gate = Gate.locked(clock.now())
        self._reporter = Reporter(unit.identity)
        self._leases = LeaseDesk(unit.identity.name)
        self._deployment: Deployment | None = None
        self._recogniser: Recogniser | None = None
        self._ledger = FaceLedger.carried(self._outbox.counts().pending)
        self._frames = 0
        self._scrubbed = True
        self._lapse_to_closed_ms: float | None = None
        self._problem = ""
        self._report_at_ns = 0
        self._told_camera = CameraState.CLOSED

    def attach(self, link: MqttLink) -> None:
        """Use this link; its `on_connected` must be `born`, its will `will`."""
        self._link = link

    def born(self) -> None:
        """A connection stands: report soon. Called from the link's thread, so it only leaves a mark."""
        self._reporter.birth += 1
        self._report_at_ns = 0

    def will(self) -> bytes:
        """What the broker says if this process goes silent."""
        return self._reporter.will(self._facts(), self._clock.now())

    def run(self, stop: threading.Event) -> None:
        """Loop until stopped; whatever happens, the camera is closed and memory overwritten at the end."""
        try:
            while not stop.is_set():
                self.turn()
        finally:
            self._close_camera()
            self._wipe()
            if self._link is not None:
                self._gate = Gate.locked(self._clock.now())
                self._problem = "the daemon was stopped"
                final = self._reporter.state(self._facts(), "", self._clock.now())
                self._link.close((self._topics.state, final, True), timeout_s=2.0)

    def turn(self) -> None:
        """One turn of the loop."""
        try:
            self._work()
        except (OutboxError, OSError) as failed:  # R25: without a disk no disclosure can be accounted for
            self._say(f"storage failed: {failed}")
            self._apply(RuleBroken(Why("R25", f"storage failed: {failed}"[:WHY_CHARACTERS])))
        now = self._clock.now()
        if now.monotonic_ns >= self._report_at_ns or self._camera.state is not self._told_camera:
            self._report(now)

    def _work(self) -> None:
        self._apply(Tick())
        if self._gate.grant is None and self._gate.state is State.LOCKED:
            self._load()
        live = self._gate.state is State.LIVE
        self._take_messages(wait_s=0.0 if live and self._camera.state is CameraState.OPEN else IDLE_S)
        if self._gate.state is State.LIVE:
            self._look()
        self._send()

    # --- the gate -------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        now, before = self._clock.now(), self._gate
        self._gate, actions = step(before, event, now)
        if before.state is not self._gate.state:
            why = self._gate.why
            log.info("%s -> %s: %s [%s]", before.state, self._gate.state, why.text, why.rule)
        for action in actions:
            self._carry_out(action, before)
        if self._deployment is not None:
            broken = self._loader.judge_again(self._deployment, before, self._gate, now)
            if broken is not None:
                self._apply(RuleBroken(broken))

    def _clock_trusted(self, now: Instant) -> bool:
        return now.synchronised or self._gate.clock_confirmed

    def _carry_out(self, action: Action, before: Gate) -> None:
        match action:
            case Action.CLOSE_CAMERA:
                self._close_camera()
                self._measure_lapse(before)
            case Action.WIPE_BUFFERS:
                self._wipe()
            case Action.DESTROY_KEYS:
                self._destroy()
            case Action.OPEN_CAMERA:
                self._scrubbed = False
                self._camera.open()
            case Action.PUBLISH_STATE:
                self._report_at_ns = 0

    def _measure_lapse(self, before: Gate) -> None:
        closed_ns = self._clock.now().monotonic_ns
        if before.state is State.LIVE and before.lease is not None and closed_ns >= before.lease.until_ns:
            self._lapse_to_closed_ms = (closed_ns - before.lease.until_ns) / 1e6

    def _close_camera(self) -> None:
        if self._camera.problem:
            self._say("")  # it was about a camera that is not wanted any more
        self._camera.close()
        if self._camera.problem:
            self._say(self._camera.problem)

    def _wipe(self) -> None:
        if self._recogniser is not None:
            self._recogniser.wipe()
        self._scrubbed = True

    def _destroy(self) -> None:
        """R6, R27: key and list go, in memory and on disk, and unsent alerts; nothing can start it again."""
        if self._recogniser is not None:
            self._recogniser.destroy()
            self._recogniser = None
        self._leases.forget()
        if self._deployment is not None:
            authority = self._deployment.authority
            self._custody.end(authority.deployment, with_alerts=True)
            self._say_if_any(self._custody.destroy_list(authority.watchlist_sha256))

    # --- documents and messages -----------------------------------------------------------------------

    def _load(self) -> None:
        now = self._clock.now()
        if not self._loader.due(now):
            return
        try:
            self._custody.finish()
            for over_now in self._custody.overdue(now):  # R6: of another day, whatever is installed by now
                self._custody.end(over_now, with_alerts=True)
            deployment, recogniser = self._loader.load(now)
        except DeploymentOverError as over:  # R6: it ended while the unit was off
            self._custody.end(over.deployment, with_alerts=True)
            self._say(self._custody.destroy_list(over.watchlist_sha256) or str(over))
            return
        except (DocumentError, SafeguardError) as refusal:
            self._say(str(refusal))
            return
        self._say("")
        self._deployment = deployment
        self._recogniser = recogniser
        self._apply(AuthorityAccepted(deployment.grant))

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            if problem:
                log.warning("%s", problem)
            self._problem = problem
            self._report_at_ns = 0

    def _say_if_any(self, problem: str) -> None:
        if problem:
            self._say(problem)

    def _take_messages(self, wait_s: float) -> None:
        if self._link is None:
            return
        try:
            self._take(self._link.inbox.get(timeout=wait_s) if wait_s else self._link.inbox.get_nowait())
            for _ in range(MESSAGES_A_TURN - 1):
                self._take(self._link.inbox.get_nowait())
        except queue.Empty:
            return

    def _take(self, message: Incoming) -> None:
        kind = self._messages.get(message.topic)
        if kind is None:
            log.warning("message on a topic that nobody asked for")
            return
        now = self._clock.now()
        try:
            self._take_verified(received(kind, message.payload, self._unit.trust, now), now)
        except (DocumentError, SafeguardError) as refusal:
            log.warning("refused %s", refusal)

    def _take_verified(self, verified: Verified[Any], now: Instant) -> None:
        match verified.body:
            case Lease() as lease:
                if self._gate.grant is not None:
                    for event in self._leases.take(lease, self._gate.grant, now):
                        self._apply(event)
            case Receipt() as receipt:
                if receipt.unit == self._unit.identity.name:
                    self._outbox.release(receipt.alert)
            case Revocation() as revocation:
                if self._unit.identity.name in revocation.units:
                    self._revoke(revocation)

    def _revoke(self, revocation: Revocation) -> None:
        own = self._deployment is None or self._deployment.authority.deployment == revocation.deployment
        if self._deployment is not None and own:
            self._apply(Revoked(Why("R27", f"revoked: {revocation.reason}")))  # the camera first (R16)
        self._custody.end(revocation.deployment, with_alerts=own)

    # --- frames ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        recogniser = self._recogniser
        frame = self._camera.frame(self._clock.now().monotonic_ns / SECOND)
        self._say(self._camera.problem)
        if frame is None or recogniser is None:
            return
        self._frames += 1
        try:
            faces = recogniser.process(frame, self._alert)
        finally:
            self._camera.release()
        self._ledger = self._ledger.seen(faces.seen).overwritten(faces.overwritten)
        for _ in range(faces.alerted):
            self._ledger = self._ledger.alerted()

    def _alert(self, hit: Hit, chip: Chip, frame: Frame) -> None:
        deployment, lease = self._deployment, self._gate.lease
        now = self._clock.now()
        if deployment is None or lease is None or now.monotonic_ns >= lease.until_ns:
            return  # R16: the lease lapsed while this frame was looked at; the face counts as deleted
        age = timedelta(microseconds=(now.monotonic_ns - frame.captured_ns) / 1000)
        about = Circumstances(
            deployment.authority, deployment.sha256, lease.sequence, now.wall - age, frame.sequence
        )
        sealed = make_alert(hit, deployment.entries[hit.entry], chip, about, self._unit.identity, now)
        self._outbox.add(sealed.alert.alert, sealed.message, sealed.expires_at.timestamp(), now.epoch_s)
        log.info("hit on entry %s, score %.3f", sealed.alert.entry, sealed.alert.score)

    # --- outbox and state -----------------------------------------------------------------------------

    def _send(self) -> None:
        """Expire, then send what is due, only while connected and while the deployment lasts."""
        now = self._clock.now()
        if self._clock_trusted(now):  # a clock that is wrong at boot must not count good alerts as expired
            self._outbox.expire(now.epoch_s)
        if self._link is not None and self._link.connected and self._gate.state is not State.CLOSED:
            for row in self._outbox.due(now.epoch_s, SEND_AT_ONCE):
                self._outbox.attempted(row.alert_id, now.epoch_s)
                left_s = max(1, int(row.expires_at - now.epoch_s))
                try:
                    self._link.publish(self._topics.alert, row.message, expires_in_s=left_s)
                except BrokerError as lost:
                    log.warning("%s", lost)
                    break
        self._ledger = self._ledger.alerts_now(self._outbox.counts().pending)
        if not self._ledger.balanced:
            self._apply(RuleBroken(Why("R1", "faces seen and faces deleted do not balance")))

    def _report(self, now: Instant) -> None:
        self._report_at_ns = now.monotonic_ns + self._report_every_ns()
        self._told_camera = self._camera.state
        if self._link is None or not self._link.connected:
            return
        challenge = self._leases.challenge(now).text if self._gate.grant and not self._gate.ended else ""
        try:
            self._link.publish(
                self._topics.state, self._reporter.state(self._facts(), challenge, now), retain=True
            )
        except BrokerError as lost:
            log.warning("%s", lost)

    def _report_every_ns(self) -> int:
        """Often enough that a lease of the allowed length is renewed before it lapses (R16)."""
        grant = self._gate.grant
        return min(STATE_EVERY_NS, int(grant.lease_max_s * SECOND / 3)) if grant else STATE_EVERY_NS

    def _facts(self) -> Facts:
        deployment = self._deployment
        return Facts(
            gate=self._gate,
            authority=deployment.authority if deployment else None,
            authority_sha256=deployment.sha256 if deployment else None,
            camera=self._camera.state,
            buffers_wiped=self._scrubbed and self._camera.wiped,
            lapse_to_closed_ms=self._lapse_to_closed_ms,
            frames=self._frames,
            faces=self._ledger,
            alerts=self._outbox.counts(),
            problem=self._problem,
        )
