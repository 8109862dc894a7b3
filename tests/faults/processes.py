"""Child processes that start in milliseconds: forked from a server that has the program in memory already.

Each is a process of its own, which the kernel kills and freezes like any other. It dies with the server, and
the server with whoever started it, so nothing outlives a run, however that ends.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = ["tests.faults.unit_child", "tests.faults.desk_child", "tests.faults.crash_trial"]
POLL_S = 0.01
KILLED_S = 60.0
"""The kernel needs no such time; it is the end of our patience, on a machine that swaps."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_lock = threading.Lock()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _begin(target: Callable[[Any], None], order: Any, log: Path) -> None:
    """In the child: tie it to its parent, send what it prints to a file, go."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who runs the table
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, sys.stdout.fileno() if sys.stdout else 1)
    os.dup2(output, 2)
    target(order)


class Child:
    """One process; `kill` and `freeze` are what the kernel offers.

    Starting a process makes `multiprocessing` ask after all others, so whatever asks holds one lock: of
    two threads that read one exit status, only one gets it.
    """

    def __init__(self, target: Callable[[Any], None], order: Any, log: Path) -> None:
        with _lock:
            process = _context().Process(target=_begin, args=(target, order, log), daemon=True)
            process.start()
        self._process: BaseProcess = process
        self.pid = process.pid or 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        with _lock:
            return self._process.is_alive()

    @property
    def code(self) -> int | None:
        """Its exit status; minus the number of the signal that killed it."""
        with _lock:
            return self._process.exitcode

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def kill(self) -> None:
        """End it at once."""
        with _lock:
            self._process.kill()
        self.wait(KILLED_S)

    def end(self, seconds: float = 20.0) -> bool:
        """Ask it to end; whether it did in time. Killed if not."""
        with _lock:
            self._process.terminate()
        ended = self.wait(seconds)
        self.kill()
        return ended

    def freeze(self) -> None:
        """Stop it without ending it."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)
