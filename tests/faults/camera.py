"""That the camera closes within the lease: the real daemon with a generated street, and the same faults.

The lease is 2 s. It counts from a challenge that was published before the fault, so the capture process must
be gone 3 s after the fault at the latest. All but the cut network are those of
`tests/rules/test_r16_camera_closes.py`, which also steps the clock: that closes the camera at the next turn
of the loop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeagent.demo.broker import start_broker
from tests.bench_unit import Bench, Watch
from tests.broker_tools import Broker, wait_for
from tests.faults.proxy import Proxy
from tests.rules.test_r16_camera_closes import CLOSES_WITHIN_S, FAILURES, Scene


@dataclass(frozen=True, slots=True)
class Closed:
    """One fault; `after_s` is when the last capture process was gone, None when it was not in time."""

    fault: str
    after_s: float | None

    @property
    def good(self) -> bool:
        """Whether it closed within the lease and one second."""
        return self.after_s is not None and self.after_s <= CLOSES_WITHIN_S


Change = Callable[[Scene], None]


def closes(folder: Path) -> Iterator[Closed]:
    """Each fault in turn, while the camera is open.

    Raises:
        RuntimeError: the unit did not come to life at all.
    """
    with start_broker(folder / "broker", now=datetime.now(UTC), kind="mosquitto") as running:
        broker = Broker(running)
        try:
            yield from _faults(Bench(folder, broker))
        except pytest.fail.Exception as failed:
            raise RuntimeError(str(failed)) from None
        finally:
            running.thaw()
            broker.close_links()


def _faults(bench: Bench) -> Iterator[Closed]:
    running = bench.broker.running
    with Proxy(running.port, random.Random(0)) as proxy:
        bench.write()
        text = bench.config.read_text()
        bench.config.write_text(text.replace(f"port = {running.port}", f"port = {proxy.port}"))
        bench.put()
        faults: dict[str, tuple[Change, Change]] = {
            "network cut": (lambda _: setattr(proxy, "up", False), lambda _: setattr(proxy, "up", True)),
            **FAILURES,
        }
        with Watch(bench) as watch, bench.unit() as unit:
            scene = Scene(bench, unit, watch, bench.holder())
            try:
                for fault, (fail, repair) in faults.items():
                    yield _one(scene, fault, fail, repair)
            finally:
                scene.holder.__exit__()


def _one(scene: Scene, fault: str, fail: Change, repair: Change) -> Closed:
    scene.until_live()
    began = time.monotonic()
    fail(scene)
    closed = wait_for(lambda: not scene.unit.capture_children(), CLOSES_WITHIN_S)
    took_s = time.monotonic() - began
    time.sleep(0.5)
    closed = closed and not scene.unit.capture_children()
    repair(scene)
    return Closed(fault, took_s if closed else None)
