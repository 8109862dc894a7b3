"""The control room of one virtual unit: broker, receiver, lease desk, and a witness of what is published.

All of it are the real programs on this machine's loopback. The unit reaches them under 10.0.2.2, the address
under which the emulator shows it its host.
"""

from __future__ import annotations

import hashlib
import io
import json
import queue
import sqlite3
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgeagent.alerts.link_types import Incoming, Subscription
from edgeagent.capture.scene import Actor, Scene
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.demo.mosquitto_conf import REVOCATION_DESK
from edgeagent.documents.deployment_key import key_file
from edgeagent.documents.messages import Presence, UnitState
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from tests.bench_unit import CLOCK, DEPLOYMENT, UNIT, Bench, Office, Process, subject, write_scene
from tests.broker_tools import Broker
from tests.faults.station import Station

ROOM_ADDRESS = "10.0.2.2"
LEASE_S = 10.0
TTL_S = 600.0
"""An alert outlives two boots, so that a cut may delay it and must not lose it."""
SECONDS = 1800.0
WALK_S, APART_S = 5.0, 6.5
WIDTH, HEIGHT = 320, 240
TALL = 400.0
"""So near that an emulated detector finds the face in a small picture."""
PROFILE = {"verdict_within_s": 14_400.0, "alert_ttl_max_s": TTL_S}
CREDENTIALS = "/run/credentials/edgeagent.service"
CONFIG = """\
[unit]
name = "{unit}"
key = "{credentials}/unit.key"
[trust]
store = "trust.json"
root = "{root}"
[documents]
authority = "documents/authority.json"
watchlist = "documents/watchlist.edgelist"{certificate}
[models]
folder = "models"
[data]
folder = "/var/lib/edgeagent"
[camera]
source = "{source}"
width = {width}
height = {height}
fps = {fps}
[broker]
host = "localhost"
port = {port}
through = "/run/edgeagent-broker"
ca = "tls/ca.crt"
certificate = "tls/{unit}.crt"
key = "{credentials}/tls.key"
"""
FILTER = """\
# The package's packet filter, with the one address that this unit has.
include "/usr/share/edgeagent/nftables.conf"
add element inet edgeagent broker {{ {address} . {port} }}
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the receiver printed about alerts: ids, and how many lines."""

    first: frozenset[str]
    lines: int


class Room:
    """Broker, keys and processes; use as a context."""

    def __init__(self, folder: Path, models: Path) -> None:
        folder.mkdir(parents=True)
        self._models = models
        self.station = Station(folder / "broker")
        self.broker = Broker(self.station.running)
        self.office = Office(profile=PROFILE)
        self.bench = Bench(folder, self.broker, self.office)
        self.bench.write(seconds=10.0)
        self.bench.put(alert_ttl_s=TTL_S, lease_max_s=LEASE_S, agreeing_frames=2, realert_s=1.0)
        self.list_sha256 = hashlib.sha256(self.bench.watchlist_file.read_bytes()).hexdigest()
        self._receiver: Process | None = None
        self._holders: list[Process] = []
        self.witness = Witness(self)

    def close(self) -> None:
        """Nothing is left running."""
        self.witness.close()
        self.receive(False)
        self.release()
        self.broker.close_links()
        self.station.running.stop()

    # --- the desks --------------------------------------------------------------------------------------

    def receive(self, on: bool) -> None:
        """`edgeagent alerts watch`, there or dead."""
        if on and self._receiver is None:
            watch = ("alerts", "watch", "--config", "alerts.toml", "--bench", "--json")
            self._receiver = Process(self.bench.command(*watch), self.bench.path, "watch.log")
        elif not on and self._receiver is not None:
            self._receiver.kill()
            self._receiver = None

    def hold(self, *, bench: bool = True) -> None:
        """`edgeagent lease hold`: officers are there."""
        if bench:
            self._holders.append(self.bench.holder(seconds=LEASE_S))
            return
        words = ("lease", "hold", "--config", "lease.toml", "--deployment", DEPLOYMENT, "--officers", "4")
        command = self.bench.command(*words, "--json", "--seconds", str(LEASE_S))
        self._holders.append(Process(command, self.bench.path, "lease.log"))

    def release(self) -> None:
        """The officers are gone, without a word."""
        while self._holders:
            self._holders.pop().kill()

    def received(self) -> frozenset[str]:
        """Ids that the receiver has committed."""
        file = self.bench.path / "received.sqlite"
        if not file.exists():
            return frozenset()
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            return frozenset(name for (name,) in db.execute("SELECT alert FROM received"))

    def shown(self) -> Shown:
        """What the receiver showed to a person, as new and again."""
        first, lines = [], 0
        log = self.bench.path / "watch.log"
        for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
            if line.startswith('{"event": "alert"'):
                said = json.loads(line)
                lines += 1
                first += [said["alert"]] if said["first"] else []
        return Shown(frozenset(first), lines)

    # --- what a technician brings to the unit -----------------------------------------------------------

    def papers(self) -> bytes:
        """A tar of the unit's files: the bench's in place, those for a live camera under /root/live."""
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for name, content in self._files().items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o640
                tar.addfile(entry, io.BytesIO(content))
        return whole.getvalue()

    def _files(self) -> dict[str, bytes]:
        running, tls = self.station.running, self.broker.certificate(UNIT)
        etc, bench = "etc/edgeagent", self.bench
        scene = self._scene()
        key = key_file(bench.data, DEPLOYMENT)
        files = {
            f"{etc}/edgeagent.toml": self._config(f"scene:/{etc}/scene/street.json", fps=3),
            f"{etc}/trust.json": self.office.trust_document(),
            f"{etc}/tls/ca.crt": tls.authority.read_bytes(),
            f"{etc}/tls/{UNIT}.crt": tls.cert.read_bytes(),
            f"{etc}/broker.env": f"BROKER={ROOM_ADDRESS}:{running.port}\n".encode(),
            f"{etc}/nftables.conf": FILTER.format(address=ROOM_ADDRESS, port=running.port).encode(),
            f"{etc}/documents/authority.json": bench.authority_file.read_bytes(),
            f"{etc}/documents/watchlist.edgelist": bench.watchlist_file.read_bytes(),
            f"var/lib/edgeagent/bench/{key.relative_to(bench.data)}": key.read_bytes(),
            "root/unit.key": (bench.path / "unit.key").read_bytes(),
            "root/tls.key": tls.key.read_bytes(),
        }
        files |= {f"{etc}/scene/{file.name}": file.read_bytes() for file in scene}
        files |= {f"{etc}/models/{file.name}": file.read_bytes() for file in self._models.iterdir()}
        return files | self._live(key)

    def _scene(self) -> list[Path]:
        """A street with one subject who walks past again and again, alone and near."""
        file = write_scene(self.bench.path / "scene", 10.0, crowd=False)
        scene = Scene.model_validate_json(file.read_bytes())
        walker: Actor = scene.actors[0]
        right, up = walker.face
        level = HEIGHT / 2 + up * TALL
        walk = {
            "crosses_s": WALK_S,
            "start": (WIDTH * 0.35 - right * TALL, level),
            "end": (WIDTH * 0.65 - right * TALL, level),
            "height": (TALL, TALL),
        }
        times = [APART_S * number for number in range(int(SECONDS / APART_S))]
        actors = tuple(walker.model_copy(update={**walk, "enters_s": at}) for at in times)
        sizes = {"width": WIDTH, "height": HEIGHT, "seconds": SECONDS}
        file.write_text(scene.model_copy(update={**sizes, "actors": actors}).model_dump_json())
        return [file, file.with_name(walker.picture)]

    def _live(self, key: Path) -> dict[str, bytes]:
        """A deployment with a real camera, as far as one can be signed for here: with the test's own keys."""
        entries = (subject(), subject(2, Category.WANTED_ON_WARRANT))
        self.bench.put(kind=Kind.LIVE, entries=entries, alert_ttl_s=TTL_S, lease_max_s=LEASE_S)
        etc, bench = "root/live/etc/edgeagent", self.bench
        return {
            f"{etc}/edgeagent.toml": self._config("v4l2:/dev/video0", fps=5, certificate=True),
            f"{etc}/documents/certificate.json": self.office.certificate(),
            f"{etc}/documents/authority.json": bench.authority_file.read_bytes(),
            f"{etc}/documents/watchlist.edgelist": bench.watchlist_file.read_bytes(),
            f"root/live/var/lib/edgeagent/{key.relative_to(bench.data)}": key.read_bytes(),
        }

    def _config(self, source: str, fps: int, *, certificate: bool = False) -> bytes:
        width, height = (640, 480) if certificate else (WIDTH, HEIGHT)
        text = CONFIG.format(
            unit=UNIT,
            credentials=CREDENTIALS,
            root=self.office.root,
            port=self.station.running.port,
            source=source,
            width=width,
            height=height,
            fps=fps,
            certificate='\ncertificate = "documents/certificate.json"' if certificate else "",
        )
        return text.encode()


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest state that a unit published, and when it came, on the monotonic clock."""

    state: UnitState
    at_s: float


class Witness:
    """Hears every state of the unit, in a thread, with the certificate of a desk that may."""

    def __init__(self, room: Room) -> None:
        self._trust = room.office.trust()
        self._last: Seen | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        wanted = [
            Subscription(f"{prefix}/v1/+/state", accept_retained=True) for prefix in ("lfr-bench", "lfr")
        ]
        self._link = room.broker.connected_link(REVOCATION_DESK, *wanted)
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join(10)

    @property
    def last(self) -> UnitState | None:
        """The newest state of the unit's own word; its will does not count."""
        with self._lock:
            return self._last.state if self._last else None

    def until(
        self, condition: Callable[[UnitState], bool], seconds: float, *, after: str = ""
    ) -> UnitState | None:
        """Wait for a state of another boot than `after` that is so; None if none came in that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.last
            if state is not None and state.boot != after and condition(state):
                return state
            time.sleep(0.1)
        return None

    def _listen(self) -> None:
        while not self._end.is_set():
            try:
                message = self._link.inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            self._take(message)

    def _take(self, message: Incoming) -> None:
        try:
            state = read_state(message.topic, message.payload, self._trust, CLOCK.now())
        except DocumentError:
            return  # of another time; the units' own checks are tested elsewhere
        if state.state is not Presence.LOST:
            with self._lock:
                self._last = Seen(state, time.monotonic())
