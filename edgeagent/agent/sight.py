"""The camera and what is done with its frames: what was seen, and what became of every face (R1, R16)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeagent.agent.camera import Camera
from edgeagent.agent.recogniser import OnHit, Recogniser
from edgeagent.audit.events import Tally
from edgeagent.documents.messages import CameraState
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.safeguards.lease import HeldLease


@dataclass(slots=True)
class Sight:
    """What the daemon sees with.

    Attributes:
        ledger: every face seen was deleted, or is in an alert that still lives.
        frames, passed, compared: frames looked at, people (tracks) begun, comparisons with the list.
        captured_ns: when the last frame that was looked at was captured, by the monotonic clock.
        lapse_to_closed_ms: how long after the last lapse of a lease the device was closed; None before one.
    """

    camera: Camera
    ledger: FaceLedger
    recogniser: Recogniser | None = None
    frames: int = 0
    passed: int = 0
    compared: int = 0
    captured_ns: int = 0
    lapse_to_closed_ms: float | None = None
    _scrubbed: bool = field(default=True)

    @property
    def wiped(self) -> bool:
        """Whether no pixel and no template is left, in the networks and in the frame slot."""
        return self._scrubbed and self.camera.wiped

    def open(self) -> None:
        """Allow the camera."""
        self._scrubbed = False
        self.camera.open()

    def close(self) -> None:
        """Close the device; bounded in time."""
        self.camera.close()

    def lapsed(self, lease: HeldLease | None, now: Instant) -> None:
        """The device is closed now; measure how long after the lease's end that is."""
        if lease is not None and now.monotonic_ns >= lease.until_ns:
            self.lapse_to_closed_ms = (now.monotonic_ns - lease.until_ns) / 1e6

    def wipe(self) -> None:
        """Overwrite what is left of faces (R1)."""
        if self.recogniser is not None:
            self.recogniser.wipe()
        self._scrubbed = True

    def destroy(self) -> bool:
        """Overwrite the list's templates too (R6); whether there were any."""
        if self.recogniser is None:
            return False
        self.recogniser.destroy()
        self.recogniser = None
        return True

    def look(self, now: Instant, lease: HeldLease, opened: Callable[[], None], on_hit: OnHit) -> int:
        """Look at the newest frame, if there is one.

        Args:
            lease: under which the camera may be open.
            opened: called once the camera has answered, before anything is seen of its frame; what it raises
                leaves the frame unseen and overwritten (R25: the log is written first).

        Returns:
            How many more people could have been matched (R17).
        """
        frame = self.camera.frame(now.monotonic_ns / SECOND, lease.until_ns)
        try:
            opened()
            if self.recogniser is None:
                return 0
            if frame is None:
                self.recogniser.rest()  # R1: no next frame overwrites what the networks hold of the last one
                return 0
            faces = self.recogniser.process(frame, on_hit)
        finally:
            if frame is not None:
                self.camera.release()
        self.frames += 1
        self.captured_ns = frame.captured_ns
        self.passed += faces.passed
        self.compared += faces.compared
        self.ledger = self.ledger.seen(faces.seen).overwritten(faces.overwritten)
        for _ in range(faces.alerted):
            self.ledger = self.ledger.alerted()
        return faces.matchable

    def tally(self, leases: int) -> Tally:
        """The counters as the audit log says them."""
        return Tally(
            frames=self.frames,
            passed=self.passed,
            processed=self.ledger.processed,
            deleted=self.ledger.deleted,
            in_live_alerts=self.ledger.in_live_alerts,
            compared=self.compared,
            leases=leases,
        )

    @property
    def waits_for_frames(self) -> bool:
        """Whether a frame may be had at once, so that nothing else should be waited for."""
        return self.camera.state is CameraState.OPEN
