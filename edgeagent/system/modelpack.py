"""The model pack on disk: a manifest, its networks and what the self-test expects of them.

The pack's identity is the SHA-256 of its manifest, which names the SHA-256 of every other file: authority,
watchlist and certificate are bound to it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from edgeagent.errors import ModelError
from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.model_use import Use, research_only
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded
from edgeagent.vision.align import STANDARD, Layout
from edgeagent.vision.types import CHIP_SIZE, LARGEST_CHIP, LEAST_CHIP

MANIFEST = "manifest.json"
FORMAT = "edgeagent-models/2"
MANIFEST_LIMIT = 262_144
MODEL_LIMIT = 64 * 1024 * 1024
REINSTALL = "install the model pack again (make models rebuilds it)"

FileName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,60}\.[a-z]{2,6}$")]
Scene = Literal["near", "far"]
"""How far the faces are from the camera; a detector for `far` looks at a larger picture and takes longer."""
SCENES: tuple[Scene, ...] = ("near", "far")
ROLES = sorted([("detector", "near"), ("detector", "far"), ("embedder", "-")])
Side = Annotated[int, Field(ge=32, le=4096)]
Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]
ONNX = ".onnx"
USUAL_ALIKE = 0.75
"""Templates of two persons at least this alike are taken for one face; of the installed embedder."""
Alike = Annotated[float, Field(ge=0.3, lt=1)]
LEAST_EYE_SHARE = 8
"""Eyes in a chip are at least this part of its side apart; nearer ones are a mistake in the declaration."""


class Origin(StrictModel):
    """The package and member that a model was made from."""

    package: str
    member: str
    sha256: Sha256
    project: str


class ModelEntry(StrictModel):
    """One network.

    Attributes:
        scene: which scenes a detector is for; an embedder has none.
        bytes: length of the file.
        channels: order of the picture's channels; a detector's is BGR.
        mean, scale: the network takes `(pixel - mean) * scale`; of an embedder also three each, in the order
            of `channels`.
        outputs: shape of each named output.
        quantisation, made: in words, for whoever audits the pack.
        landmarks: where an embedder wants a face's landmarks in its chip, pixels, in the order of
            `Face.landmarks`; None is the standard layout, of 112 pixels.
        use: what its licence allows, as declared by whoever made the pack (R28).
        alike: templates of two persons on one list at least this alike are taken for one face (R7).
    """

    role: Literal["detector", "embedder"]
    scene: Scene | None
    file: FileName
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MODEL_LIMIT)]
    licence: str
    origin: Origin
    width: Side
    height: Side
    channels: Literal["BGR", "RGB"]
    mean: float | tuple[float, float, float]
    scale: float | tuple[float, float, float]
    outputs: dict[str, tuple[int, ...]]
    quantisation: str
    made: str
    landmarks: Landmarks | None = None
    use: Use = "any"
    alike: Alike = USUAL_ALIKE

    @field_validator("channels")
    @classmethod
    def _detectors_take_bgr(cls, channels: str, info: ValidationInfo) -> str:
        if channels != "BGR" and info.data.get("role") == "detector":
            raise ValueError("a detector takes BGR")
        return channels

    @property
    def layout(self) -> Layout:
        """How an embedder wants its chips."""
        return STANDARD if self.landmarks is None else Layout(self.width, self.landmarks)


class DetectorGolden(StrictModel):
    """What one detector must give.

    Attributes:
        landmarks: of the face in the golden picture, in its pixels; `within_px` is the allowed error.
        response: the detector's raw answer to a test picture, see `edgeagent.system.selftest.response`.
        within: greatest error of one of its numbers, as a share of one more than its size.
    """

    landmarks: Annotated[tuple[tuple[float, float], ...], Field(min_length=5, max_length=5)]
    within_px: Annotated[float, Field(gt=0, le=10)]
    response: Annotated[tuple[float, ...], Field(min_length=1, max_length=1000)]
    within: Annotated[float, Field(gt=0, le=0.2)]


class Golden(StrictModel):
    """What the self-test must see.

    Attributes:
        picture: portrait in the public domain that each detector must find one face in.
        template: of the drawn pattern of `edgeagent.system.selftest`; nobody's face.
        least_cosine: Arm and x86 round differently, so not 1.
    """

    picture: FileName
    picture_sha256: Sha256
    detectors: dict[Scene, DetectorGolden]
    template: tuple[float, ...]
    least_cosine: Annotated[float, Field(ge=0.9, le=1)]


class Manifest(StrictModel):
    """The whole file."""

    format: Literal["edgeagent-models/2"]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    models: tuple[ModelEntry, ...]
    golden: Golden


@dataclass(frozen=True, slots=True)
class ModelPack:
    """A pack whose every file has the hash that its manifest names.

    Attributes:
        sha256: of the manifest's bytes.
        files: content by file name.
    """

    manifest: Manifest
    sha256: str
    files: dict[str, bytes] = field(repr=False)

    def model(self, role: str, scene: Scene = "near") -> ModelEntry:
        """The network of a role, a detector's for a scene; `load_pack` made sure that there is one."""
        return next(e for e in self.manifest.models if e.role == role and e.scene in (None, scene))

    @property
    def use(self) -> Use:
        """What all its networks may be used for together."""
        restricted = any(entry.use == "research-only" for entry in self.manifest.models)
        return "research-only" if restricted else "any"


def default_pack_folder() -> Path:
    """The pack that is installed with the program."""
    return Path(__file__).resolve().parents[1] / "models"


def load_pack(folder: Path) -> ModelPack:
    """Read a pack and check every file against its manifest.

    Raises:
        ModelError: a file is missing, cut short or altered, or the manifest is malformed.
    """
    where = str(folder / MANIFEST)
    content = read_bounded(folder / MANIFEST, MANIFEST_LIMIT, ModelError)
    manifest = _parse(content, where)
    check_entries(manifest, where)
    files = {entry.file: _model_file(folder / entry.file, entry) for entry in manifest.models}
    golden = manifest.golden
    files[golden.picture] = _checked(folder / golden.picture, golden.picture_sha256)
    return ModelPack(manifest, hashlib.sha256(content).hexdigest(), files)


def _parse(content: bytes, where: str) -> Manifest:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Two readers could take different ones, and the hash would be the same for both.
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                raise ModelError(f"has the key {key!r} {times} times", where=where, next_step=REINSTALL)
        return dict(pairs)

    try:
        json.loads(content, object_pairs_hook=once)
        return Manifest.model_validate_json(content)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ModelError(str(fault["msg"]), where=f"{where}: {key}", next_step=REINSTALL) from None
    except (ValueError, RecursionError):
        raise ModelError("is not JSON", where=where, next_step=REINSTALL) from None


def check_entries(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose parts do not go together, though each is well-formed.

    Raises:
        ModelError: naming what.
    """
    roles = sorted((entry.role, entry.scene or "-") for entry in manifest.models)
    names = Counter([MANIFEST, manifest.golden.picture, *(entry.file for entry in manifest.models)])
    twice = [name for name, times in names.items() if times > 1]
    if roles != ROLES:
        has = ", ".join(f"{role} {scene}" for role, scene in roles) or "none"
        what = f"needs one detector for each of {', '.join(SCENES)} and one embedder; it lists: {has}"
    elif twice:
        what = f"lists the file {twice[0]} {names[twice[0]]} times"
    elif set(manifest.golden.detectors) != set(SCENES):
        what = "does not say what the self-test must see of each detector"
    elif not _grows(manifest):
        what = "has a detector for far scenes whose picture is not larger than that for near ones"
    elif not _chips_fit(manifest):
        what = "has an embedder whose size and landmarks do not go together"
    elif any(entry.file.endswith(ONNX) for entry in manifest.models if entry.role == "detector"):
        what = "has a detector that is not a .tflite file"
    elif unlicensed := _hidden_restriction(manifest):
        what = f"allows any use of {unlicensed}"
    else:
        return
    raise ModelError(what, where=where, next_step=REINSTALL)


def _chips_fit(manifest: Manifest) -> bool:
    """Whether chips are square, and landmarks are given unless they are the standard ones."""
    (entry,) = (entry for entry in manifest.models if entry.role == "embedder")
    if entry.width != entry.height or not LEAST_CHIP <= entry.width <= LARGEST_CHIP:
        return False
    if entry.landmarks is None:
        return entry.width == CHIP_SIZE
    return landmarks_fault(entry.landmarks, entry.width) is None


def landmarks_fault(landmarks: Landmarks, size: int) -> str | None:
    """What is wrong with the landmarks of a chip of this size in pixels, None if nothing is."""
    (left_eye, right_eye, nose, left_mouth, right_mouth) = landmarks
    eyes, mouth = (left_eye[1] + right_eye[1]) / 2, (left_mouth[1] + right_mouth[1]) / 2
    if not all(0 < value < size for point in landmarks for value in point):
        return f"lie outside the chip of {size} pixels"
    if right_eye[0] - left_eye[0] < size / LEAST_EYE_SHARE:
        return (
            "have the eyes in the wrong order, or too near each other; the eye on the image's left is first"
        )
    if left_mouth[0] >= right_mouth[0]:
        return "have the corners of the mouth in the wrong order; the one on the image's left is first"
    if not eyes < nose[1] < mouth:
        return "are not eyes above the nose and the nose above the mouth"
    return None


def _hidden_restriction(manifest: Manifest) -> str | None:
    """A file that is declared for any use though its licence or origin is known not to allow that."""
    for entry in manifest.models:
        known = research_only(entry.licence, entry.file, *entry.origin.model_dump().values(), manifest.name)
        if known and entry.use == "any":
            return f"{entry.file}, though {known!r} is known to be for research only"
    return None


def _grows(manifest: Manifest) -> bool:
    size = {entry.scene: (entry.width, entry.height) for entry in manifest.models}
    return all(far > near for far, near in zip(size["far"], size["near"], strict=True))


def _model_file(path: Path, entry: ModelEntry) -> bytes:
    content = _checked(path, entry.sha256)
    if len(content) != entry.bytes:
        what = f"is {len(content)} bytes long, its manifest says {entry.bytes}"
        raise ModelError(what, where=str(path), next_step=REINSTALL)
    return content


def _checked(path: Path, digest: str) -> bytes:
    content = read_bounded(path, MODEL_LIMIT, ModelError)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError("was altered or cut short", where=str(path), next_step=REINSTALL)
    return content
