"""A USB or CSI camera through Video4Linux, with OpenCV."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeagent.capture.protocol import Status
from edgeagent.capture.source import SourceFailed, Taken, put, status_of
from edgeagent.vision.types import UInt8Image

CONTROLS = {
    0x009A0903: 0,  # exposure_dynamic_framerate: in the dark rather noise than smeared faces
    0x00980918: 1,  # power_line_frequency: 50 Hz, no stripes under the lamps of Europe
    0x0098091C: 1,  # backlight_compensation: faces before a bright street
}
"""What is set in a camera that has it (linux/v4l2-controls.h); everything else is as its maker left it."""
VIDIOC_S_CTRL = 0xC008561C
"""_IOWR('V', 28, struct v4l2_control): number and value, 32 bits each (linux/videodev2.h)."""
DAMAGED_MOST = 10
"""So many frames in a row are passed over; a driver that gives none ends the process by its own limits."""


class V4l2Source:
    """One V4L2 device. OpenCV's backend is named, so no other (network, file) can be chosen by a string."""

    def __init__(self, device: str, *, width: int, height: int, fps: int) -> None:
        """Remember what to ask the device for; it may give another size."""
        self._device = device
        self._size = (width, height)
        self._fps = fps
        self._capture: cv2.VideoCapture | None = None
        self._decoded: UInt8Image | None = None
        self._frames = 0

    def open(self) -> None:
        """Open the device.

        Raises:
            SourceFailed: absent, busy, not permitted, or not a camera.
        """
        if _is_virtual(self._device):
            raise SourceFailed(Status.VIRTUAL)
        try:
            # OpenCV only says that it failed; the system says why.
            device = os.open(self._device, os.O_RDWR | os.O_NONBLOCK)
        except OSError as cause:
            raise SourceFailed(status_of(cause)) from cause
        try:
            capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
            if not capture.isOpened():
                capture.release()
                raise SourceFailed(Status.BUSY)
            _tune(device)
        finally:
            os.close(device)
        capture.set(cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        capture.set(cv2.CAP_PROP_FPS, self._fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture = capture

    def read(self, into: UInt8Image) -> Taken:
        """Put the newest frame into the slot.

        A picture that cannot be decoded is passed over while the device is there: many cameras cut their
        first ones, a bad cable cuts some, and since Linux 6.14 the driver hands on what it dropped before.

        Raises:
            SourceFailed: unplugged, damaged frames without end, or some of a size or kind that do not fit.
        """
        if self._capture is None:
            raise SourceFailed(Status.GONE)
        frame = self._whole_frame(self._capture)
        self._decoded = np.asarray(frame, np.uint8)
        taken = put(self._decoded, into, self._frames)
        self._frames += 1
        self._decoded.fill(0)  # R1
        return taken

    def _whole_frame(self, capture: cv2.VideoCapture) -> npt.NDArray[Any]:
        for _ in range(DAMAGED_MOST):
            try:
                good, frame = capture.read(self._decoded)
            except cv2.error:  # a picture of no octets
                good, frame = False, None
            if good and frame is not None:
                return frame
            if not Path(self._device).exists():
                raise SourceFailed(Status.GONE)
        raise SourceFailed(Status.DAMAGED)

    def close(self) -> None:
        """Close the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
        if self._decoded is not None:
            self._decoded.fill(0)


def _tune(device: int) -> None:
    for control, value in CONTROLS.items():
        # A camera that has no such control, or will not take the value, is used as it is.
        with contextlib.suppress(OSError):
            fcntl.ioctl(device, VIDIOC_S_CTRL, struct.pack("=Ii", control, value))


def _is_virtual(device: str, sysfs: Path = Path("/sys/class/video4linux")) -> bool:
    """Whether a program feeds the device (v4l2loopback and the like) rather than hardware (R24).

    Root can still make a device that looks like hardware; this stops the ready-made way round the rule.
    """
    entry = sysfs / Path(device).resolve().name
    return "virtual" in entry.resolve().parts
