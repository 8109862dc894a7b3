"""A clock that the test may step: the machine's own, plus what a file says."""

from __future__ import annotations

import os
from pathlib import Path

from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock


class SteppedClock:
    """The machine's clocks, with the wall clock off by as many seconds as `file` says (empty: by none).

    It says of itself that it is synchronised: what is wrong with it, nobody has noticed.
    """

    def __init__(self, file: Path) -> None:
        self._real = SystemClock()
        self._descriptor = os.open(file, os.O_RDONLY | os.O_CREAT, 0o600)

    def now(self) -> Instant:
        """One reading of both clocks."""
        real = self._real.now()
        off_s = float(os.pread(self._descriptor, 32, 0) or b"0")
        return Instant.of(real.monotonic_ns, real.epoch_s + off_s, synchronised=True)


def step(file: Path, seconds: float) -> None:
    """Set how far the clock is off from now on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, f"{seconds:<32}".encode(), 0)  # one write: nobody reads half a number
    finally:
        os.close(descriptor)
