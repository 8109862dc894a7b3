"""A generated street scene for a bench (R33): a pure function of its file and the frame number.

People are cut-outs that walk along straight lines in front of a drawn street, each in a view of its own
(turn, light, blur); the sensor adds noise. The same file and number always give the same frame.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from edgeagent.capture.protocol import Status
from edgeagent.capture.source import SourceFailed, Taken, put
from edgeagent.capture.street import draw_street
from edgeagent.errors import CaptureError
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded
from edgeagent.vision.types import UInt8Image

SCENE_LIMIT = 1_048_576
PICTURE_LIMIT = 4_000_000
NOISE_TILES = 8


class Actor(StrictModel):
    """One walk of one cut-out through the picture; lengths in pixels, times in seconds.

    Attributes:
        picture: file beside the scene file, with transparency.
        start, end: middle of the cut-out's lower edge when it enters and when it leaves.
        height: of the cut-out when it enters and when it leaves.
        face: where its face is from the middle of its lower edge, right and up, as shares of its height.
        turn: strength of a sideways turn of the head, -0.4 to 0.4.
        gain, gamma: light on the person.
        blur: standard deviation of the lens blur.
    """

    name: Annotated[str, Field(min_length=1, max_length=40)]
    picture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}\.(webp|png)$")]
    enters_s: Annotated[float, Field(ge=0, le=3600)]
    crosses_s: Annotated[float, Field(gt=0, le=120)]
    start: tuple[float, float]
    end: tuple[float, float]
    height: tuple[Annotated[float, Field(ge=20, le=2000)], Annotated[float, Field(ge=20, le=2000)]]
    face: tuple[Annotated[float, Field(ge=-1, le=1)], Annotated[float, Field(ge=0, le=1)]]
    turn: Annotated[float, Field(ge=-0.4, le=0.4)]
    gain: Annotated[float, Field(ge=0.3, le=2)]
    gamma: Annotated[float, Field(ge=0.4, le=2.5)]
    blur: Annotated[float, Field(ge=0, le=5)]


class Scene(StrictModel):
    """The whole file."""

    width: Annotated[int, Field(ge=320, le=1920)]
    height: Annotated[int, Field(ge=240, le=1080)]
    fps: Annotated[int, Field(ge=1, le=60)]
    seconds: Annotated[float, Field(gt=0, le=3600)]
    seed: Annotated[int, Field(ge=0, le=2**31)]
    noise: Annotated[float, Field(ge=0, le=30)]
    actors: Annotated[tuple[Actor, ...], Field(max_length=2000)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the actor of this index is in one frame, in pixels.

    Attributes:
        x, bottom: middle of the cut-out's lower edge.
        face: x, y of the middle of the face.
    """

    actor: int
    x: float
    bottom: float
    height: float
    face: tuple[float, float]


def load_scene(file: Path) -> Scene:
    """Read a scene file.

    Raises:
        CaptureError: missing or malformed, naming the key.
    """
    try:
        return Scene.model_validate_json(read_bounded(file, SCENE_LIMIT, CaptureError))
    except ValidationError as cause:
        fault = cause.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise CaptureError(fault["msg"], where=f"{file}: {key}", next_step="correct the scene file") from None


def places(scene: Scene, frame: int) -> list[Place]:
    """Who is in a frame and where, farthest first."""
    now_s = frame / scene.fps
    found = []
    for index, actor in enumerate(scene.actors):
        done = (now_s - actor.enters_s) / actor.crosses_s
        if 0 <= done < 1:
            x, bottom, height = (
                a + (b - a) * done
                for a, b in zip((*actor.start, actor.height[0]), (*actor.end, actor.height[1]), strict=True)
            )
            bottom += 0.012 * height * math.sin(2 * math.pi * 1.8 * (now_s - actor.enters_s))
            face = x + actor.face[0] * height, bottom - actor.face[1] * height
            found.append(Place(index, x, bottom, height, face))
    return sorted(found, key=lambda place: place.height)


class SceneRenderer:
    """Draws frames of a scene."""

    def __init__(self, file: Path) -> None:
        """Read the scene and its pictures.

        Raises:
            CaptureError: the scene or a picture is missing or malformed.
        """
        self.scene = load_scene(file)
        self._street = draw_street(self.scene.width, self.scene.height, self.scene.seed)
        self._cut_outs = {
            name: _cut_out(file.parent / name) for name in {actor.picture for actor in self.scene.actors}
        }
        self._views: dict[int, UInt8Image] = {}
        tiles = [self._noise(tile) for tile in range(NOISE_TILES)]
        self._brighter = [np.clip(noise, 0, 255).astype(np.uint8) for noise in tiles]
        self._darker = [np.clip(-noise, 0, 255).astype(np.uint8) for noise in tiles]

    def draw(self, frame: int) -> UInt8Image:
        """Frame number `frame`: (height, width, 3) uint8 BGR."""
        picture = self._street.copy()
        present = places(self.scene, frame)
        # Only of those in the picture: an hour's scene has too many walks to keep a view of each.
        self._views = {place.actor: self._view(place.actor) for place in present}
        for place in present:
            _paste(picture, self._views[place.actor], place)
        cv2.convertScaleAbs(picture, picture, 1 + 0.03 * math.sin(frame / self.scene.fps * 0.7), 0)
        tile = (frame * 5) % NOISE_TILES
        cv2.add(picture, self._brighter[tile], picture)
        cv2.subtract(picture, self._darker[tile], picture)
        return picture

    def _view(self, index: int) -> UInt8Image:
        known = self._views.get(index)
        if known is not None:
            return known
        actor = self.scene.actors[index]
        return _seen_as(actor, self._cut_outs[actor.picture])

    def _noise(self, tile: int) -> npt.NDArray[np.int8]:
        rng = np.random.default_rng((self.scene.seed, tile))
        shape = (self.scene.height, self.scene.width, 3)
        noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(self.scene.noise)
        return np.clip(noise, -127, 127, out=noise).astype(np.int8)


def _cut_out(file: Path) -> UInt8Image:
    """A picture with transparency, (H, W, 4) BGRA."""
    content = np.frombuffer(read_bounded(file, PICTURE_LIMIT, CaptureError), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 4:
        raise CaptureError(
            "is not a picture with transparency", where=str(file), next_step="use a WebP or PNG cut-out"
        )
    return np.asarray(picture, np.uint8)


def _seen_as(actor: Actor, cut_out: UInt8Image) -> UInt8Image:
    """The actor's view of a cut-out, (H, W, 4) BGRA with premultiplied colour."""
    light = np.clip(255 * actor.gain * (np.arange(256) / 255) ** actor.gamma, 0, 255).astype(np.uint8)
    colour = cv2.LUT(np.ascontiguousarray(cut_out[..., :3]), light)
    alpha = cut_out[..., 3:].astype(np.float32) / 255
    whole = _turned(np.dstack([colour * alpha, alpha * 255]).astype(np.uint8), actor.turn)
    if actor.blur > 0:
        whole = np.asarray(
            cv2.GaussianBlur(whole, (0, 0), actor.blur, borderType=cv2.BORDER_REPLICATE), np.uint8
        )
    return whole


def _turned(picture: UInt8Image, turn: float) -> UInt8Image:
    """The picture with one side brought nearer, as when a head turns a little."""
    height, width = picture.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    inset = abs(turn) * 0.5
    left, right = (inset, 0.0) if turn > 0 else (0.0, inset)
    narrow = abs(turn) * 0.3 * width
    shifted = corners.copy()
    shifted[[0, 3], 1] += np.array([left, -left], np.float32) * height * 0.3
    shifted[[1, 2], 1] += np.array([right, -right], np.float32) * height * 0.3
    shifted[[0, 3], 0] += narrow / 2
    shifted[[1, 2], 0] -= narrow / 2
    warp = cv2.getPerspectiveTransform(corners, shifted)
    return np.asarray(cv2.warpPerspective(picture, warp, (width, height)), np.uint8)


def _paste(picture: UInt8Image, sprite: UInt8Image, place: Place) -> None:
    """Blend the sprite into the picture."""
    scale = place.height / sprite.shape[0]
    interpolation = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    drawn = cv2.resize(sprite, None, fx=scale, fy=scale, interpolation=interpolation)
    left = round(place.x - drawn.shape[1] / 2)
    top = round(place.bottom - place.height)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + drawn.shape[1], picture.shape[1]), min(top + drawn.shape[0], picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = drawn[y0 - top : y1 - top, x0 - left : x1 - left]
    behind = picture[y0:y1, x0:x1]
    through = cv2.merge([255 - part[..., 3]] * 3)
    cv2.add(cv2.multiply(behind, through, scale=1 / 255), part[..., :3], behind)


class SceneSource:
    """The scene at its own pace, as a camera would: who asks late misses frames."""

    def __init__(self, file: str) -> None:
        """Remember the file; `open` reads it."""
        self._file = Path(file)
        self._renderer: SceneRenderer | None = None
        self._started_s = 0.0
        self._given = -1

    def open(self) -> None:
        """Read the scene.

        Raises:
            SourceFailed: missing or malformed.
        """
        try:
            self._renderer = SceneRenderer(self._file)
        except CaptureError as cause:
            raise SourceFailed(Status.ABSENT if not self._file.exists() else Status.UNSUITABLE) from cause
        self._started_s = time.monotonic()

    def read(self, into: UInt8Image) -> Taken:
        """Put the frame of this moment into the slot, waiting for the next one if it was given already.

        Raises:
            SourceFailed: the scene is over.
        """
        if self._renderer is None:
            raise SourceFailed(Status.GONE)
        scene = self._renderer.scene
        due = max(int((time.monotonic() - self._started_s) * scene.fps), self._given + 1)
        if due >= scene.seconds * scene.fps:
            raise SourceFailed(Status.ENDED)
        time.sleep(max(0.0, self._started_s + due / scene.fps - time.monotonic()))
        self._given = due
        picture = self._renderer.draw(due)
        taken = put(picture, into, due)
        picture.fill(0)  # R1, as a camera's driver buffer is by the next frame
        return taken

    def close(self) -> None:
        """Forget the scene."""
        self._renderer = None
