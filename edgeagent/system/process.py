"""What a process that holds faces in memory gives up: core dumps, and being read by others (R1)."""

from __future__ import annotations

import ctypes
import os
import resource

from edgeagent.errors import SafeguardError

_PR_SET_DUMPABLE = 4


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
