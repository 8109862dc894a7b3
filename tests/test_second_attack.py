"""What an attacker with fresh eyes found, each closed: one test a finding."""

from __future__ import annotations

import ctypes
from datetime import timedelta
from pathlib import Path

import pytest

from edgeagent.agent.camera import Camera
from edgeagent.capture.v4l2 import _is_virtual
from edgeagent.documents.messages import CameraState
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import CaptureError, SafeguardError
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.watchlist import Entry, body_matches
from edgeagent.system.clock import SystemClock
from edgeagent.vision.types import Frame
from tests.desk import NOW, START, Desk, Folder, entry, terms


class _Undead:
    """A capture process that the kernel will not end, until it does."""

    def __init__(self) -> None:
        self.dies = False
        self.wiped = True

    def allow_until(self, until_ns: int) -> None:
        pass

    def next_frame(self, timeout_s: float) -> Frame | None:
        return None

    def release(self) -> None:
        pass

    def close(self) -> None:
        if not self.dies:
            raise CaptureError("does not end", where="/dev/video0", next_step="cut the power", rule="R16")


def test_a_camera_that_cannot_be_closed_is_never_said_to_be(tmp_path: Path) -> None:
    """R16: nothing else is skipped for it, no second process is started beside it, and it is closed later."""
    undead = _Undead()
    started: list[_Undead] = []

    def start(_until_ns: int) -> _Undead:
        started.append(undead)
        return undead

    camera = Camera(start)
    camera.open()
    assert camera.frame(0.0, 2**62) is None
    camera.close()
    assert camera.state is CameraState.DEGRADED
    assert "does not end" in camera.problem
    assert not camera.wiped
    camera.open()
    camera.frame(100.0, 2**62)
    assert len(started) == 1
    undead.dies = True
    camera.close()
    assert (camera.state, camera.wiped, camera.problem) == (CameraState.CLOSED, True, "")


def test_a_deployment_of_another_day_is_ended_whatever_is_installed_by_now(tmp_path: Path) -> None:
    """R6: the van was switched off before the end, and came back with the next day's papers."""
    file = tmp_path / "seen.json"
    HighWater(file).started("monday", START + timedelta(hours=4))
    HighWater(file).started("tuesday", START + timedelta(hours=28))
    seen = HighWater(file)
    assert seen.ended(START + timedelta(hours=3)) == []
    assert seen.ended(START + timedelta(hours=20)) == ["monday"]
    seen.close("monday")
    assert HighWater(file).ended(START + timedelta(hours=20)) == []
    assert HighWater(file).is_closed("monday")


@pytest.mark.parametrize("basis", [ImageBasis.CUSTODY_CONVICTED, ImageBasis.INVESTIGATION_MATERIAL])
def test_a_label_does_not_make_a_suspect_a_test_subject(basis: ImageBasis) -> None:
    """R32, R33: consent opens the bench, and the unit looks at it itself."""
    listed: tuple[Entry, ...] = (entry(1, category=Category.TEST_SUBJECT, image_basis=basis),)
    with pytest.raises(SafeguardError, match="without consent") as refusal:
        body_matches(terms(listed), listed)
    assert refusal.value.rule == "R32"


@pytest.mark.parametrize(
    ("place", "virtual"),
    [("virtual/video4linux/video10", True), ("pci0000:00/usb1/1-2/video4linux/video10", False)],
)
def test_a_device_that_a_program_feeds_is_no_camera(place: str, virtual: bool, tmp_path: Path) -> None:
    """R24: v4l2loopback would make a network camera look like a local one."""
    real = tmp_path / "devices" / place
    real.mkdir(parents=True)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "video10").symlink_to(real)
    assert _is_virtual("/dev/video10", tmp_path / "class") is virtual


def test_a_clock_whose_layout_is_not_known_is_not_vouched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 32-bit the field lies elsewhere: nobody vouches, rather than whatever lies there."""
    monkeypatch.setattr(ctypes, "sizeof", lambda _: 4)
    assert not SystemClock().now().synchronised
    assert NOW.synchronised


def test_a_bench_and_a_deployment_keep_their_data_apart(tmp_path: Path) -> None:
    """R33: a bench that used a live deployment's name could otherwise end it, or block it by its numbers."""
    folder = Folder(tmp_path, Desk())
    live, bench = folder.config("v4l2:/dev/video0"), folder.config("scene:/srv/street.json")
    assert live.data_folder == tmp_path / "data"
    assert bench.data_folder == tmp_path / "data" / "bench"
