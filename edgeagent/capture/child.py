"""The capture process: opens the source, answers each request with one frame, and ends with its parent.

Run as `python -m edgeagent.capture.child PARENT SLOT SLOT_BYTES UNTIL SCHEME TARGET WIDTH HEIGHT FPS`, with
requests on standard input and replies on standard output. It knows when the officers' lease ends (R16), and
ends itself then, should the daemon be held up by a disk, a broker or a fault of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeagent.capture.protocol import (
    ASKED_AGAIN_WITHIN_S,
    FIRST_FRAME_WITHIN_S,
    LEASE_OVER,
    REQUEST_BYTES,
    STALLED,
    Reply,
    Request,
    Status,
)
from edgeagent.capture.source import Source, SourceFailed
from edgeagent.system.process import protect_memory

_PR_SET_PDEATHSIG = 1
_KERNEL_LATER_S = 0.5
_LOOK_EVERY_S = 0.1
"""A timer would stop while the machine is suspended; the lease does not."""

OpenSource = Callable[[str, str, int, int, int], Source]
"""Makes a source from scheme, target, width, height and frames per second."""
Slot = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""The memory that is shared with the parent, all of it."""


@dataclass(slots=True)
class _Limits:
    """Until when the device may be open, on CLOCK_BOOTTIME: by the lease, and for want of frames."""

    lease_ns: int
    answer_ns: int = 2**63 - 1

    def answer_within(self, seconds: float) -> None:
        """A frame must come and the next be asked for within this time.

        SIGALRM ends a process by default: should a driver keep the interpreter from running the thread that
        looks at this, the kernel does it a little later.
        """
        self.answer_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9)
        signal.setitimer(signal.ITIMER_REAL, seconds + _KERNEL_LATER_S)


def source_for(scheme: str, target: str, width: int, height: int, fps: int) -> Source:
    """The source of a scheme that `edgeagent.safeguards.sources` let through.

    Raises:
        SourceFailed: a scheme that this build cannot open.
    """
    # Imported here, so that a unit with a camera never loads the code of scenes.
    if scheme == "v4l2":
        from edgeagent.capture.v4l2 import V4l2Source

        return V4l2Source(target, width=width, height=height, fps=fps)
    if scheme == "scene":
        from edgeagent.capture.scene import SceneSource

        return SceneSource(target)
    if scheme == "pictures":
        from edgeagent.capture.pictures import PicturesSource

        return PicturesSource(target, fps=fps)
    raise SourceFailed(Status.UNSUITABLE)


def main(arguments: list[str], make: OpenSource = source_for) -> None:
    """Serve frames until the parent stops asking."""
    parent, slot, slot_bytes, until_ns = (int(number) for number in arguments[:4])
    _die_with(parent)
    protect_memory()  # R1; the parent says where the system does not allow it
    scheme, target, *sizes = arguments[4:]
    memory = mmap.mmap(slot, slot_bytes)
    memory.madvise(mmap.MADV_DONTDUMP)
    pixels, wanted, limits = np.frombuffer(memory, np.uint8), threading.Semaphore(0), _Limits(until_ns)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=_obey, args=(limits, wanted, pixels), daemon=True).start()
    try:
        source = make(scheme, target, *(int(size) for size in sizes))
        _serve(source, limits, wanted, pixels)
    except SourceFailed as failure:
        os.write(sys.stdout.fileno(), Reply(failure.status).pack())


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, also if that happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _obey(limits: _Limits, wanted: threading.Semaphore, slot: Slot) -> None:
    """Hear the parent; end the process when the time that it gave is up, or when it is gone.

    A thread, since the main one may be blocked in a camera's driver for as long as that likes. The slot is
    overwritten first: a daemon that is held up does not do it (R1).
    """
    parent = sys.stdin.fileno()
    while True:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if now_ns >= limits.lease_ns or now_ns >= limits.answer_ns:
            slot.fill(0)
            os._exit(LEASE_OVER if now_ns >= limits.lease_ns else STALLED)  # the kernel closes the device
        left_s = (limits.lease_ns - now_ns) / 1e9
        if not select.select([parent], [], [], min(left_s, _LOOK_EVERY_S))[0]:
            continue
        octets = os.read(parent, REQUEST_BYTES)  # whole, as it is less than a pipe writes at once
        if not octets:
            slot.fill(0)
            os._exit(0)
        request = Request.unpack(octets)
        limits.lease_ns = request.until_ns
        if request.frame:
            wanted.release()


def _serve(source: Source, limits: _Limits, wanted: threading.Semaphore, slot: Slot) -> None:
    limits.answer_within(FIRST_FRAME_WITHIN_S)
    source.open()
    while wanted.acquire():
        taken = source.read(slot)
        captured_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.write(sys.stdout.fileno(), Reply(Status.FRAME, *taken, captured_ns).pack())
        limits.answer_within(ASKED_AGAIN_WITHIN_S)


if __name__ == "__main__":
    main(sys.argv[1:])
