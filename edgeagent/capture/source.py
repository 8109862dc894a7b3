"""What every source of frames is, real or generated; used inside the capture process only."""

from __future__ import annotations

import errno
from typing import NamedTuple, Protocol

import numpy as np

from edgeagent.capture.protocol import Status
from edgeagent.vision.types import UInt8Image


class Taken(NamedTuple):
    """A frame in the slot: its size in pixels, and its number since the source was opened."""

    height: int
    width: int
    sequence: int


class SourceFailed(Exception):  # noqa: N818 - crosses no module border but the child's
    """A source cannot give a frame; `status` says why."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(status.name)


class Source(Protocol):
    """A camera, or what stands in for one on a bench."""

    def open(self) -> None:
        """Open the device.

        Raises:
            SourceFailed: it cannot be opened.
        """
        ...

    def read(self, into: UInt8Image) -> Taken:
        """Write the newest frame, (H, W, 3) uint8 BGR row by row, to the flat array `into`.

        Raises:
            SourceFailed: the source is gone, ended, or gives frames that do not fit.
        """
        ...

    def close(self) -> None:
        """Close the device and overwrite what is left of frames."""
        ...


def status_of(error: OSError) -> Status:
    """The status that an operating-system error amounts to."""
    return {
        errno.ENOENT: Status.ABSENT,
        errno.ENODEV: Status.ABSENT,
        errno.ENXIO: Status.ABSENT,
        errno.EBUSY: Status.BUSY,
        errno.EACCES: Status.NOT_PERMITTED,
        errno.EPERM: Status.NOT_PERMITTED,
    }.get(error.errno or 0, Status.UNSUITABLE)


def put(picture: UInt8Image, into: UInt8Image, sequence: int) -> Taken:
    """Write a (H, W, 3) picture to the flat array.

    Raises:
        SourceFailed: not a colour picture, or too large for the slot.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size > into.size:
        raise SourceFailed(Status.UNSUITABLE)
    np.copyto(into[: picture.size].reshape(picture.shape), picture)
    return Taken(picture.shape[0], picture.shape[1], sequence)
