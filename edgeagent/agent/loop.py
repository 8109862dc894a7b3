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
from edgeagent.agent.despatch import Despatch
from edgeagent.agent.health import HealthReporter
from edgeagent.agent.leases import LeaseDesk
from edgeagent.agent.loading import Loader
from edgeagent.agent.progress import Progress
from edgeagent.agent.rate_guard import RateGuard
from edgeagent.agent.recogniser import Recogniser
from edgeagent.agent.recorder import Recorder
from edgeagent.agent.report import Facts, Reporter
from edgeagent.agent.revoked import CarriedOut
from edgeagent.agent.said import deployment_loaded, judged, rate_suspended, signer_of
from edgeagent.agent.sight import Sight
from edgeagent.agent.standing import Standing
from edgeagent.alerts.alert import Circumstances, make_alert
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import Topics
from edgeagent.audit.events import (
    Erased,
    LeaseHeld,
    RateReviewed,
    Started,
    Stopped,
)
from edgeagent.documents.messages import CameraState, Receipt, Revocation, Verdict
from edgeagent.documents.table import LEASE, RECEIPT, REVIEW, REVOCATION, VERDICT, DocumentType, Verified
from edgeagent.documents.trust import TrustedKey
from edgeagent.documents.verdict import judgement
from edgeagent.errors import AuditError, BrokerError, DocumentError, OutboxError, SafeguardError
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.authority import Grant
from edgeagent.safeguards.decide import Hit
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.gate import (
    Action,
    AuthorityAccepted,
    Event,
    Gate,
    LeaseAccepted,
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
from edgeagent.system.journal import Line, about
from edgeagent.vision.types import Chip, Frame

log = logging.getLogger("edgeagent")

STATE_EVERY_NS = 2 * SECOND
WHY_CHARACTERS = 300
IDLE_S = 0.05
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
        recorder: Recorder,
        version: str,
    ) -> None:
        """Wire the parts; `attach` the broker link before `run`."""
        self._unit = unit
        self._clock = clock
        self._loader = loader
        self._custody = custody
        self._topics = topics
        self._despatch = Despatch(custody.outbox, recorder, topics.alert)
        self._sight = Sight(camera, FaceLedger.carried(custody.outbox.counts().pending))
        self._recorder = recorder
        self._version = version
        self._messages: dict[str, DocumentType[Any]] = {
            topics.lease: LEASE,
            topics.receipt: RECEIPT,
            topics.revocation: REVOCATION,
            topics.verdict: VERDICT,
            topics.review: REVIEW,
        }
        self._link: MqttLink | None = None
        self._gate = Gate.locked(clock.now())
        self._reporter = Reporter(unit.identity)
        self._leases = LeaseDesk(unit.identity.name)
        self._carried_out = CarriedOut()
        self._guard = RateGuard(unit.identity.name, unit.trust.profile, unit.config.data_folder)
        self._deployment: Deployment | None = None
        self._problem = ""
        self._standing: Standing | None = None
        self._health: HealthReporter | None = None
        self._report_at_ns = 0
        self._told_camera = CameraState.CLOSED

    def attach(
        self, link: MqttLink, standing: Standing | None = None, health: HealthReporter | None = None
    ) -> None:
        """Use this link; its `on_connected` must be `born`, its will `will`. Say what is wrong for longer."""
        self._link = link
        self._standing = standing
        self._health = health

    def born(self) -> None:
        """A connection stands: report soon. Called from the link's thread, so it only leaves a mark."""
        self._reporter.birth += 1
        self._report_at_ns = 0

    def will(self) -> bytes:
        """What the broker says if this process goes silent."""
        return self._reporter.will(self._facts(), self._clock.now())

    def run(self, stop: threading.Event, progress: Progress) -> None:
        """Loop until stopped; whatever happens, the camera is closed and memory overwritten at the end."""
        try:
            pack = self._unit.model_pack_sha256
            self._recorder.start(
                Started(boot=self._reporter.boot, version=self._version, model_pack_sha256=pack)
            )
            while not stop.is_set():
                self.turn()
                progress.turned(f"{self._gate.state} [{self._gate.why.rule}]", self._clock.now())
            progress.ends()
        finally:
            self._close_camera()
            self._sight.wipe()
            self._note_camera()
            if stop.is_set():  # in order, and not by a fault of the program
                self._recorder.note(Stopped())
            if self._link is not None:
                self._gate = Gate.locked(self._clock.now())
                self._problem = "the daemon was stopped"
                final = self._reporter.state(self._facts(), "", self._clock.now())
                self._link.close((self._topics.state, final, True), timeout_s=2.0)

    def turn(self) -> None:
        """One turn of the loop."""
        try:
            self._work()
        except (
            AuditError,
            OutboxError,
            OSError,
        ) as failed:  # R25: nothing can be accounted for without a disk
            self._say(f"storage failed: {failed}")
            self._apply(RuleBroken(Why("R25", f"storage failed: {failed}"[:WHY_CHARACTERS])))
        now = self._clock.now()
        if now.monotonic_ns >= self._report_at_ns or self._sight.camera.state is not self._told_camera:
            self._report(now)
        if self._health is not None:
            self._health.turn(self._sight, self._reporter.boot, now, trusted=self._clock_trusted(now))

    def _work(self) -> None:
        self._apply(Tick())
        self._recorder.tick(lambda: self._sight.tally(self._leases.taken))
        if self._gate.broken is None:  # once it is, the rest goes on: a revocation must still be heard (R27)
            self._recorder.check()
        now = self._clock.now()
        self._tell_gate(self._guard.look(now, trusted=self._clock_trusted(now)))
        if self._gate.grant is None and self._gate.state is State.LOCKED:
            self._load()
        live = self._gate.state is State.LIVE
        self._take_messages(wait_s=0.0 if live and self._sight.waits_for_frames else IDLE_S)
        if self._gate.state is State.LIVE:
            self._look()
        self._send()

    # --- the gate -------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        now, before = self._clock.now(), self._gate
        after, actions = step(before, event, now)
        self._recorder.clock_confirmed = after.clock_confirmed
        if after.state is State.LIVE:
            self._recorder.gate(after)  # R25: on the disk before a camera can open
        self._gate = after
        for action in actions:
            self._carry_out(action, before)
        _log_move(before, after)  # after the camera was closed (R16): a log may hang
        self._recorder.gate(after)  # everything else after it was done: the camera first (R16)
        self._note_camera()
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
                self._sight.lapsed(before.lease if before.state is State.LIVE else None, self._clock.now())
            case Action.WIPE_BUFFERS:
                self._sight.wipe()
            case Action.DESTROY_KEYS:
                self._destroy()
            case Action.OPEN_CAMERA:
                self._sight.open()
            case Action.PUBLISH_STATE:
                self._report_at_ns = 0

    def _close_camera(self) -> None:
        camera = self._sight.camera
        if camera.problem:
            self._say("")  # it was about a camera that is not wanted any more
        self._sight.close()
        if camera.problem:
            self._say(camera.problem)

    def _destroy(self) -> None:
        """R6, R27: key and list go, in memory and on disk, and unsent alerts; nothing can start it again."""
        if self._sight.destroy():
            self._recorder.note(Erased(what="templates", deployment=self._deployment_id, why="R6"))
        self._leases.forget()
        if self._deployment is not None:
            authority = self._deployment.authority
            self._guard.end()
            self._custody.end(authority.deployment, with_alerts=True)
            left = self._custody.destroy_list(authority.deployment, authority.watchlist_sha256)
            self._say_if_any(left)

    @property
    def _deployment_id(self) -> str | None:
        return self._deployment.authority.deployment if self._deployment else None

    def _note_camera(self) -> None:
        self._recorder.camera(
            self._sight.camera.state,
            self._sight.tally(self._leases.taken),
            wiped=self._sight.wiped,
            lapse_ms=self._sight.lapse_to_closed_ms,
            deployment=self._deployment_id,
        )

    # --- documents and messages -----------------------------------------------------------------------

    def _load(self) -> None:
        now = self._clock.now()
        if not self._loader.due(now):
            return
        try:
            self._custody.finish()
            for over_now in self._custody.overdue(now):  # R6: of another day, whatever is installed by now
                self._custody.end(over_now, with_alerts=True)
            if self._gate.broken is not None:
                return
            deployment, recogniser = self._loader.load(now)
            suspended = self._open_guard(deployment, recogniser)
        except DeploymentOverError as over:  # R6: it ended while the unit was off
            self._custody.end(over.deployment, with_alerts=True)
            self._say(self._custody.destroy_list(over.deployment, over.watchlist_sha256) or str(over))
            return
        except (DocumentError, SafeguardError) as refusal:
            self._recorder.refused(refusal)
            self._say(str(refusal))
            return
        try:
            self._recorder.write(deployment_loaded(deployment))
        except AuditError:
            recogniser.destroy()
            raise
        self._say("")
        self._deployment = deployment
        self._sight.recogniser = recogniser
        self._tell_gate(suspended)  # R17: before there is anything to suspend
        self._apply(AuthorityAccepted(deployment.grant))

    def _open_guard(self, deployment: Deployment, recogniser: Recogniser) -> tuple[Event, ...]:
        try:
            return self._guard.open(deployment.authority)
        except (DocumentError, SafeguardError, OSError):
            recogniser.destroy()
            raise

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            if problem:
                log.warning("%s", problem, extra=about(Line.PROBLEM))
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
            log.warning("message on a topic that nobody asked for", extra=about(Line.REFUSED))
            return
        now = self._clock.now()
        try:
            self._take_verified(received(kind, message.payload, self._unit.trust, now), now)
        except (DocumentError, SafeguardError) as refusal:
            self._recorder.refused(refusal)
            log.warning("refused %s", refusal, extra=about(Line.REFUSED, rule=refusal.rule))

    def _take_verified(self, verified: Verified[Any], now: Instant) -> None:
        match verified.body:
            case Lease() as lease:
                if self._gate.grant is not None:
                    self._take_lease(lease, verified.signers[0], self._gate.grant, now)
            case Receipt() as receipt:
                if receipt.unit == self._unit.identity.name:
                    self._despatch.release(receipt, verified.signers[0])
            case Revocation() as revocation:
                if self._unit.identity.name in revocation.units:
                    self._revoke(revocation)
            case Verdict():
                said = judgement(verified, self._unit.trust, now)
                self._tell_gate(self._guard.judge(said, lambda: self._recorder.write(judged(said))))
            case RateReview():
                line = RateReviewed(signers=tuple(map(signer_of, verified.signers)))
                self._tell_gate(self._guard.review(verified, lambda: self._recorder.write(line)))

    def _tell_gate(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._apply(event)  # the camera first (R16)
            rate = self._guard.unwritten()
            if rate is not None:
                self._recorder.note(rate_suspended(rate))
                if not self._recorder.failed:
                    self._guard.wrote()

    def _take_lease(self, lease: Lease, signer: TrustedKey, grant: Grant, now: Instant) -> None:
        for event in self._leases.take(lease, grant, now):
            if isinstance(event, LeaseAccepted) and self._gate.state is State.STANDBY:
                held = LeaseHeld(sequence=lease.sequence, officers=lease.officers, signer=signer_of(signer))
                self._recorder.note(held)
            self._apply(event)

    def _revoke(self, revocation: Revocation) -> None:
        loaded, revoked = self._deployment_id, revocation.deployment
        # Of a deployment that never began here, or is over, it is not about the alerts of one not loaded yet.
        own = loaded == revoked or (loaded is None and self._custody.seen.has_begun(revoked))
        if loaded == revoked:
            self._apply(Revoked(Why("R27", f"revoked: {revocation.reason}")))  # the camera first (R16)
        self._custody.end(revoked, with_alerts=own)
        if self._carried_out.note(revoked):
            self._report_at_ns = 0

    # --- frames ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        lease = self._gate.lease
        if lease is not None:
            seen = self._sight.look(self._clock.now(), lease, self._camera_answered, self._alert)
            self._guard.passed(seen)

    def _camera_answered(self) -> None:
        self._say(self._sight.camera.problem)
        self._note_camera()
        self._recorder.check()

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
        self._despatch.note(sealed, age)
        self._guard.made(sealed.alert.alert, sealed.alert.made_at)
        self._despatch.keep(sealed, now)

    # --- outbox and state -----------------------------------------------------------------------------

    def _send(self) -> None:
        """Expire, then send what is due, only while connected and while the deployment lasts."""
        now = self._clock.now()
        if self._clock_trusted(now):  # a clock that is wrong at boot must not count good alerts as expired
            self._despatch.expire(now)
        may_send = self._gate.state is not State.CLOSED and not self._recorder.failed
        if self._link is not None and self._link.connected and may_send:
            self._despatch.send(self._link, now)
        self._sight.ledger = self._sight.ledger.alerts_now(self._despatch.outbox.counts().pending)
        if not self._sight.ledger.balanced:
            self._apply(RuleBroken(Why("R1", "faces seen and faces deleted do not balance")))

    def _report(self, now: Instant) -> None:
        self._report_at_ns = now.monotonic_ns + self._report_every_ns()
        self._told_camera = self._sight.camera.state
        if self._link is None or not self._link.connected:
            return
        challenge = self._leases.challenge(now).text if self._gate.grant and not self._gate.ended else ""
        try:
            self._link.publish(
                self._topics.state, self._reporter.state(self._facts(), challenge, now), retain=True
            )
        except BrokerError as lost:
            log.warning("%s", lost, extra=about(Line.BROKER))

    def _report_every_ns(self) -> int:
        """Often enough that a lease of the allowed length is renewed before it lapses (R16)."""
        grant = self._gate.grant
        return min(STATE_EVERY_NS, int(grant.lease_max_s * SECOND / 3)) if grant else STATE_EVERY_NS

    def _said_for_longer(self) -> str:
        now = self._clock.now()
        return self._standing.said(now, clock_trusted=self._clock_trusted(now)) if self._standing else ""

    def _facts(self) -> Facts:
        deployment = self._deployment
        return Facts(
            gate=self._gate,
            authority=deployment.authority if deployment else None,
            authority_sha256=deployment.sha256 if deployment else None,
            camera=self._sight.camera.state,
            buffers_wiped=self._sight.wiped,
            lapse_to_closed_ms=self._sight.lapse_to_closed_ms,
            frames=self._sight.frames,
            faces=self._sight.ledger,
            alerts=self._despatch.outbox.counts(),
            rate=self._guard.report(),
            revoked=self._carried_out.newest,
            problem=self._problem or self._said_for_longer(),
            audit=self._recorder.head,
        )


def _log_move(before: Gate, after: Gate) -> None:
    if before.state is after.state:
        return
    rule, text = after.why.rule, after.why.text
    if rule == "R27":
        text = "revoked"  # the reason is somebody's words, and may name a person
    move = f"{before.state} -> {after.state}"
    log.info("%s: %s [%s]", move, text, rule, extra=about(Line.STATE, rule=rule, state=after.state))
