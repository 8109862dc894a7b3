"""A capture child whose camera misbehaves as its target says: the real child, the real pipes, a fake driver.

The target is `BEHAVIOUR:N`: it gives N good frames and then behaves. Every frame is the canary pattern.
"""

from __future__ import annotations

import signal
import sys
import time

import numpy as np

from edgeagent.capture import child
from edgeagent.capture.protocol import Status
from edgeagent.capture.source import SourceFailed, Taken, put
from edgeagent.vision.types import UInt8Image

ALARM_S = 0.6
"""In place of the real two alarms, to keep tests short."""


def canary(height: int, width: int, sequence: int) -> UInt8Image:
    """(height, width, 3): no zero anywhere, another pattern for each frame."""
    values = (np.arange(height * width * 3, dtype=np.uint32) * 7 + sequence * 31) % 255 + 1
    return values.astype(np.uint8).reshape(height, width, 3)


class FakeCamera:
    """Gives canaries, then misbehaves."""

    def __init__(self, behaviour: str, after: int, width: int, height: int) -> None:
        self._behaviour, self._after = behaviour, after
        self._width, self._height = width, height
        self._given = 0

    def open(self) -> None:
        if self._behaviour == "stall-open":
            time.sleep(60)

    def read(self, into: UInt8Image) -> Taken:
        if self._given >= self._after:
            self._misbehave(into)
        self._given += 1
        return put(canary(self._height, self._width, self._given - 1), into, self._given - 1)

    def _misbehave(self, into: UInt8Image) -> None:
        if self._behaviour == "stall":
            # As a driver does: half a frame is in memory when it hangs.
            into[: into.size // 2] = 0xEE
            time.sleep(60)
        if self._behaviour == "deaf":
            # Ignored, not blocked: a mask is one thread's, and numpy's other threads would still be ended.
            for refusable in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(refusable, signal.SIG_IGN)
            time.sleep(60)
        if self._behaviour == "large":
            self._height += 1
        if self._behaviour == "small":
            self._height //= 2
        if self._behaviour == "crash":
            raise RuntimeError("driver")
        if self._behaviour == "gone":
            raise SourceFailed(Status.GONE)

    def close(self) -> None:
        self._given = 0


def make(scheme: str, target: str, width: int, height: int, fps: int) -> FakeCamera:
    """As `source_for` does."""
    behaviour, _, after = target.partition(":")
    return FakeCamera(behaviour, int(after), width, height)


if __name__ == "__main__":
    vars(child).update(FIRST_FRAME_WITHIN_S=ALARM_S, ASKED_AGAIN_WITHIN_S=ALARM_S)
    child.main(sys.argv[1:], make)
