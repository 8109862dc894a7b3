"""One trial: a real unit on a bench, somebody who is on no list walks by, and everything is searched."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeagent.capture.scene import Scene, SceneRenderer, places
from edgeagent.demo.scene import ASSETS, SUBJECT, WALKERS
from edgeagent.documents.messages import Presence
from tests import bench_unit
from tests.bench_unit import Bench, Officers, Process, Watch
from tests.deletion.search import Found, Index, Trace
from tests.deletion.snapshot import files_below, memory, octets_written, open_files, writable_files
from tests.deletion.traces import see, traces
from tests.real_networks import eyes

ROOT = Path(__file__).resolve().parents[2]
CANARY = "passer-by-1"
"""A stand-in who is on no list."""
CYCLE_S, CYCLES = 8.0, 15
WALKS = {CANARY: (0.3, 3.0), SUBJECT: (4.0, 3.0)}
"""When each enters, in every cycle, and how long it takes to cross; only one of them is there at a time."""
STOPS = (CANARY, CANARY, CANARY, SUBJECT)
BEFORE = 2
"""Frames before the one that is looked for: nothing of those may be left either."""
OTHER_FOLDERS = (Path("/dev/shm"),)


def write_scene(folder: Path) -> Path:
    """The canary alone, then the subject alone, then an empty street."""
    folder.mkdir(exist_ok=True)
    for picture in WALKERS.values():
        shutil.copyfile(ASSETS / picture, folder / picture)
    actors = [
        bench_unit._walk(who, cycle * CYCLE_S + enters_s, crosses_s, 180, 460)
        for cycle in range(CYCLES)
        for who, (enters_s, crosses_s) in WALKS.items()
    ]
    scene = Scene(
        width=bench_unit.WIDTH,
        height=bench_unit.HEIGHT,
        fps=bench_unit.FPS,
        seconds=CYCLES * CYCLE_S,
        seed=3,
        noise=2.0,
        actors=tuple(actors),
    )
    file = folder / "street.json"
    file.write_text(scene.model_dump_json())
    return file.resolve()


class Street:
    """The scene, drawn again and taken apart as the unit does."""

    def __init__(self, scene: Path) -> None:
        self._renderer = SceneRenderer(scene)
        self._eyes = eyes()

    def frames(self, who: str) -> list[int]:
        """Numbers of the frames in which somebody is in the middle of the picture."""
        scene = self._renderer.scene
        enters_s, crosses_s = WALKS[who]
        middle = range(round(scene.fps * (enters_s + 0.4)), round(scene.fps * (enters_s + crosses_s - 0.2)))
        cycles = range(0, round(CYCLES * CYCLE_S * scene.fps), round(CYCLE_S * scene.fps))
        return [cycle + number for cycle in cycles for number in middle]

    def traces(self, numbers: Iterable[int]) -> list[Trace]:
        """Everything that a face in these frames could leave."""
        return [trace for number in numbers for trace in self._traces(number)]

    def _traces(self, number: int) -> Iterator[Trace]:
        for place in places(self._renderer.scene, number):
            sight = see(self._renderer.draw(number), place.face, self._eyes)
            if sight is not None:
                yield from traces(sight, self._eyes)


@dataclass
class Search:
    """One look at everything, and what it found."""

    when: str
    ms: float | None = None
    found: dict[str, Found] = field(default_factory=dict)
    places: dict[str, set[str]] = field(default_factory=dict)
    octets: dict[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What was searched and found, in a line."""
        searched = ", ".join(f"{octets / 1e6:.1f} MB {where}" for where, octets in self.octets.items())
        return f"{len(self.found) or 'no'} forms found in {searched}"

    def look(self, index: Index, where: str, octets: memoryview, name: str) -> None:
        """Search some octets; `where` is for the sum, `name` for the finding."""
        self.octets[where] = self.octets.get(where, 0) + len(octets)
        for what, found in index.search(octets).items():
            self.found[what] = self.found.get(what, Found(0, 0)) + found
            self.places.setdefault(what, set()).add(f"{where}: {name}")


@dataclass(frozen=True)
class Frame:
    """What the observer noted of one frame."""

    sequence: int
    ms: float
    seen: int
    alerted: int
    written: tuple[str, ...]


class Trial:
    """A unit that is being watched; `mode` as in `tests.deletion.runner`."""

    def __init__(self, bench: Bench, mode: str) -> None:
        self.bench = bench
        self.searches: list[Search] = []
        self.writable: set[str] = set()
        self.written: dict[str, int] = {}
        self._report = bench.path / f"observed-{mode}.jsonl"
        runner = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.deletion.runner", mode]
        command = [*runner, str(self._report), "run", "--config", "unit.toml"]
        self.unit = Process(command, bench.path, f"run-{mode}.log")

    def stop_at(self, wanted: str) -> None:
        """Ask for a stop at the end of a frame with one of these numbers, or with an `alert`."""
        part = self._report.with_suffix(".part")
        part.write_text(wanted)
        part.rename(self._report.with_suffix(".stop"))

    def frames(self) -> list[Frame]:
        """All frames so far."""
        if not self._report.exists():
            return []
        lines = [json.loads(line) for line in self._report.read_text().splitlines()]
        return [Frame(**(line | {"written": tuple(line["written"])})) for line in lines]

    def stopped(self) -> bool:
        """Whether the unit stands still between two frames."""
        state = Path(f"/proc/{self.unit.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def copy_memory(self) -> list[tuple[str, str, memoryview]]:
        """Copy what unit and capture process have in memory and in open files; then they go on."""
        copies = []
        processes = {self.unit.pid: "unit"} | dict.fromkeys(self.unit.capture_children(), "capture process")
        for pid, who in processes.items():
            if pid != self.unit.pid:
                os.kill(pid, signal.SIGSTOP)
            self.writable |= writable_files(pid)
            self.written[who] = octets_written(pid)
            copies += [(f"memory of the {who}", region.name, region.octets.data) for region in memory(pid)]
            copies += [
                ("open files", name, memoryview(entry.read_bytes())) for name, entry in open_files(pid)
            ]
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        return copies

    def copy_rest(self, watch: Watch) -> list[tuple[str, str, memoryview]]:
        """Every file below the bench (data folder, logs, the broker's store) and every message."""
        folders = files_below(self.bench.path, *OTHER_FOLDERS)
        copies = [("files", str(path), memoryview(path.read_bytes())) for path in folders]
        for message in watch.raw:
            copies += [
                ("messages", message.topic, memoryview(octets)) for octets in unwrapped(message.payload)
            ]
        return copies

    def search(
        self, when: str, index: Index, copies: list[tuple[str, str, memoryview]], ms: float | None = None
    ) -> Search:
        """Search copies for traces."""
        search = Search(when, ms)
        for where, name, octets in copies:
            search.look(index, where, octets, name)
        self.searches.append(search)
        return search


def unwrapped(payload: bytes) -> Iterator[bytes]:
    """A message, and what lies in it behind base64, however deep."""
    yield payload
    for part in payload.replace(b'"', b".").split(b"."):
        if len(part) >= 32:
            try:
                inner = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
            except ValueError:
                continue
            if base64.urlsafe_b64encode(inner).rstrip(b"=") == part:
                yield from unwrapped(inner)


def run(bench: Bench, mode: str, stops: Sequence[str], street: Street, say: Callable[[str], None]) -> Trial:
    """One trial, from start to closed camera; `stops` say who shall be in the frame that is looked for."""
    trial, seen = Trial(bench, mode), []
    with trial.unit, Watch(bench) as watch:
        watch.ready()
        with Officers(bench):
            for who in stops:
                trial.stop_at("alert" if who == SUBJECT else " ".join(map(str, street.frames(who))))
                watch.until(trial.stopped, 60)
                copies, last = trial.copy_memory(), trial.frames()[-1]
                index = Index(street.traces(range(last.sequence - BEFORE, last.sequence + 1)))
                search = trial.search(f"{who} in frame {last.sequence}", index, copies, last.ms)
                say(f"{mode:4}  {search.when}, {last.ms:.0f} ms after its capture: {search.summary}")
                seen.append(last.sequence)
        watch.state(Presence.STANDBY, 10)
        if mode == "real":
            ends = [frame.sequence for frame in trial.frames() if frame.seen]
            index = Index(street.traces({*seen, *ends[-3:]}))
            time.sleep(0.3)
            trial.unit.signal(signal.SIGSTOP)
            watch.until(trial.stopped, 5)
            for when, copies in (
                ("everybody, camera closed", trial.copy_memory()),
                ("everybody, files and messages", trial.copy_rest(watch)),
            ):
                say(f"{mode:4}  {when}: {trial.search(when, index, copies).summary}")
    return trial
