"""Every form in which a face could lie about, made anew from the generated frame by the same networks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeagent.alerts.alert import JPEG_QUALITY
from edgeagent.vision.align import align
from edgeagent.vision.crop import face_only
from edgeagent.vision.runtime import Network
from edgeagent.vision.types import Chip, Face, Frame, UInt8Image
from tests.deletion.search import Trace
from tests.real_networks import Eyes

INNER = 0.5
"""Share of the face's box that is certainly face and not street."""
FLOATS = 96
"""24 numbers: fewer whole ones between 0 and 255 in a row turn up by chance."""


@dataclass(frozen=True)
class Sight:
    """One face in one frame as the unit saw it, and its form at each step of the path."""

    frame: UInt8Image
    canvas: UInt8Image
    face: Face
    chip: UInt8Image
    raws: tuple[npt.NDArray[np.float32], ...]
    template: npt.NDArray[np.float32]
    scale: float


def see(frame: UInt8Image, near: tuple[float, float], eyes: Eyes) -> Sight | None:
    """The face nearest to a place, if there is one within its own width."""
    picture = Frame(frame, captured_ns=0, sequence=0)
    faces = eyes.detector.detect(picture)
    canvas = eyes.detector._canvas.copy()
    middles = [(face.box[:2] + face.box[2:] / 2, face) for face in faces]
    close = [(float(np.hypot(*(middle - near))), face) for middle, face in middles]
    if not close or min(close, key=lambda pair: pair[0])[0] > min(close, key=lambda pair: pair[0])[1].box[2]:
        return None
    face = min(close, key=lambda pair: pair[0])[1]
    chip = align(picture, face)
    template = eyes.embedder.embed(chip).vector.copy()
    network = _embedding(eyes)  # looks at the chip, then at its mirror image
    raws = tuple(network.run(one)["template"][0].copy() for one in (chip.pixels, chip.pixels[:, ::-1]))
    scale = min(canvas.shape[0] / frame.shape[0], canvas.shape[1] / frame.shape[1])
    return Sight(frame, canvas, face, chip.pixels.copy(), raws, template, scale)


def traces(sight: Sight, eyes: Eyes) -> Iterator[Trace]:
    """All forms of one sight."""
    box = sight.face.box
    face = _inner(sight.frame, box)
    seen = _inner(sight.canvas, box * np.float32(sight.scale))
    chip = sight.chip[20:104, 24:88]
    yield from _pixels("frame", face, None)
    yield from _pixels("detector's picture", seen, eyes.detector._network)
    yield from _pixels("chip", chip, _embedding(eyes))
    mirrored = np.ascontiguousarray(chip[:, ::-1])  # what the network looks at last
    yield from _rows("mirrored chip, BGR 8 bit", mirrored)
    yield from _rows("mirrored chip, pixel - 128", mirrored ^ np.uint8(0x80))
    yield from _landmarks(sight)
    yield from _template(sight, _embedding(eyes))
    yield from jpegs(sight)


def _embedding(eyes: Eyes) -> Network:
    network = eyes.embedder._network
    assert isinstance(network, Network)
    return network


def jpegs(sight: Sight) -> Iterator[Trace]:
    """The chip as an alert would carry it, before it is sealed."""
    chip = Chip(sight.chip.copy())
    face_only(chip)
    done, jpeg = cv2.imencode(".jpg", chip.pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    head = jpeg.tobytes().index(b"\xff\xda") + 14  # tables are the same for every picture
    yield Trace("alert crop, JPEG", jpeg.tobytes()[head:])


def _inner(picture: UInt8Image, box: npt.NDArray[np.float32]) -> UInt8Image:
    left, top, width, height = box
    x, y = left + width / 2, top + height / 2
    half = np.array([width, height]) * INNER / 2
    (x0, y0), (x1, y1) = np.maximum(np.array([x, y]) - half, 0), np.array([x, y]) + half
    return picture[round(y0) : round(y1), round(x0) : round(x1)]


def _pixels(what: str, region: UInt8Image, network: Network | None) -> Iterator[Trace]:
    # A region so narrow that no row has 32 octets would not be looked for.
    assert region.shape[1] >= 16, f"{what}: too small a face to search for"
    for name, picture in (("BGR", region), ("RGB", region[..., ::-1])):
        yield from _rows(f"{what}, {name} 8 bit", picture)
    for channel in range(3):
        yield from _rows(f"{what}, planes 8 bit", region[..., channel], least=24)
    if network is not None:
        yield from _rows(f"{what}, pixel - 128", region ^ np.uint8(0x80))
        mean, scale = (np.asarray(part, np.float32) for part in (network.spec.mean, network.spec.scale))
        scaled = (region - mean) * scale
        yield from _rows(f"{what}, float32 normalised", scaled.astype(np.float32), 4, FLOATS)
    yield from _rows(f"{what}, float32", region.astype(np.float32), 4, FLOATS)


def _rows(what: str, picture: npt.NDArray[np.generic], step: int = 1, least: int = 32) -> Iterator[Trace]:
    for row in picture:
        yield Trace(what, row.tobytes(), step, least)


def _landmarks(sight: Sight) -> Iterator[Trace]:
    in_canvas = (sight.face.landmarks - np.float32(0.5 / sight.scale - 0.5)) * np.float32(sight.scale)
    for name, points in (("frame", sight.face.landmarks), ("detector's picture", in_canvas)):
        yield Trace(f"landmarks in {name}, float32", points.astype(np.float32).tobytes(), 4, 16)
        yield Trace(f"landmarks in {name}, float64", points.astype(np.float64).tobytes(), 8, 16)


def _template(sight: Sight, network: Network) -> Iterator[Trace]:
    vector, least = sight.template, 16
    yield Trace("template, float32", vector.tobytes(), 4, least)
    for raw in sight.raws:
        yield Trace("half a template before scaling, float32", raw.tobytes(), 4, least)
        unit = raw / np.float32(np.linalg.norm(raw))
        yield Trace("half a template, float32", unit.tobytes(), 4, least)
    yield Trace("template, float64", vector.astype(np.float64).tobytes(), 8, least)
    yield Trace("template, float16", vector.astype(np.float16).tobytes(), 2, least)
    for scale, zero in quantisations(network):
        for raw in sight.raws:
            within = np.clip(np.round(raw / np.float32(scale)) + zero, -128, 127).astype(np.int8)
            yield Trace("half a template, int8 of the network", within.tobytes(), 1, least)
    yield Trace("template, int8 of unit length", np.round(vector * 127).astype(np.int8).tobytes(), 1, least)
    for shift in range(3):
        text = base64.urlsafe_b64encode(bytes(shift) + vector.tobytes())[4:]
        yield Trace("template, base64", text, 1)
        yield Trace("template, base64", text.replace(b"-", b"+").replace(b"_", b"/"), 1)
    yield Trace("template, hexadecimal", vector.tobytes().hex().encode(), 1)
    yield Trace("template, JSON", json.dumps([float(value) for value in vector]).encode(), 1)


def quantisations(network: Network) -> set[tuple[float, int]]:
    """Scale and zero point of every int8 tensor of a template's length."""
    shape = (1, network.spec.outputs["template"][1])
    return {
        (float(entry["quantization"][0]), int(entry["quantization"][1]))
        for entry in network._interpreter.get_tensor_details()
        if tuple(entry["shape"]) == shape and entry["dtype"] == np.int8
    }
