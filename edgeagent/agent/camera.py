"""The camera as the daemon sees it: open, closed, or degraded and tried again with growing pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgeagent.documents.messages import CameraState
from edgeagent.errors import CaptureError
from edgeagent.vision.types import Frame

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
FRAME_WAIT_S = 0.25


class Capture(Protocol):
    """A running capture process."""

    def allow_until(self, until_ns: int) -> None:
        """The device may be open until this moment of CLOCK_BOOTTIME; it closes itself then (R16)."""
        ...

    def next_frame(self, timeout_s: float) -> Frame | None:
        """The newest frame, or None when none came in time."""
        ...

    def release(self) -> None:
        """Overwrite the frame."""
        ...

    def close(self) -> None:
        """Close the device, overwrite everything; bounded in time."""
        ...

    @property
    def wiped(self) -> bool:
        """Whether the frame memory holds nothing but zeros."""
        ...


class Camera:
    """Opens the capture process when told to, and never otherwise (R16)."""

    def __init__(self, start: Callable[[int], Capture]) -> None:
        """`start` makes a capture process that may run until a moment; only `frame` calls it."""
        self._start = start
        self._capture: Capture | None = None
        self._allowed = False
        self.wiped = True
        """Whether no frame is left in memory, as read back when the capture process was ended (R1)."""
        self._retry_s = RETRY_FIRST_S
        self._retry_at_s = 0.0
        self.problem = ""

    @property
    def state(self) -> CameraState:
        """What the device is."""
        if self.problem:
            return CameraState.DEGRADED
        return CameraState.CLOSED if self._capture is None else CameraState.OPEN

    def open(self) -> None:
        """Allow capture."""
        self._allowed = True
        self._retry_s, self._retry_at_s = RETRY_FIRST_S, 0.0

    def close(self) -> None:
        """Forbid capture, and have the device closed before this returns.

        A capture process that cannot be ended is named in `problem`; nothing is ever started beside it.
        """
        self._allowed = False
        self.problem = ""
        self._stop()

    def frame(self, monotonic_s: float, until_ns: int) -> Frame | None:
        """The newest frame, or None while there is none; a lost camera is tried again, 1 to 60 s apart.

        Args:
            until_ns: end of the lease on CLOCK_BOOTTIME; the capture process ends itself then (R16).
        """
        if not self._allowed or monotonic_s < self._retry_at_s:
            return None
        try:
            if self._capture is None:
                self.wiped = False
                self._capture = self._start(until_ns)
            self._capture.allow_until(until_ns)
            frame = self._capture.next_frame(FRAME_WAIT_S)
        except CaptureError as lost:
            self.problem = str(lost)
            self._stop()
            self._retry_at_s = monotonic_s + self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_MOST_S)
            return None
        if frame is not None:
            self.problem, self._retry_s = "", RETRY_FIRST_S
        return frame

    def release(self) -> None:
        """Overwrite the frame that was given out."""
        if self._capture is not None:
            self._capture.release()

    def _stop(self) -> None:
        if self._capture is None:
            return
        try:
            self._capture.close()
        except CaptureError as stuck:
            self.problem = str(stuck)
            return
        self.wiped = self._capture.wiped
        self._capture = None
