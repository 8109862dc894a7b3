"""A whole bench in a folder: everybody's keys, a generated street, a broker, the real daemon as a process.

What people sign is made in process by the library, so that a test costs no commands. Fixtures are in
`tests.bench_fixtures`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from edgeagent.alerts.envelope import wrap
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming, Subscription
from edgeagent.alerts.topics import Topics
from edgeagent.capture.scene import Actor, Scene
from edgeagent.config import load_config
from edgeagent.controlroom.enrolment_csv import Row
from edgeagent.controlroom.from_unit import from_unit
from edgeagent.controlroom.lease_holder import LeaseHolder, read_state
from edgeagent.controlroom.receiver import Arrival, Receiver
from edgeagent.controlroom.workshop import enrol
from edgeagent.demo.broker import start_broker
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, LEASE_DESK, REVOCATION_DESK
from edgeagent.demo.papers import DESK_TOML, UNIT_TOML
from edgeagent.demo.scene import ASSETS, ENROLLED, FACES, WALKERS
from edgeagent.documents.deployment_key import key_file, save_key
from edgeagent.documents.health import Health
from edgeagent.documents.jws import sign_general
from edgeagent.documents.keys import Identity, Role, save_identity
from edgeagent.documents.messages import CameraState, Presence, Receipt, Revocation, UnitState
from edgeagent.documents.table import (
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    HEALTH,
    RECEIPT,
    REVOCATION,
    DocumentType,
    sign,
)
from edgeagent.documents.trust import TYP, TrustStore, TrustStoreContent, open_trust_store, trusted
from edgeagent.documents.watchlist_file import pack as pack_watchlist
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.safeguards.authority import Authority, Kind
from edgeagent.safeguards.categories import Category, ImageBasis, UseCase
from edgeagent.safeguards.profile import Profile
from edgeagent.safeguards.watchlist import Entry, Terms
from edgeagent.system.clock import SystemClock
from edgeagent.system.modelpack import ModelPack, default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.vision.quality import Limits
from tests import desk
from tests.broker_tools import Broker, require, wait_for

UNIT, OTHER_UNIT = "unit-01", "unit-02"
DEPLOYMENT = "bench-street"
LEASE_S = 2.0
STRANGE_SEED = 1
"""Of an office that nobody here trusts."""
START_S = 60.0
WIDTH, HEIGHT, FPS = 640, 480, 10
CAPTURE_CHILD = b"edgeagent.capture.child"
CLOCK = SystemClock()


# --- what does not change from test to test -----------------------------------------------------------------


@functools.cache
def model_pack() -> ModelPack:
    return load_pack(default_pack_folder())


@functools.cache
def subject_template() -> npt.NDArray[np.float32]:
    """(1, d) template of the enrolled stand-in."""
    row = Row(
        entry="blue-0001",
        person="blue-0001",
        image=ENROLLED.name,
        category=Category.TEST_SUBJECT,
        image_basis=ImageBasis.CONSENTED,
        image_taken_on=date(2012, 12, 6),
        image_reference="public-domain portrait",
        date_of_birth=date(1961, 8, 4),
        lawful_retention="yes",
        under_18_rationale="",
    )
    networks = detector_of(model_pack()), embedder_of(model_pack())
    enrolled = enrol([row], ASSETS, *networks, limits=Limits(), today=date(2026, 1, 1), on_row=lambda: None)
    assert not enrolled.refusals
    return enrolled.templates


def subject(number: int = 1, category: Category = Category.TEST_SUBJECT) -> Entry:
    test = category is Category.TEST_SUBJECT
    return Entry(
        entry=f"blue-{number:04}",
        person=f"blue-{number:04}",
        category=category,
        image_basis=ImageBasis.CONSENTED if test else ImageBasis.CUSTODY_CONVICTED,
        image_taken_on=date(2012, 12, 6),
        under_18=False,
    )


def write_scene(folder: Path, seconds: float, *, crowd: bool = True) -> Path:
    """The subject walks past every three seconds; in a crowd two others pass all the time."""
    folder.mkdir(exist_ok=True)
    for picture in WALKERS.values():
        shutil.copyfile(ASSETS / picture, folder / picture)
    actors = [_walk("subject", enters, 4.0, 150, 490) for enters in np.arange(0.0, seconds, 3.0)]
    if crowd:
        for name, shift in (("passer-by-1", 0.0), ("passer-by-2", 2.0)):
            actors += [_walk(name, enters + shift, 5.0, 560, 80) for enters in np.arange(0.0, seconds, 5.0)]
    scene = Scene(
        width=WIDTH, height=HEIGHT, fps=FPS, seconds=seconds, seed=3, noise=2.0, actors=tuple(actors)
    )
    file = folder / "street.json"
    file.write_text(scene.model_dump_json())
    return file.resolve()


def _walk(name: str, enters_s: float, crosses_s: float, start: float, end: float) -> Actor:
    return Actor(
        name=name,
        picture=WALKERS[name],
        enters_s=float(enters_s),
        crosses_s=crosses_s,
        start=(start, 500.0),
        end=(end, 520.0),
        height=(400.0, 430.0),
        face=FACES[name],
        turn=0.05,
        gain=1.0,
        gamma=1.0,
        blur=0.4,
    )


# --- everybody who signs ------------------------------------------------------------------------------------


@dataclass
class Office:
    """Keys of everybody, valid around now; `seed` makes another set of people."""

    seed: int = 0
    profile: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, role: Role) -> Identity:
        return desk.identity(role, UNIT if role is Role.UNIT else str(role), self.seed)

    @property
    def other_unit(self) -> Identity:
        return desk.identity(Role.UNIT, OTHER_UNIT, self.seed)

    @property
    def limits(self) -> Profile:
        return desk.profile(**self.profile)

    @property
    def root(self) -> str:
        return self[Role.ROOT].kid

    def trust_document(self) -> bytes:
        now = datetime.now(UTC)
        holders = [self[role] for role in Role if role is not Role.ROOT] + [self.other_unit]
        days = timedelta(days=30)
        content = TrustStoreContent(
            sequence=1,
            issued_at=now,
            root_x=str(self[Role.ROOT].signing.as_dict(private=False)["x"]),
            profile=self.limits,
            keys=tuple(trusted(who, not_before=now - days, not_after=now + days) for who in holders),
        )
        return sign_general(content.model_dump_json().encode(), TYP, self[Role.ROOT].signing)

    def trust(self) -> TrustStore:
        return open_trust_store(self.trust_document(), self.root)

    def watchlist(
        self, entries: Iterable[Entry] = (), units: Iterable[Identity] = (), **changes: Any
    ) -> bytes:
        """A list of the stand-in alone, or of more people whose templates are nobody's."""
        now, listed = datetime.now(UTC), tuple(entries) or (subject(),)
        template = subject_template()
        others = desk.templates(max(len(listed) - 1, 1), dimension=template.shape[1])
        rows = np.concatenate([template, others])[: len(listed)]
        counts: dict[Category, int] = {}
        for one in listed:
            counts[one.category] = counts.get(one.category, 0) + 1
        said: dict[str, Any] = {
            "deployment": DEPLOYMENT,
            "sequence": 1,
            "created_at": now - timedelta(hours=3),
            "not_before": now - timedelta(hours=3),
            "not_after": now + timedelta(hours=8),
            "model_pack_sha256": model_pack().sha256,
            "entries": len(listed),
            "dimension": rows.shape[1],
            "counts": counts,
            "under_18": 0,
            "lawful_retention_attested": True,
        }
        terms = Terms(**(said | changes))
        keys = [
            desk.one_time(unit.name, terms.deployment, self.seed).public
            for unit in units or [self[Role.UNIT]]
        ]
        officer = self[Role.WATCHLIST_OFFICER]
        return pack_watchlist(terms, listed, rows, keys, officer, commitments_sha256="ab" * 32)

    def authority(self, watchlist: bytes, **changes: Any) -> Authority:
        now = datetime.now(UTC)
        said: dict[str, Any] = {
            "kind": Kind.BENCH,
            "deployment": DEPLOYMENT,
            "sequence": 1,
            "units": (UNIT,),
            "site": "a generated street",
            "use_case": UseCase.EVENT,
            "necessity": "A test on generated pictures: nothing less than a run shows that it works.",
            "proportionality": "Nobody is filmed: the people are stand-ins from public-domain portraits.",
            "is_assembly_or_protest": False,
            "signage_confirmed": True,
            "urgent": False,
            "issued_at": now - timedelta(hours=2, minutes=30),
            "start": now - timedelta(hours=2),
            "end": now + timedelta(hours=4),
            "watchlist_sha256": hashlib.sha256(watchlist).hexdigest(),
            "model_pack_sha256": model_pack().sha256,
            "threshold": 0.5,
            "margin": 0.05,
            "agreeing_frames": 3,
            "alert_ttl_s": 60.0,
            "realert_s": 1.0,
            "retention_h": 1.0,
            "lease_max_s": LEASE_S,
            "alert_key": self[Role.CONTROL_ROOM].seal_key,
        }
        return Authority(**(said | changes))

    def certificate(self, **changes: Any) -> bytes:
        now = datetime.now(UTC)
        usual: dict[str, Any] = {
            "model_pack_sha256": model_pack().sha256,
            "issued_at": now,
            "expires_at": now + timedelta(days=30),
            "floors": (desk.floor(100, 0.45),),
            "groups_threshold": 0.45,
        }
        return sign(CERTIFICATE, desk.certificate(**(usual | changes)), self[Role.EVALUATOR])


# --- the files of one unit ----------------------------------------------------------------------------------


@dataclass
class Bench:
    """A folder with everything that one unit and its control room need, at a running broker."""

    path: Path
    broker: Broker
    office: Office = field(default_factory=Office)

    @property
    def config(self) -> Path:
        return self.path / "unit.toml"

    @property
    def data(self) -> Path:
        return load_config(self.config).data_folder

    @property
    def watchlist_file(self) -> Path:
        return self.path / "watchlist.edgelist"

    @property
    def authority_file(self) -> Path:
        return self.path / "authority.json"

    def write(self, *, source: str = "", certificate: bool = False, seconds: float = 120.0) -> None:
        """Keys, trust store, configuration and scene; documents by `put`."""
        scene = write_scene(self.path / "scene", seconds)
        office = self.office
        save_identity(office[Role.UNIT], self.path / "unit.key")
        save_identity(office[Role.CONTROL_ROOM], self.path / "desk.key")
        (self.path / "trust.json").write_bytes(office.trust_document())
        text = self._toml(UNIT_TOML, UNIT, scene=scene, width=WIDTH, height=HEIGHT, unit=UNIT)
        if source:
            text = text.replace(f"scene:{scene}", source)
        if certificate:
            (self.path / "certificate.json").write_bytes(office.certificate())
            text = text.replace("[documents]", '[documents]\ncertificate = "certificate.json"')
        self.config.write_text(text)
        (self.path / "alerts.toml").write_text(self._toml(DESK_TOML, CONTROL_ROOM))
        (self.path / "lease.toml").write_text(self._toml(DESK_TOML, LEASE_DESK))
        (self.path / "revoke.toml").write_text(self._toml(DESK_TOML, REVOCATION_DESK))

    def _toml(self, template: str, name: str, **values: Any) -> str:
        tls, running = self.broker.certificate(name), self.broker.running
        return template.format(
            name=name,
            root=self.office.root,
            host=running.host,
            port=running.port,
            ca=tls.authority,
            certificate=tls.cert,
            key=tls.key,
            **values,
        )

    def put(self, *, entries: Iterable[Entry] = (), watchlist: bytes | None = None, **authority: Any) -> None:
        """Put watchlist and authority in place; keywords change the authority."""
        content = watchlist or self.office.watchlist(entries)
        body = self.office.authority(content, **authority)
        bench = body.kind is Kind.BENCH
        kind: DocumentType[Authority] = BENCH_AUTHORITY if bench else AUTHORITY
        signer = self.office[Role.BENCH if bench else Role.AUTHORISING_OFFICER]
        self.watchlist_file.write_bytes(content)
        key = desk.one_time(UNIT, body.deployment, self.office.seed)
        if not key_file(self.data, body.deployment).exists():
            save_key(key, self.data)
        self.authority_file.write_bytes(sign(kind, body, signer))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "edgeagent", *arguments]

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.path, capture_output=True, text=True, timeout=60, check=False
        )

    def unit(self) -> Process:
        return Process(self.command("run", "--config", "unit.toml"), self.path, "run.log")

    def holder(self, *options: str, seconds: float = LEASE_S) -> Process:
        """The real `edgeagent lease hold`."""
        hold = ("lease", "hold", "--config", "lease.toml", "--deployment", DEPLOYMENT, "--officers", "4")
        return Process(
            self.command(*hold, "--bench", "--json", "--seconds", str(seconds), *options),
            self.path,
            "lease.log",
        )

    def revocation(self, signer: Identity | None = None, **changes: Any) -> bytes:
        said: dict[str, Any] = {
            "deployment": DEPLOYMENT,
            "units": (UNIT,),
            "issued_at": datetime.now(UTC),
            "reason": "officers called away",
        }
        who = signer or self.office[Role.AUTHORISING_OFFICER]
        return wrapped("revocation", sign(REVOCATION, Revocation(**(said | changes)), who))

    def receipt(self, alert: str, signer: Identity | None = None) -> bytes:
        body = Receipt(alert=alert, unit=UNIT, received_at=datetime.now(UTC))
        return wrapped("receipt", sign(RECEIPT, body, signer or self.office[Role.CONTROL_ROOM]))


def wrapped(kind: str, token: bytes) -> bytes:
    return wrap(kind, token, identifier="t-1", source="test", time=datetime.now(UTC))


# --- processes ----------------------------------------------------------------------------------------------


class Process:
    """A real `edgeagent` command; killed at the end of the test at the latest."""

    def __init__(self, command: list[str], folder: Path, log: str) -> None:
        self.log = folder / log
        with self.log.open("a") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGCONT)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(5)

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(5)

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def said(self) -> str:
        return self.log.read_text()

    def capture_children(self) -> list[int]:
        """Living capture processes of this unit; a zombie has no device open."""
        return [pid for pid, parent in capture_processes() if parent == self.pid]


def capture_processes() -> list[tuple[int, int]]:
    """(pid, parent) of every living capture process on the machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if CAPTURE_CHILD not in (folder / "cmdline").read_bytes().split(b"\0"):
                continue
            status = (folder / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parent = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        if parent is not None and "State:\tZ" not in status:
            found.append((int(folder.name), int(parent.group(1))))
    return found


# --- the control room, in process ---------------------------------------------------------------------------


class Watch:
    """What the control room sees; receipts are sent while the test looks on, unless told not to."""

    def __init__(self, bench: Bench, *, receipts: bool = True, bench_topics: bool = True) -> None:
        self.bench = bench
        self.receipts = receipts
        self.states: list[UnitState] = []
        self.alerts: list[Arrival] = []
        self.raw: list[Incoming] = []
        self.healths: list[Health] = []
        self._old: set[str] = set()
        self._trust = bench.office.trust()
        self._receiver = Receiver(bench.path / "watch.sqlite", bench.office[Role.CONTROL_ROOM], self._trust)
        self.topics = Topics(UNIT, bench=bench_topics)
        # '#' matches live and bench alike; the broker's access list leaves alerts and states of both.
        self.link: MqttLink = bench.broker.connected_link(
            CONTROL_ROOM, Subscription("#", accept_retained=True)
        )

        self._forget_the_past()

    def _forget_the_past(self) -> None:
        """What an earlier test's unit left on the broker is not this one's."""
        while self.take(0.15):
            pass
        self._old = {state.boot for state in self.states}
        for seen in (self.states, self.alerts, self.raw):
            seen.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.__exit__()
        self.link.close(None, timeout_s=2.0)

    @property
    def last(self) -> UnitState:
        assert self.states, "no state came"
        return self.states[-1]

    def take(self, seconds: float) -> bool:
        """Take one message; whether one came."""
        try:
            message = self.link.inbox.get(timeout=seconds)
        except queue.Empty:
            return False
        self.raw.append(message)
        if message.topic.endswith("/state"):
            state = read_state(message.topic, message.payload, self._trust, CLOCK.now())
            if state.boot not in self._old:
                self.states.append(state)
        elif message.topic.endswith("/health"):
            self.healths.append(
                from_unit(HEALTH, message.topic, message.payload, self._trust, CLOCK.now())[0]
            )
        elif message.topic.endswith("/alert"):
            arrival = self._receiver.take(message.topic, message.payload, CLOCK.now())
            self.alerts.append(arrival)
            self._receiver.shown(arrival.alert)
            if self.receipts:
                self.link.publish(arrival.receipt_topic, arrival.receipt)
        return True

    def until(self, condition: Callable[[], Any], seconds: float = START_S) -> float:
        """Wait for a condition; how long it took. Fails with the last state."""
        began = time.monotonic()
        while not condition():
            left = began + seconds - time.monotonic()
            if left <= 0:
                last = self.states[-1] if self.states else None
                pytest.fail(f"not within {seconds} s; last state: {last!r}; {len(self.alerts)} alerts")
            self.take(min(left, 0.1))
        return time.monotonic() - began

    def drain(self) -> None:
        """Take everything that has arrived, so that `last` is the present."""
        while self.take(0.0):
            pass

    def state(self, presence: Presence, seconds: float = START_S, **facts: Any) -> UnitState:
        """Wait for a new state of the unit that says so."""
        seen = len(self.states)

        def said() -> bool:
            return any(
                state.state is presence and all(getattr(state, k) == v for k, v in facts.items())
                for state in self.states[seen:]
            )

        self.until(said, seconds)
        return self.last

    def ready(self, seconds: float = START_S) -> UnitState:
        """Wait until only a lease is missing, which also vouches for an unsynchronised clock."""
        seen = len(self.states)
        self.until(lambda: any(s.deployment and s.rule == "R16" for s in self.states[seen:]), seconds)
        return self.last

    def problem(self, text: str, seconds: float = START_S) -> UnitState:
        """Wait for a LOCKED state with a problem that matches; the camera was never opened meanwhile."""
        self.until(lambda: self.states and re.search(text, self.last.problem), seconds)
        assert self.last.state is Presence.LOCKED
        unknown_when_lost = (CameraState.CLOSED, CameraState.UNKNOWN)
        assert all(state.camera in unknown_when_lost for state in self.states)
        assert self.last.challenge == "", "a lease could open a camera without authority"
        return self.last


class Officers:
    """The lease desk in a thread: answers every challenge until they leave."""

    def __init__(self, bench: Bench, *, seconds: float = LEASE_S, bench_topics: bool = True) -> None:
        self._holder = LeaseHolder(
            bench.office[Role.CONTROL_ROOM], bench.office.trust(), DEPLOYMENT, 4, seconds
        )
        self.leases: list[tuple[str, bytes]] = []
        prefix = "lfr-bench/v1" if bench_topics else "lfr/v1"
        self.link = bench.broker.connected_link(
            LEASE_DESK, Subscription(f"{prefix}/+/state", accept_retained=True)
        )
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self.link.close(None, timeout_s=2.0)

    def leave(self) -> None:
        self._gone.set()
        self._thread.join(5)

    def _answer(self) -> None:
        while not self._gone.is_set():
            try:
                message = self.link.inbox.get(timeout=0.05)
                answer = self._holder.answer(message.topic, message.payload, CLOCK.now())
            except (queue.Empty, DocumentError):
                continue
            if answer is not None:
                self.leases.append((answer.topic, answer.message))
                with contextlib.suppress(BrokerError):  # the broker is down, as some tests want it
                    self.link.publish(answer.topic, answer.message)


def make_bench(folder: Path, **options: Any) -> Iterator[Bench]:
    """A bench with a Mosquitto of its own; nothing of it is left running."""
    require("mosquitto")
    before = {pid for pid, _ in capture_processes()}
    with start_broker(folder / "broker", now=datetime.now(UTC), kind="mosquitto") as running:
        broker = Broker(running)
        bench = Bench(folder, broker)
        bench.write(**options)
        yield bench
        running.thaw()
        broker.close_links()

    def left_behind() -> list[int]:
        """Looked at again each time: a child of a killed unit needs a moment to notice."""
        return [pid for pid, up in capture_processes() if pid not in before and up in (1, os.getpid())]

    assert wait_for(lambda: not left_behind(), 5), f"capture processes left behind: {left_behind()}"
