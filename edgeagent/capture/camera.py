"""The parent's handle on the capture process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

import numpy as np

from edgeagent.capture.protocol import (
    ASKED_AGAIN_WITHIN_S,
    LEASE_OVER,
    REPLY_BYTES,
    STALLED,
    Reply,
    Request,
    Status,
)
from edgeagent.errors import CaptureError
from edgeagent.safeguards.sources import SourceSpec
from edgeagent.vision.memory import BiometricMemory, room
from edgeagent.vision.types import Frame, UInt8Image

MODULE = "edgeagent.capture.child"
REAP_S = 1.0

_FAILURES = {
    Status.ABSENT: ("is not there", "plug the camera in; try its other port"),
    Status.BUSY: ("is used by another program, or is not a camera", "stop the other program"),
    Status.NOT_PERMITTED: (
        "may not be opened by this user",
        "install 60-edgeagent.rules, then udevadm trigger",
    ),
    Status.GONE: ("disappeared", "check the camera's plug and power"),
    Status.DAMAGED: ("gives only damaged pictures", "check the camera's cable; try its other port"),
    Status.UNSUITABLE: ("gives no frames that fit", "check width and height in the configuration"),
    Status.VIRTUAL: (
        "is a virtual device, fed by a program, and no camera [R24]",
        "use a camera; edgeagent takes no network video and no recordings",
    ),
    Status.ENDED: ("has ended", "start it again, or lengthen it"),
}


class CaptureProcess:
    """One running capture process; the device is open at most from construction to `close`."""

    def __init__(
        self, spec: SourceSpec, *, width: int, height: int, fps: int, until_ns: int, module: str = MODULE
    ) -> None:
        """Start the process; frames of up to width×height pixels fit.

        Args:
            until_ns: the process ends itself at this moment of CLOCK_BOOTTIME (R16); see `allow_until`.

        Raises:
            CaptureError: it cannot be started.
        """
        self._spec = spec
        self._slot_bytes = width * height * 3
        self._fd = os.memfd_create("edgeagent-frame", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, room(((self._slot_bytes,), np.uint8)))
        self._memory = BiometricMemory(self._slot_bytes, self._fd)
        self._slot: UInt8Image = self._memory.take((self._slot_bytes,), np.uint8)
        self._asked = False
        self._until_ns = until_ns
        numbers = [str(number) for number in (os.getpid(), self._fd, self._slot_bytes, until_ns)]
        sizes = [str(number) for number in (width, height, fps)]
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-m", module, *numbers, spec.scheme, spec.target, *sizes],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._fd,),
                bufsize=0,
            )
        except OSError as cause:
            os.close(self._fd)
            raise CaptureError(
                f"the capture process cannot be started: {cause.strerror}",
                where=spec.target,
                next_step="check memory and limits",
            ) from cause

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def wiped(self) -> bool:
        """Whether the frame slot holds nothing but zeros (R1)."""
        return self._memory.wiped

    def allow_until(self, until_ns: int) -> None:
        """The device may be open until this moment of CLOCK_BOOTTIME, no longer (R16)."""
        if until_ns != self._until_ns:
            self._until_ns = until_ns
            self._tell(Request(until_ns, frame=False))

    def _tell(self, request: Request) -> None:
        # A child that is gone may have left a reply that says why.
        with contextlib.suppress(BrokenPipeError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(request.pack())

    def next_frame(self, timeout_s: float) -> Frame | None:
        """The newest frame, borrowed until `release`; None when none came within `timeout_s`.

        Raises:
            CaptureError: absent, busy, disappeared, stalled, ended; the process is gone then.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise CaptureError("is closed", where=self._spec.target, next_step="open it again")
        if not self._asked:
            self._tell(Request(self._until_ns, frame=True))
            self._asked = True
        readable, _, _ = select.select([process.stdout], [], [], timeout_s)
        if not readable:
            return None
        self._asked = False
        return self._frame(process.stdout.read(REPLY_BYTES) or b"")

    def _frame(self, octets: bytes) -> Frame:
        if len(octets) != REPLY_BYTES:
            raise self._died()
        try:
            reply = Reply.unpack(octets)
        except ValueError as cause:
            raise CaptureError(
                "the capture process spoke nonsense", where=self._spec.target, next_step="it is tried again"
            ) from cause
        size = reply.height * reply.width * 3
        if reply.status is not Status.FRAME or not 0 < size <= self._slot_bytes:
            status = Status.UNSUITABLE if reply.status is Status.FRAME else reply.status
            what, next_step = _FAILURES[status]
            raise CaptureError(what, where=self._spec.target, next_step=next_step)
        pixels = self._slot[:size].reshape(reply.height, reply.width, 3)
        return Frame(pixels, captured_ns=reply.captured_ns, sequence=reply.sequence)

    def _died(self) -> CaptureError:
        code = self._ended()
        if code in (STALLED, -signal.SIGALRM):
            what = f"gave no frame for {ASKED_AGAIN_WITHIN_S:g} s or more"
            return CaptureError(what, where=self._spec.target, next_step="check the camera's plug and power")
        if code == LEASE_OVER:
            return CaptureError(
                "closed itself: the lease ended before it was renewed",
                where=self._spec.target,
                next_step="nothing, if the officers left; else look for what held the daemon up",
                rule="R16",
            )
        return CaptureError(
            f"the capture process ended ({code})", where=self._spec.target, next_step="it is tried again"
        )

    def _ended(self) -> int:
        """Exit status of a child that closed its pipe; one that lives on without it is killed."""
        process = self._process
        if process is None:
            return 0
        try:
            return process.wait(REAP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(REAP_S)

    def release(self) -> None:
        """Overwrite the frame that was given out, and whatever an earlier, larger one left (R1)."""
        self._memory.wipe()

    def close(self) -> None:
        """End the process, so that the kernel closes the device, and overwrite the slot.

        Killed, not asked: a driver may block for ever, and the device must be closed now (R16).

        Raises:
            CaptureError: the process cannot be ended, so the device may still be open.
        """
        process = self._process
        if process is None:
            return
        process.kill()
        self._memory.wipe()  # R1
        try:
            process.wait(REAP_S)
        except subprocess.TimeoutExpired as cause:
            raise CaptureError(
                "the capture process does not end; the device may still be open",
                where=self._spec.target,
                next_step="cut the camera's power, then restart the unit",
                rule="R16",
            ) from cause
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
        self._memory.wipe()  # the child may have been writing while it died
        os.close(self._fd)
