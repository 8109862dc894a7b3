"""The capture process: opens the source, answers each request with one frame, and ends with its parent.

Run as `python -m edgeagent.capture.child PARENT SLOT SLOT_BYTES SCHEME TARGET WIDTH HEIGHT FPS`, with
requests on standard input and replies on standard output.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable

import numpy as np

from edgeagent.capture.protocol import ASKED_AGAIN_WITHIN_S, FIRST_FRAME_WITHIN_S, WANT_FRAME, Reply, Status
from edgeagent.capture.source import Source, SourceFailed
from edgeagent.system.process import protect_memory

_PR_SET_PDEATHSIG = 1

OpenSource = Callable[[str, str, int, int, int], Source]
"""Makes a source from scheme, target, width, height and frames per second."""


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
    parent, slot, slot_bytes = (int(number) for number in arguments[:3])
    _die_with(parent)
    protect_memory()  # R1; the parent says where the system does not allow it
    scheme, target, *sizes = arguments[3:]
    memory = mmap.mmap(slot, slot_bytes)
    memory.madvise(mmap.MADV_DONTDUMP)
    try:
        source = make(scheme, target, *(int(size) for size in sizes))
        _serve(source, np.frombuffer(memory, np.uint8))
    except SourceFailed as failure:
        os.write(sys.stdout.fileno(), Reply(failure.status).pack())


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, also if that happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _serve(source: Source, slot: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    # SIGALRM ends the process by default: a driver that blocks, or a parent that hangs, keeps no camera open.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, FIRST_FRAME_WITHIN_S)
    source.open()
    while os.read(sys.stdin.fileno(), 1) == WANT_FRAME:
        taken = source.read(slot)
        captured_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.write(sys.stdout.fileno(), Reply(Status.FRAME, *taken, captured_ns).pack())
        signal.setitimer(signal.ITIMER_REAL, ASKED_AGAIN_WITHIN_S)


if __name__ == "__main__":
    main(sys.argv[1:])
