"""Child processes that cannot outlive the demo, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# Run in the child before its program: it dies with the thread that started it (PR_SET_PDEATHSIG = 1), which
# `preexec_fn` could also ask for, but not safely in a process with threads.
_TIE_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def tied(command: Sequence[str]) -> list[str]:
    """The command, to be started by the thread in whose life it shall live; its program is a path."""
    return [sys.executable, "-c", _TIE_TO_PARENT, str(os.getpid()), *command]
