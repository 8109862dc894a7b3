"""The clocks: one reading of both, and whether the system vouches for the wall clock."""

from __future__ import annotations

import ctypes
import time
from typing import Protocol

from edgeagent.safeguards.instant import Instant

STA_UNSYNC = 0x0040
_TIMEX_BYTES = 512  # struct timex has 208 bytes on 64-bit Linux; the kernel writes no more than that
LONG_BYTES = 8
_STATUS_OFFSET = 40  # modes, (pad), offset, freq, maxerror, esterror, status: sizes 4+4+8+8+8+8


class Clock(Protocol):
    """Where the daemon takes its time from."""

    def now(self) -> Instant:
        """One reading of both clocks."""
        ...


class SystemClock:
    """The machine's clocks.

    Durations run on CLOCK_BOOTTIME, which also counts time spent suspended: a unit that slept through the
    end of its lease wakes up without one.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def now(self) -> Instant:
        """One reading of both clocks."""
        monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Instant.of(monotonic_ns, time.time(), synchronised=self._kernel_synchronised())

    def _kernel_synchronised(self) -> bool:
        """The kernel's own verdict (adjtimex with no modes: read only, needs no privilege)."""
        if ctypes.sizeof(ctypes.c_long) != LONG_BYTES:
            return False  # another layout: nobody vouches, rather than a wrong field
        timex = ctypes.create_string_buffer(_TIMEX_BYTES)
        if self._libc.adjtimex(timex) < 0:
            return False
        status = int.from_bytes(timex.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little")
        return not status & STA_UNSYNC
