"""What a process that holds faces in memory gives up: core dumps, swap, and being read by others (R1)."""

from __future__ import annotations

import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path

from edgeagent.errors import SafeguardError

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4
_CAP_IPC_LOCK = 14
_M_PERTURB, _PATTERN = -6, 0xA5
SWAPS = Path("/proc/swaps")


@dataclass(frozen=True, slots=True)
class Exposure:
    """Ways by which this process's memory could reach a disk or another process, as the system says.

    Attributes:
        dumps: a core dump is possible, or another process of the same user may read the memory.
        swaps: there is swap, and the memory is not locked against it.
    """

    dumps: bool
    swaps: bool

    @property
    def problem(self) -> str:
        """What to tell people; empty when there is nothing."""
        said = []
        if self.dumps:
            said.append("memory can be dumped or read by another program of this user")
        if self.swaps:
            said.append("memory may be swapped to disk: turn swap off, or allow LimitMEMLOCK=infinity")
        return f"{'; '.join(said)} [R1]" if said else ""


def refuse_dumps() -> None:
    """No core dump of this process, and no reading of its memory by others of the same user.

    Raises:
        SafeguardError: R1, the system refused.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SafeguardError(
            f"memory dumps cannot be switched off: {os.strerror(ctypes.get_errno())}",
            where="process",
            next_step="run it as the service does",
            rule="R1",
        )


def protect_memory() -> Exposure:
    """Refuse dumps, overwrite what is freed, and lock all memory of this process; say what remains possible.

    Raises:
        SafeguardError: R1, dumps cannot be refused.
    """
    refuse_dumps()
    overwrite_what_is_freed()
    return exposure(locked=_lock_all())


def overwrite_what_is_freed() -> None:
    """Have the C library overwrite memory when it is given back to it, by whichever library (R1).

    OpenCV frees what it encoded an alert's crop into without a thought. Where the C library is another than
    glibc this does nothing. Blocks up to 1 KiB are reused at once by the next one and are not overwritten.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, _PATTERN)


def exposure(*, locked: bool) -> Exposure:
    """How exposed this process is now; `locked` if all its memory is."""
    dumpable = ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0
    dumps = dumpable or resource.getrlimit(resource.RLIMIT_CORE) != (0, 0)
    return Exposure(dumps=dumps, swaps=not locked and swap_is_on())


def may_lock_all() -> bool:
    """Whether any amount of memory may be locked; with a limit, allocations would fail when it is reached."""
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    capabilities = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    return unlimited or bool(capabilities >> _CAP_IPC_LOCK & 1)


def swap_is_on(swaps: Path = SWAPS) -> bool:
    """Whether the machine has any swap, compressed memory included; if nobody can say, it has."""
    try:
        return len(swaps.read_text().splitlines()) > 1
    except OSError:
        return True


def _lock_all() -> bool:
    # On fault: only what is used is kept in memory, so locking costs nothing.
    return may_lock_all() and ctypes.CDLL(None).mlockall(_CURRENT | _FUTURE | _ON_FAULT) == 0
