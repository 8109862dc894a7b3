"""A folder of recorded pictures for a bench (R33), in the order of their names."""

from __future__ import annotations

import time
from pathlib import Path

from edgeagent.capture.protocol import Status
from edgeagent.capture.source import SourceFailed, Taken, put
from edgeagent.errors import CaptureError
from edgeagent.system.pictures import read_picture
from edgeagent.vision.types import UInt8Image

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class PicturesSource:
    """One picture after the other at a steady pace; none is skipped."""

    def __init__(self, folder: str, *, fps: int) -> None:
        """Remember the folder; `open` lists it."""
        self._folder = Path(folder)
        self._period_s = 1 / fps
        self._files: list[Path] = []
        self._next = 0
        self._due_s = 0.0

    def open(self) -> None:
        """List the pictures.

        Raises:
            SourceFailed: no folder, or no pictures in it.
        """
        if not self._folder.is_dir():
            raise SourceFailed(Status.ABSENT)
        self._files = sorted(file for file in self._folder.iterdir() if file.suffix.lower() in ENDINGS)
        if not self._files:
            raise SourceFailed(Status.UNSUITABLE)
        self._due_s = time.monotonic()

    def read(self, into: UInt8Image) -> Taken:
        """Put the next picture into the slot.

        Raises:
            SourceFailed: all were given, or one cannot be read.
        """
        if self._next >= len(self._files):
            raise SourceFailed(Status.ENDED)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._due_s += self._period_s
        try:
            picture = read_picture(self._files[self._next], CaptureError)
        except CaptureError as cause:
            raise SourceFailed(Status.UNSUITABLE) from cause
        taken = put(picture, into, self._next)
        picture.fill(0)
        self._next += 1
        return taken

    def close(self) -> None:
        """Forget the list."""
        self._files = []
