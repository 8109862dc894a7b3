"""The capture process: real processes, a fake driver. Whatever happens, no picture is left and it ends."""

from __future__ import annotations

import errno
import gc
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.agent.camera import Camera
from edgeagent.capture.camera import CaptureProcess
from edgeagent.capture.child import source_for
from edgeagent.capture.pictures import PicturesSource
from edgeagent.capture.protocol import REPLY_BYTES, Reply, Status
from edgeagent.capture.source import SourceFailed, put, status_of
from edgeagent.capture.v4l2 import V4l2Source
from edgeagent.errors import CaptureError
from edgeagent.safeguards.sources import SourceKind, SourceSpec, parse_source
from edgeagent.vision.types import Frame, UInt8Image
from tests.fake_camera import ALARM_S, canary

WIDTH, HEIGHT = 64, 48
ROOT = Path(__file__).resolve().parents[1]
START_S = 8.0
"""A child imports numpy first, on a machine that others use too."""
FAR_NS = 2**62
"""A lease that does not end in these tests."""


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the child finds tests.fake_camera


@contextmanager
def fake(behaviour: str, after: int = 1_000_000, until_ns: int = FAR_NS) -> Iterator[CaptureProcess]:
    spec = SourceSpec(SourceKind.CAMERA, "fake", f"{behaviour}:{after}")
    capture = CaptureProcess(
        spec, width=WIDTH, height=HEIGHT, fps=15, until_ns=until_ns, module="tests.fake_camera"
    )
    try:
        yield capture
    finally:
        with suppress(CaptureError):
            capture.close()


@contextmanager
def opened(source: str, *, width: int = WIDTH, height: int = HEIGHT) -> Iterator[CaptureProcess]:
    capture = CaptureProcess(parse_source(source), width=width, height=height, fps=15, until_ns=FAR_NS)
    try:
        yield capture
    finally:
        capture.close()


def first(capture: CaptureProcess) -> Frame:
    frame = capture.next_frame(START_S)
    assert frame is not None
    return frame


def pid_of(capture: CaptureProcess) -> int:
    assert capture.pid is not None
    return capture.pid


def running(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def ready_within(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.02)
    return condition()


def ends_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while running(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# --- frames -------------------------------------------------------------------------------------------


def test_a_frame_arrives_whole_and_in_order() -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with fake("good") as capture:
        for sequence in range(3):
            frame = first(capture)
            assert np.array_equal(frame.pixels, canary(HEIGHT, WIDTH, sequence))
            assert frame.sequence == sequence
            assert before_ns < frame.captured_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            before_ns = frame.captured_ns
            capture.release()


def test_release_and_close_leave_only_zeros() -> None:
    """R1: also of a frame that the parent never released, or never even took."""
    with fake("good") as capture:
        frame = first(capture)
        assert not capture.wiped
        capture.release()
        assert capture.wiped
        assert not frame.pixels.any()
        first(capture)
        capture.close()
        assert capture.wiped


def test_close_overwrites_a_frame_that_nobody_took() -> None:
    with fake("good") as capture:
        first(capture)
        capture.release()
        while capture.next_frame(0.0) is not None:  # asks, and mostly does not wait for the answer
            capture.release()
        time.sleep(0.2)
        assert not capture.wiped  # the child has filled the slot meanwhile
        capture.close()
        assert capture.wiped


def test_a_frame_that_shrinks_leaves_nothing_of_the_larger_one() -> None:
    with fake("small", 1) as capture:
        first(capture)
        capture.release()
        assert first(capture).pixels.shape == (HEIGHT // 2, WIDTH, 3)
        capture.release()
        assert capture.wiped


def test_no_frame_of_a_closed_process() -> None:
    with fake("good") as capture:
        first(capture)
        capture.close()
        capture.close()
        assert capture.pid is None
        with pytest.raises(CaptureError, match="is closed"):
            capture.next_frame(0.0)


# --- drivers that fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("gone", "disappeared.*plug"),
        ("large", "no frames that fit.*width and height"),
        ("crash", "capture process ended"),
    ],
)
def test_a_camera_that_fails_after_two_frames(behaviour: str, says: str) -> None:
    with fake(behaviour, 2) as capture:
        pid = pid_of(capture)
        for _ in range(2):
            first(capture)
            capture.release()
        with pytest.raises(CaptureError, match=says):
            capture.next_frame(START_S)
        assert ends_within(pid, 1)
        capture.close()
        assert capture.wiped


def test_a_stalled_driver_is_noticed_and_ended() -> None:
    with fake("stall", 1) as capture:
        first(capture)
        capture.release()
        assert capture.next_frame(0.1) is None
        assert capture.next_frame(0.05) is None
        with pytest.raises(CaptureError, match="gave no frame for"):
            capture.next_frame(ALARM_S + 2)
        capture.close()
        assert capture.wiped  # half a frame lay in the slot


def test_a_driver_that_blocks_while_it_opens() -> None:
    with fake("stall-open") as capture, pytest.raises(CaptureError, match="gave no frame for"):
        capture.next_frame(START_S)


@pytest.mark.parametrize("behaviour", ["stall", "deaf"])
def test_a_stalled_child_is_closed_within_a_second(behaviour: str) -> None:
    """R16: even one that takes no signal it can refuse; the process is reaped, not only asked."""
    with fake(behaviour, 1) as capture:
        pid = pid_of(capture)
        first(capture)
        assert capture.next_frame(0.1) is None
        started = time.monotonic()
        capture.close()
        assert time.monotonic() - started < 1
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert capture.wiped


def test_a_killed_child_is_named() -> None:
    with fake("good") as capture:
        first(capture)
        capture.release()
        os.kill(pid_of(capture), signal.SIGKILL)
        with pytest.raises(CaptureError, match=r"capture process ended \(-9\)") as lost:
            capture.next_frame(START_S)
        assert lost.value.next_step


def test_a_camera_that_comes_back_is_opened_again() -> None:
    """Through the daemon's own back-off: degraded at once, open again after a second of its clock."""
    behaviours = iter([("gone", 1), ("good", 10)])

    def start(_until_ns: int) -> CaptureProcess:
        behaviour, after = next(behaviours)
        spec = SourceSpec(SourceKind.CAMERA, "fake", f"{behaviour}:{after}")
        return CaptureProcess(
            spec, width=WIDTH, height=HEIGHT, fps=15, until_ns=FAR_NS, module="tests.fake_camera"
        )

    def wait_for(now_s: float, wanted: str) -> None:
        for _ in range(40):
            camera.frame(now_s, FAR_NS)
            camera.release()
            if camera.state == wanted:
                return
        pytest.fail(f"not {wanted}: {camera.problem}")

    camera = Camera(start)
    camera.open()
    wait_for(0.0, "degraded")
    assert "disappeared" in camera.problem
    assert camera.frame(0.5, FAR_NS) is None
    wait_for(1.5, "open")
    camera.close()
    assert camera.state == "closed"


# --- the lease's end, seen by the child itself (R16) ---------------------------------------------------


def in_s(seconds: float) -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9)


@pytest.mark.parametrize("behaviour", ["good", "stall", "stall-open", "deaf"])
def test_a_device_closes_at_the_end_of_its_lease_whatever_the_daemon_and_the_driver_do(
    behaviour: str,
) -> None:
    """The parent does nothing more after its first question, as if a disk held it up."""
    with fake(behaviour, 0 if behaviour in ("stall", "deaf") else 1_000_000, until_ns=FAR_NS) as capture:
        pid = pid_of(capture)
        if behaviour == "good":
            first(capture)
            assert not capture.wiped
        else:
            capture.next_frame(0.5)
        if behaviour == "stall":
            assert ready_within(lambda: not capture.wiped, START_S)  # half a frame is in the slot
        capture.allow_until(in_s(0.5))
        assert ends_within(pid, 1.5)
        assert capture.wiped  # R1: by the child, as nobody here has released the frame


def test_a_renewed_lease_keeps_it_open_and_a_lapse_is_named() -> None:
    with fake("good", until_ns=in_s(START_S)) as capture:
        first(capture)
        for _ in range(4):
            capture.allow_until(in_s(0.5))
            time.sleep(0.3)
            capture.release()
            assert capture.next_frame(1.0) is not None
        time.sleep(0.7)
        with pytest.raises(CaptureError, match="the lease ended") as lapsed:
            capture.next_frame(1.0)
        assert lapsed.value.rule == "R16"


def test_a_device_is_never_opened_under_a_lease_that_has_ended() -> None:
    with fake("good", until_ns=in_s(-1)) as capture:
        assert ends_within(pid_of(capture), START_S)
        with pytest.raises(CaptureError):
            first(capture)


# --- parents that fail --------------------------------------------------------------------------------

PARENT = """
import time
from tests.test_capture import fake, first
with fake("deaf", 1) as capture:
    first(capture)
    {asks}
    print(capture.pid, flush=True)
    time.sleep(60)
"""
IDLE, BLOCKED = PARENT.format(asks=""), PARENT.format(asks="capture.next_frame(0.2)")


@pytest.mark.parametrize("program", [IDLE, BLOCKED], ids=["idle", "blocked in its driver"])
def test_a_child_dies_with_its_parent(program: str) -> None:
    """R16: no camera stays open when the daemon is killed outright; here no alarm could end it."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        was_running = running(pid)
        parent.kill()
        assert was_running
        assert ends_within(pid, 2)


def test_a_parent_that_stops_asking_keeps_no_camera_open() -> None:
    with fake("good") as capture:
        pid = pid_of(capture)
        first(capture)
        assert running(pid)
        assert ends_within(pid, ALARM_S + 1)
        with pytest.raises(CaptureError):
            capture.next_frame(START_S)


def test_a_frozen_parent_keeps_no_camera_open() -> None:
    with subprocess.Popen([sys.executable, "-c", IDLE], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGSTOP)
        try:
            assert ends_within(pid, ALARM_S + 1)
        finally:
            parent.kill()


# --- nothing on a disk --------------------------------------------------------------------------------


def test_a_child_writes_no_core_and_no_file() -> None:
    """R1, R4: the slot has no name, and no ordinary file is open for writing."""
    with fake("good") as capture:
        first(capture)
        process = Path(f"/proc/{pid_of(capture)}")
        core = next(line for line in (process / "limits").read_text().splitlines() if "core file" in line)
        assert core.split()[4:6] == ["0", "0"]
        try:
            numbers = [entry.name for entry in (process / "fd").iterdir()]
        except PermissionError:
            pytest.skip("needs root: the child is not dumpable, so only root may list its files")
        writable = {
            str((process / "fd" / number).readlink())
            for number in numbers
            if stat.S_ISREG((process / "fd" / number).stat().st_mode) and _may_write(process, number)
        }
        assert writable == {"/memfd:edgeagent-frame (deleted)"}


def _may_write(process: Path, number: str) -> bool:
    lines = (process / "fdinfo" / number).read_text().splitlines()
    flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
    return flags & os.O_ACCMODE != os.O_RDONLY


def test_no_descriptor_is_left_after_many_openings() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with fake("good"):
        pass
    gc.collect()  # what other tests left must not go in the middle
    before = count()
    for _ in range(3):
        with fake("good"):
            pass
    assert count() <= before


# --- real sources -------------------------------------------------------------------------------------


def test_an_absent_camera_says_so_at_once() -> None:
    started = time.monotonic()
    with opened("v4l2:/dev/video99") as capture, pytest.raises(CaptureError, match="is not there") as lost:
        capture.next_frame(START_S)
    assert time.monotonic() - started < 3
    assert lost.value.where == "/dev/video99"
    assert "plug the camera in" in lost.value.next_step


def test_a_device_that_is_no_camera() -> None:
    spec = SourceSpec(SourceKind.CAMERA, "v4l2", "/dev/null")
    capture = CaptureProcess(spec, width=WIDTH, height=HEIGHT, fps=15, until_ns=FAR_NS)
    try:
        with pytest.raises(CaptureError, match="is not a camera"):
            capture.next_frame(START_S)
    finally:
        capture.close()


def test_recorded_pictures_come_in_order_and_end(tmp_path: Path) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), canary(HEIGHT, WIDTH, index))
    (tmp_path / "notes.txt").write_text("not a picture")
    with opened(f"pictures:{tmp_path}") as capture:
        for index in range(2):
            assert np.array_equal(first(capture).pixels, canary(HEIGHT, WIDTH, index))
            capture.release()
        with pytest.raises(CaptureError, match="has ended"):
            capture.next_frame(START_S)


@pytest.mark.parametrize("scheme", ["v4l2", "scene", "pictures"])
def test_every_scheme_that_may_be_named_has_a_source(scheme: str) -> None:
    assert source_for(scheme, "/dev/video0", WIDTH, HEIGHT, 15)


def test_no_other_scheme_has_one() -> None:
    with pytest.raises(SourceFailed) as refusal:
        source_for("rtsp", "//camera/stream", WIDTH, HEIGHT, 15)
    assert refusal.value.status is Status.UNSUITABLE


def test_pictures_that_are_missing_or_broken(tmp_path: Path) -> None:
    slot = np.zeros(WIDTH * HEIGHT * 3, np.uint8)
    for folder, status in ((tmp_path / "absent", Status.ABSENT), (tmp_path, Status.UNSUITABLE)):
        with pytest.raises(SourceFailed) as refusal:
            PicturesSource(str(folder), fps=15).open()
        assert refusal.value.status is status
    (tmp_path / "1.jpg").write_bytes(b"not a picture")
    source = PicturesSource(str(tmp_path), fps=15)
    source.open()
    with pytest.raises(SourceFailed) as refusal:
        source.read(slot)
    assert refusal.value.status is Status.UNSUITABLE


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.ENOENT, Status.ABSENT),
        (errno.ENODEV, Status.ABSENT),
        (errno.EBUSY, Status.BUSY),
        (errno.EACCES, Status.NOT_PERMITTED),
        (errno.EIO, Status.UNSUITABLE),
    ],
)
def test_what_the_system_says_of_a_device(code: int, status: Status) -> None:
    assert status_of(OSError(code, "")) is status


# --- the protocol -------------------------------------------------------------------------------------


@given(
    st.builds(
        Reply,
        status=st.sampled_from(Status),
        height=st.integers(0, 2**32 - 1),
        width=st.integers(0, 2**32 - 1),
        sequence=st.integers(0, 2**32 - 1),
        captured_ns=st.integers(0, 2**64 - 1),
    )
)
def test_a_reply_survives_the_pipe(reply: Reply) -> None:
    octets = reply.pack()
    assert len(octets) == REPLY_BYTES
    assert Reply.unpack(octets) == reply


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 4), (HEIGHT + 1, WIDTH, 3)])
def test_a_picture_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    slot = np.zeros(HEIGHT * WIDTH * 3, np.uint8)
    with pytest.raises(SourceFailed):
        put(np.full(shape, 9, np.uint8), slot, 0)
    assert not slot.any()


class Driver:
    """What OpenCV gives of a camera, picture after picture: none is a damaged one."""

    def __init__(self, *pictures: UInt8Image | Exception | None) -> None:
        self.pictures = list(pictures)

    def read(self, _: UInt8Image | None) -> tuple[bool, UInt8Image | None]:
        picture = self.pictures.pop(0) if self.pictures else None
        if isinstance(picture, Exception):
            raise picture
        return picture is not None, picture


def driven(device: Path, *pictures: UInt8Image | Exception | None) -> V4l2Source:
    source = V4l2Source(str(device), width=WIDTH, height=HEIGHT, fps=15)
    source._capture = Driver(*pictures)  # type: ignore[assignment]
    return source


def test_damaged_pictures_are_passed_over(tmp_path: Path) -> None:
    """A camera whose first pictures are cut is no camera that disappeared."""
    device, slot = tmp_path / "video0", np.zeros(WIDTH * HEIGHT * 3, np.uint8)
    device.touch()
    good = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)
    source = driven(device, None, cv2.error("no octets"), None, good)
    assert source.read(slot) == (HEIGHT, WIDTH, 0)
    assert set(slot) == {7}
    assert not good.any(), "R1"


@pytest.mark.parametrize(
    ("there", "status", "left"),
    [(True, Status.DAMAGED, 90), (False, Status.GONE, 99)],
    ids=["damaged", "unplugged"],
)
def test_a_camera_that_gives_only_damaged_pictures_or_is_unplugged_is_named(
    tmp_path: Path, there: bool, status: Status, left: int
) -> None:
    device, slot = tmp_path / "video0", np.zeros(WIDTH * HEIGHT * 3, np.uint8)
    if there:
        device.touch()
    source = driven(device, *[None] * 100)
    with pytest.raises(SourceFailed) as failed:
        source.read(slot)
    assert failed.value.status is status
    assert len(source._capture.pictures) == left  # type: ignore[union-attr]


def test_a_camera_is_tuned_where_it_lets_itself_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's numbers; a camera without one of the controls is a camera all the same."""
    asked: list[tuple[int, int]] = []

    def ioctl(_: int, request: int, control: bytes) -> None:
        assert request == 0xC008561C
        asked.append(struct.unpack("=Ii", control))
        if len(asked) == 1:
            raise OSError(errno.EINVAL, "no such control")

    class Opened:
        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return True

        def set(self, *_: object) -> None: ...

    device = tmp_path / "video0"
    device.touch()
    monkeypatch.setattr("fcntl.ioctl", ioctl)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Opened())
    V4l2Source(str(device), width=WIDTH, height=HEIGHT, fps=15).open()
    assert dict(asked) == {0x009A0903: 0, 0x00980918: 1, 0x0098091C: 1}
