"""R1: nothing of the plain JPEG of an alert's crop is left where the encoder worked on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edgeagent.alerts.alert import JPEG_QUALITY
from edgeagent.vision.types import CHIP_SIZE, UInt8Image
from tests.broker_tools import wait_for
from tests.deletion.search import Index, Trace
from tests.deletion.snapshot import may_read_memory, memory

pytestmark = pytest.mark.skipif(not may_read_memory(), reason="needs root, to read another process's memory")


def picture() -> UInt8Image:
    """(112, 112, 3): as rich as a face, and nobody's."""
    y, x = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE]
    noise = np.random.default_rng(5).integers(0, 20, (CHIP_SIZE, CHIP_SIZE, 3))
    waves = np.stack([128 + 60 * np.sin(x / 9 + c) * np.cos(y / 7) for c in range(3)], axis=-1)
    return (waves + noise).astype(np.uint8)


def encode() -> None:
    """As an alert does, up to the sealing."""
    chip = picture()
    _, jpeg = cv2.imencode(".jpg", chip, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    jpeg.fill(0)
    chip.fill(0)


def left_by(program: str) -> int:
    """Words of the JPEG in the memory of a process that has just run the program."""
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    done, jpeg = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    octets = jpeg.tobytes()
    index = Index([Trace("JPEG", octets[octets.index(b"\xff\xda") + 14 :])])
    with subprocess.Popen([sys.executable, "-c", f"{program}; {stop}"]) as process:
        try:
            assert wait_for(lambda: os.waitid(os.P_PID, process.pid, STOPPED) is not None, 20)
            found = [index.search(region.octets) for region in memory(process.pid)]
        finally:
            process.send_signal(signal.SIGKILL)
    return sum(pieces["JPEG"].words for pieces in found if pieces)


STOPPED = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
ENCODE = "from tests.rules.test_r01_encoder import encode; from edgeagent.alerts import alert; encode()"


@pytest.mark.parametrize(
    ("then", "good"),
    [("", lambda words: words > 100), ("; alert._cover_encoder()", lambda words: words == 0)],
    ids=["left by the encoder alone", "covered"],
)
def test_the_encoders_memory_is_covered(then: str, good: Callable[[int], bool]) -> None:
    assert good(left_by(ENCODE + then))
