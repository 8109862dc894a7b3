"""R24: standalone. Only a camera of this machine is one; nothing on a network can even be named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeagent.capture.camera import CaptureProcess
from edgeagent.capture.child import source_for
from edgeagent.capture.source import SourceFailed
from edgeagent.config import load_config
from edgeagent.errors import SafeguardError
from edgeagent.safeguards.sources import LIMIT, SourceKind, SourceSpec, parse_source

REFUSED = {
    "RTSP camera": "rtsp://192.0.2.7/stream1",
    "RTSP with a password": "rtsp://user:secret@camera.example/1",
    "MJPEG over HTTP": "http://camera.example/video.mjpg",
    "HTTPS": "https://camera.example/video",
    "RTMP": "rtmp://camera.example/live",
    "UDP": "udp://239.0.0.1:1234",
    "SRT": "srt://camera.example:9000",
    "ONVIF": "onvif://camera.example",
    "file URL": "file:///srv/film.mp4",
    "film": "/srv/film.mp4",
    "film in a scheme": "file:/srv/film.mp4",
    "pipeline": "gstreamer:rtspsrc location=rtsp://camera ! decodebin ! appsink",
    "pipeline without a scheme": "v4l2src device=/dev/video0 ! appsink",
    "pipeline behind a camera": "v4l2:/dev/video0 ! appsink",
    "FFmpeg options": "v4l2:/dev/video0;protocol_whitelist;rtp",
    "URL in the scheme of a camera": "v4l2:rtsp://camera.example/1",
    "URL in the scheme of a scene": "scene:http://camera.example/scene.json",
    "URL with three slashes": "scene:///srv/scene.json",
    "network share": "scene://server/share/scene.json",
    "bare number": "0",
    "number in the scheme": "v4l2:0",
    "negative number": "v4l2:-1",
    "bare device": "/dev/video0",
    "own name and more": "v4l2:/dev/edgeagent-camera.example",
    "own name below a folder": "v4l2:/dev/edgeagent-camera/0",
    "device without a number": "v4l2:/dev/video",
    "device with a long number": "v4l2:/dev/video1000",
    "device with digits of another script": "v4l2:/dev/video٣",
    "relative device": "v4l2:dev/video0",
    "other device": "v4l2:/dev/sda",
    "memory": "v4l2:/dev/mem",
    "shared memory": "v4l2:/dev/shm/video0",
    "film as a device": "v4l2:/srv/film.mp4",
    "upper case scheme": "V4L2:/dev/video0",
    "upper case device": "v4l2:/dev/VIDEO0",
    "capital scene": "Scene:/srv/scene.json",
    "space before": " v4l2:/dev/video0",
    "space after": "v4l2:/dev/video0 ",
    "space within": "v4l2: /dev/video0",
    "newline after": "v4l2:/dev/video0\n",
    "newline and URL": "v4l2:/dev/video0\nrtsp://camera.example",
    "carriage return": "v4l2:/dev/video0\r",
    "zero octet": "v4l2:/dev/video0\x00rtsp:",
    "traversal": "v4l2:/dev/v4l/by-id/../../../srv/film.mp4",
    "traversal without leaving /dev": "v4l2:/dev/../dev/video0",
    "traversal in a scene": "scene:/srv/../etc/passwd",
    "traversal at the end": "pictures:/srv/..",
    "subfolder of by-id": "v4l2:/dev/v4l/by-id/a/b",
    "other folder of v4l": "v4l2:/dev/v4l/by-other/camera",
    "double slash": "v4l2://dev/video0",
    "double slash within": "v4l2:/dev//video0",
    "double slash in a scene": "scene:/srv//scene.json",
    "backslashes": "scene:\\\\server\\share\\scene.json",
    "percent escape": "scene:/srv/%2e%2e/scene.json",
    "query": "v4l2:/dev/video0?source=rtsp",
    "folder of pictures with a closing slash": "pictures:/srv/faces/",
    "root": "pictures:/",
    "nothing": "",
    "scheme only": "v4l2:",
    "colon only": ":",
    "target only": ":/dev/video0",
    "long": "scene:/" + "a" * LIMIT,
}

ACCEPTED = {
    "v4l2:/dev/video0": (SourceKind.CAMERA, "v4l2", "/dev/video0"),
    "v4l2:/dev/edgeagent-camera": (SourceKind.CAMERA, "v4l2", "/dev/edgeagent-camera"),
    "v4l2:/dev/video99": (SourceKind.CAMERA, "v4l2", "/dev/video99"),
    "v4l2:/dev/v4l/by-id/usb-046d_HD-video-index0": (
        SourceKind.CAMERA,
        "v4l2",
        "/dev/v4l/by-id/usb-046d_HD-video-index0",
    ),
    "v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0": (
        SourceKind.CAMERA,
        "v4l2",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0",
    ),
    "scene:/srv/bench/street.json": (SourceKind.GENERATED, "scene", "/srv/bench/street.json"),
    "pictures:/srv/bench/faces": (SourceKind.RECORDED, "pictures", "/srv/bench/faces"),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_a_local_device_is_refused(text: str) -> None:
    with pytest.raises(SafeguardError, match="is not a local camera device") as refusal:
        parse_source(text)
    assert refusal.value.rule == "R24"
    assert refusal.value.where == "camera.source"
    assert "v4l2:/dev/video0" in refusal.value.next_step


def test_a_refusal_repeats_no_password() -> None:
    with pytest.raises(SafeguardError) as refusal:
        parse_source(REFUSED["RTSP with a password"])
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(("text", "parts"), ACCEPTED.items())
def test_what_is_accepted(text: str, parts: tuple[SourceKind, str, str]) -> None:
    spec = parse_source(text)
    assert (spec.kind, spec.scheme, spec.target) == parts


ALPHABET = st.sampled_from([*"v4l2:/dev/video0by-idpathscenepictures.rtsp@%!? \n\\", "//", "://", ".."])
NEAR = st.one_of(
    st.text(),
    st.lists(ALPHABET).map("".join),
    st.tuples(st.sampled_from(["v4l2:", "scene:", "pictures:", ""]), st.lists(ALPHABET).map("".join)).map(
        "".join
    ),
    st.tuples(st.sampled_from(sorted(ACCEPTED)), st.text(max_size=8)).map("".join),
    st.tuples(st.text(max_size=8), st.sampled_from(sorted(ACCEPTED))).map("".join),
)


@given(NEAR)
@example("v4l2:/dev/video0")
@example("scene:/srv/bench/street.json")
@example("v4l2:/dev/v4l/by-id/usb-camera")
def test_whatever_is_accepted_is_local(text: str) -> None:
    try:
        spec = parse_source(text)
    except SafeguardError as refusal:
        assert refusal.rule == "R24"  # noqa: PT017 - either outcome is lawful, each has its own demands
        return
    assert "//" not in text
    assert text == f"{spec.scheme}:{spec.target}"
    assert ".." not in spec.target.split("/")
    assert text.isascii()
    assert text.isprintable()
    if spec.kind is SourceKind.CAMERA:
        own = spec.target == "/dev/edgeagent-camera"  # the unit's own name for its USB camera
        assert own or spec.target.startswith(("/dev/video", "/dev/v4l/by-"))


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_url_is_accepted(before: str, after: str) -> None:
    for text in (f"{before}://{after}", f"v4l2:{before}://{after}", f"scene:/{before}://{after}"):
        with pytest.raises(SafeguardError):
            parse_source(text)


@pytest.mark.parametrize("text", ["rtsp://192.0.2.7/stream1", "0", "/srv/film.mp4"])
def test_the_configuration_file_is_refused_with_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "edgeagent.toml"
    file.write_text(
        f"""
        unit = {{ name = "unit-1", key = "unit.key" }}
        trust = {{ store = "trust.json", root = "{"a" * 43}" }}
        documents = {{ authority = "authority.json", watchlist = "list.edgelist" }}
        data = {{ folder = "data" }}
        camera = {{ source = "{text}" }}
        broker = {{ host = "broker.example", ca = "ca.pem", certificate = "unit.pem", key = "unit-tls.key" }}
        """
    )
    with pytest.raises(SafeguardError) as refusal:
        load_config(file)
    assert refusal.value.rule == "R24"


def test_a_specification_that_was_never_parsed_opens_nothing() -> None:
    """Behind the parser stands a second gate: the child knows three schemes and names OpenCV's backend."""
    for scheme, target in (("rtsp", "//camera.example/1"), ("file", "/srv/film.mp4"), ("", "0")):
        with pytest.raises(SourceFailed):
            source_for(scheme, target, 64, 48, 15)


@pytest.mark.parametrize("target", ["rtsp://192.0.2.7/stream1", "0", "videotestsrc ! appsink"])
def test_opencv_is_never_given_what_is_no_device(target: str) -> None:
    """The device is opened as a file first, so a URL or a pipeline is an absent file."""
    capture = CaptureProcess(
        SourceSpec(SourceKind.CAMERA, "v4l2", target), width=64, height=48, fps=15, until_ns=2**62
    )
    try:
        with pytest.raises(Exception, match="is not there"):
            capture.next_frame(8.0)
    finally:
        capture.close()
