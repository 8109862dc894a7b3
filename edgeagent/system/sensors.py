"""Readings of the machine, taken by a thread of their own: a driver that blocks holds nothing else up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgeagent.system.board import Board

TRUE_FOR_S = 90.0
"""A reading that is older is none: its driver hangs, and a temperature of then says nothing of now."""


class Sensors:
    """The last reading; a new one is asked for and comes when it comes."""

    def __init__(self, read: Callable[[], Board], monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """`read` runs in the thread, once after `start` and once after each `ask`."""
        self._read = read
        self._monotonic_s = monotonic_s
        self._last: tuple[float, Board] | None = None
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)

    def start(self) -> None:
        """Take the first reading."""
        self._asked.set()
        self._thread.start()

    def ask(self) -> None:
        """Have another taken; returns at once."""
        self._asked.set()

    @property
    def board(self) -> Board:
        """What was read last; nothing but None before the first reading, or if the last one is too old."""
        last = self._last
        if last is None or self._monotonic_s() - last[0] > TRUE_FOR_S:
            return Board()
        return last[1]

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            began_s = self._monotonic_s()
            self._last = began_s, self._read()
