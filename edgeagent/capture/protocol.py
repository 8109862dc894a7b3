"""What parent and child say to each other, and the memory that they share.

The parent says until when the device may be open, and with it perhaps that it wants a frame; the child fills
the shared slot and answers with one fixed-size reply. No pickles, no text: nothing in a reply can carry a
picture. The slot is a memory file without a name (memfd), so no frame ever has a place on a disk.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_REQUEST = struct.Struct("<?Q")
REQUEST_BYTES = _REQUEST.size
_REPLY = struct.Struct("<BxxxIIIQ")
REPLY_BYTES = _REPLY.size

LEASE_OVER = 3
"""Exit status of a child whose lease was over (R16)."""
STALLED = 4
"""Exit status of a child whose driver gave nothing, or whose parent asked for nothing, for too long."""

ASKED_AGAIN_WITHIN_S = 2.0
"""A child that is not asked for this long ends itself, so a parent that hangs keeps no camera open."""


FIRST_FRAME_WITHIN_S = 12.0
"""A camera may take this long to open and to give its first frame."""


class Status(IntEnum):
    """How a request ended."""

    FRAME = 0
    ABSENT = 1
    BUSY = 2
    NOT_PERMITTED = 3
    GONE = 4
    UNSUITABLE = 5
    ENDED = 6
    VIRTUAL = 7
    DAMAGED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What the parent says: the device may be open until `until_ns` of CLOCK_BOOTTIME, no moment longer.

    Attributes:
        frame: a frame is wanted, too.
    """

    until_ns: int
    frame: bool

    def pack(self) -> bytes:
        """The request as octets."""
        return _REQUEST.pack(self.frame, self.until_ns)

    @staticmethod
    def unpack(octets: bytes) -> Request:
        """The request from its octets.

        Raises:
            ValueError: not a request.
        """
        if len(octets) != REQUEST_BYTES:
            raise ValueError(f"a request has {REQUEST_BYTES} octets")
        frame, until_ns = _REQUEST.unpack(octets)
        return Request(until_ns, frame)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the child; sizes in pixels, time on CLOCK_BOOTTIME."""

    status: Status
    height: int = 0
    width: int = 0
    sequence: int = 0
    captured_ns: int = 0

    def pack(self) -> bytes:
        """The reply as octets."""
        return _REPLY.pack(self.status, self.height, self.width, self.sequence, self.captured_ns)

    @staticmethod
    def unpack(octets: bytes) -> Reply:
        """The reply from its octets.

        Raises:
            ValueError: not a reply.
        """
        if len(octets) != REPLY_BYTES:
            raise ValueError(f"a reply has {REPLY_BYTES} octets")
        status, height, width, sequence, captured_ns = _REPLY.unpack(octets)
        return Reply(Status(status), height, width, sequence, captured_ns)
