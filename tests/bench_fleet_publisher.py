"""One unit's publisher alone, idle, as a process of its own: `python -m tests.bench_fleet_publisher FOLDER`.

Outbox, audit log, link, signed states and receipts, at the daemon's pace; no camera, networks or pictures.
Its task comes as one JSON line. It says "ready" when it is connected and ends with its input.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.trust import open_trust_store
from edgeagent.fleet.office import unpacked
from edgeagent.fleet.unit import FleetUnit, settings_of
from edgeagent.fleet.wire import WorkerTask, first_line, orders
from edgeagent.system.clock import SystemClock

TURN_S = 0.05
"""As the daemon's loop has it while it looks at no frames."""


def main() -> None:
    task = first_line(WorkerTask)
    seat = task.seats[0]
    identity = unpacked(seat.holder, Role.UNIT)
    unit = FleetUnit(
        identity,
        Path(task.folder) / identity.name,
        open_trust_store(unbase64url(task.trust), task.root),
        settings_of(identity.name, seat.endpoint),
        clock=SystemClock(),
        paper=None,
        state_every_s=task.state_every_s,
        seed=task.seed,
    )
    unit.start()
    coming, ready = orders(), False
    while coming.empty():
        unit.turn(time.monotonic())
        if unit.connected and not ready:
            ready = True
            loaded = [name for name in ("cv2", "numpy") if name in sys.modules]
            print(f"ready {' '.join(loaded)}", flush=True)
        time.sleep(TURN_S)
    unit.close()


if __name__ == "__main__":
    main()
