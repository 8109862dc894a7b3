"""Putting a unit's daemon together from its configuration."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from edgeagent.agent.camera import Camera, Capture
from edgeagent.agent.custody import Custody
from edgeagent.agent.deployment import Deployment, Unit
from edgeagent.agent.health import HealthReporter
from edgeagent.agent.loading import Loader
from edgeagent.agent.loop import Agent
from edgeagent.agent.progress import Progress
from edgeagent.agent.recogniser import Recogniser
from edgeagent.agent.recorder import Recorder
from edgeagent.agent.standing import Standing
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription, Will
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.settings import link_settings
from edgeagent.alerts.topics import Topics
from edgeagent.audit.log import Journal
from edgeagent.capture.camera import CaptureProcess
from edgeagent.config import Config
from edgeagent.documents.keys import Identity, Role, load_identity
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TrustStore, open_trust_store
from edgeagent.errors import DocumentError, KeyFileError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.decide import Policy
from edgeagent.safeguards.sources import SourceKind
from edgeagent.system.board import read_board
from edgeagent.system.clock import Clock
from edgeagent.system.files import read_bounded
from edgeagent.system.modelpack import ModelPack, Scene, load_pack
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.system.notify import Notifier
from edgeagent.system.process import Exposure
from edgeagent.system.selftest import self_test
from edgeagent.system.sensors import Sensors

OUTBOX_CAPACITY = 1000
IN_FLIGHT = 16
RESEND_FIRST_S = 1.0
RESEND_MOST_S = 15.0


def load_unit(config: Config, pack: ModelPack) -> Unit:
    """The unit's keys and trust store.

    Raises:
        KeyFileError, DocumentError: naming the file.
    """
    return Unit(config, _identity(config), load_trust(config), pack.sha256, pack.use)


def _identity(config: Config) -> Identity:
    file = config.path(config.unit.key)
    identity = load_identity(file)
    if identity.role is not Role.UNIT or identity.name != config.unit.name:
        raise KeyFileError(
            f"is the {identity.role} key of {identity.name}, not of unit {config.unit.name}",
            where=str(file),
            next_step="install this unit's own key",
        )
    return identity


def load_trust(config: Config) -> TrustStore:
    """The trust store, verified against the pinned root.

    Raises:
        KeyFileError, DocumentError: naming what is wrong.
    """
    content = read_bounded(config.path(config.trust.store), TRUST_STORE_LIMIT, KeyFileError)
    return open_trust_store(content, config.trust.root)


def run_unit(config: Config, clock: Clock, stop: threading.Event, exposure: Exposure, version: str) -> None:
    """Run the daemon until `stop` is set; `exposure` of its memory is told to the control room (R1).

    `version` is the program's, for the audit log.

    Raises:
        EdgeAgentError: what could not be started, before any camera was opened.
    """
    pack = load_pack(config.models_folder)
    self_test(pack)
    unit = load_unit(config, pack)
    data = config.data_folder
    data.mkdir(parents=True, exist_ok=True)
    topics = Topics(config.unit.name, bench=config.source.kind is not SourceKind.CAMERA)
    seen = HighWater(data / "seen.json")
    seen.accept(unit.trust.numbered)  # an older store could bring a revoked key back
    with _outbox(data / "outbox.sqlite") as outbox:
        recorder = Recorder(Journal(data, unit.identity), clock)
        agent = Agent(
            unit,
            clock=clock,
            loader=Loader(unit, seen, lambda deployment: _recogniser(pack, config.camera.scene, deployment)),
            custody=Custody(config, seen, outbox, recorder),
            camera=Camera(lambda until_ns: _start_capture(config, until_ns)),
            topics=topics,
            recorder=recorder,
            version=version,
        )
        link = _link(config, topics, agent)
        certificate = config.path(config.broker.certificate)
        health = HealthReporter(
            unit.identity,
            Kind.BENCH if topics.bench else Kind.LIVE,
            version,
            pack.sha256,
            config.health_file,
            certificate,
            outbox,
            link,
            topics.health,
            Sensors(lambda: read_board(Path("/"), data)),
        )
        agent.attach(link, Standing(exposure, certificate), health)
        health.sensors.start()
        link.start()
        agent.run(stop, Progress(Notifier.from_environment(), lambda: link.running))


def _outbox(path: Path) -> Outbox:
    return Outbox(
        path,
        capacity=OUTBOX_CAPACITY,
        in_flight_cap=IN_FLIGHT,
        retry=Backoff(RESEND_FIRST_S, RESEND_MOST_S),
        rng=random.Random(),  # noqa: S311 - jitter, not a secret
    )


def _start_capture(config: Config, until_ns: int) -> Capture:
    camera = config.camera
    return CaptureProcess(
        config.source, width=camera.width, height=camera.height, fps=camera.fps, until_ns=until_ns
    )


def _recogniser(pack: ModelPack, scene: Scene, deployment: Deployment) -> Recogniser:
    authority = deployment.authority
    embedder = embedder_of(pack)
    if deployment.gallery.dimension != embedder.dimensions:
        raise DocumentError(
            f"has templates of {deployment.gallery.dimension} numbers, the model makes {embedder.dimensions}",
            where="watchlist field dimension",
            next_step="build the list again with the authorised model pack",
        )
    policy = Policy(authority.threshold, authority.margin, authority.agreeing_frames)
    return Recogniser(
        detector_of(pack, scene),
        embedder,
        deployment.gallery,
        policy,
        authority.realert_s,
    )


def _link(config: Config, topics: Topics, agent: Agent) -> MqttLink:
    return MqttLink(
        link_settings(config, config.unit.name),
        subscriptions=[
            Subscription(topics.lease),
            Subscription(topics.receipt),
            Subscription(topics.revocation, accept_retained=True),
            Subscription(topics.verdict),
            Subscription(topics.review),
        ],
        will=Will(topics.state, agent.will(), retain=True),
        on_connected=agent.born,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
