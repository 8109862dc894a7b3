"""The daemon as shipped, with somebody looking over its shoulder; started by `tests.deletion.trial` only.

python -m tests.deletion.runner MODE REPORT EDGEAGENT-ARGUMENTS…

It notes each frame's end in REPORT. While there is a file REPORT.stop, it stops itself (SIGSTOP) at the end
of a frame whose number is in it, so that a search sees the memory between two frames; `alert` there means a
frame of which an alert was made. MODE `real` changes nothing else. MODE `kept` makes every overwriting do
nothing, so that the search has something to find: that is done from here, the program has no switch for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from edgeagent.agent.recogniser import FrameFaces, Recogniser
from edgeagent.capture.camera import CaptureProcess
from edgeagent.cli import main as edgeagent
from edgeagent.vision.memory import BiometricMemory
from edgeagent.vision.runtime import Network
from edgeagent.vision.types import Frame


class Observer:
    """Notes numbers only: an observer that held on to a frame would be what it looks for."""

    def __init__(self, report: Path) -> None:
        self._report = report.open("a", buffering=1)
        self._wanted = report.with_suffix(".stop")
        self._frame: tuple[int, int] | None = None
        self._faces = FrameFaces(0, 0, 0)
        self._written: list[str] = []
        sys.addaudithook(self._opened)

    def _opened(self, event: str, arguments: tuple[Any, ...]) -> None:
        writing = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & writing
        if opened or event == "sqlite3.connect":
            self._written.append(str(arguments[0]))

    def watch(self) -> None:
        """Look on at each frame's arrival, result and end."""
        next_frame, release, process = (
            CaptureProcess.next_frame,
            CaptureProcess.release,
            Recogniser.process,
        )

        def noted_frame(capture: CaptureProcess, timeout_s: float) -> Frame | None:
            frame = next_frame(capture, timeout_s)
            self._frame = None if frame is None else (frame.sequence, frame.captured_ns)
            return frame

        def noted_result(recogniser: Recogniser, frame: Frame, on_hit: Callable[..., None]) -> FrameFaces:
            self._faces = process(recogniser, frame, on_hit)
            return self._faces

        def noted_release(capture: CaptureProcess) -> None:
            release(capture)
            if self._frame is not None:
                self._note(*self._frame)

        vars_of = {"next_frame": noted_frame, "release": noted_release}
        for name, replacement in vars_of.items():
            setattr(CaptureProcess, name, replacement)
        setattr(Recogniser, "process", noted_result)  # noqa: B010 - typed as a method

    def _note(self, sequence: int, captured_ns: int) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stop = self._due(sequence)
        line = {
            "sequence": sequence,
            "ms": (now_ns - captured_ns) / 1e6,
            "seen": self._faces.seen,
            "alerted": self._faces.alerted,
            "written": self._written,
        }
        self._report.write(json.dumps(line) + "\n")
        self._written = []
        if stop:
            self._wanted.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    def _due(self, sequence: int) -> bool:
        """Whether the prover is waiting for a frame like this one."""
        try:
            wanted = self._wanted.read_text()
        except FileNotFoundError:
            return False
        return self._faces.alerted > 0 if wanted == "alert" else str(sequence) in wanted.split()


def keep_everything() -> None:
    """Replace every overwriting by nothing, and what is read back by a lie, so that the daemon goes on."""

    def take_back(memory: BiometricMemory, mark: int) -> bool:
        memory._used = mark
        return False

    def nothing(_: object) -> None:
        return None

    setattr(BiometricMemory, "_end", take_back)  # noqa: B010
    for owner in (BiometricMemory, Network):
        # Or the ledger would lock the gate at once.
        setattr(owner, "wiped", property(lambda _: True))  # noqa: B010
    setattr(cv2, "imencode", _keeping(cv2.imencode))  # noqa: B010
    for owner, name in ((BiometricMemory, "wipe"), (Network, "wipe"), (Network, "scrub")):
        setattr(owner, name, nothing)


def _keeping(encode: Callable[..., Any]) -> Callable[..., Any]:
    kept = []

    def encoded(*arguments: Any) -> Any:
        done, octets = encode(*arguments)
        kept.append(octets.copy())
        return done, octets

    return encoded


def main(mode: str, report: str, *arguments: str) -> None:
    """Run the daemon."""
    Observer(Path(report)).watch()
    if mode == "kept":
        keep_everything()
    sys.argv[1:] = arguments
    edgeagent()


if __name__ == "__main__":
    main(*sys.argv[1:])
