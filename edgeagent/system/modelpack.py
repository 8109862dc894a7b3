"""The model pack on disk: a manifest, two networks and what the self-test expects of them.

The pack's identity is the SHA-256 of its manifest, which names the SHA-256 of every other file: authority,
watchlist and certificate are bound to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from edgeagent.errors import ModelError
from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 262_144
MODEL_LIMIT = 64 * 1024 * 1024
REINSTALL = "install the model pack again (make models rebuilds it)"

FileName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,60}\.[a-z]{2,6}$")]
Side = Annotated[int, Field(ge=32, le=4096)]


class Origin(StrictModel):
    """The package and member that a model was made from."""

    package: str
    member: str
    sha256: Sha256
    project: str


class ModelEntry(StrictModel):
    """One network.

    Attributes:
        channels: order of the picture's channels.
        mean, scale: the network takes `(pixel - mean) * scale`.
        outputs: shape of each named output.
        quantisation, made: in words, for whoever audits the pack.
    """

    role: Literal["detector", "embedder"]
    file: FileName
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MODEL_LIMIT)]
    licence: str
    origin: Origin
    width: Side
    height: Side
    channels: Literal["BGR"]
    mean: float
    scale: float
    outputs: dict[str, tuple[int, ...]]
    quantisation: str
    made: str


class Golden(StrictModel):
    """What the self-test must see.

    Attributes:
        picture: portrait in the public domain that the detector must find one face in.
        landmarks: of that face, in the picture's pixels; `within_px` is the allowed error.
        template: of the drawn pattern of `edgeagent.system.selftest`; nobody's face.
        least_cosine: Arm and x86 round differently, so not 1.
    """

    picture: FileName
    picture_sha256: Sha256
    landmarks: Annotated[tuple[tuple[float, float], ...], Field(min_length=5, max_length=5)]
    within_px: Annotated[float, Field(gt=0, le=10)]
    template: tuple[float, ...]
    least_cosine: Annotated[float, Field(ge=0.9, le=1)]


class Manifest(StrictModel):
    """The whole file."""

    format: Literal["edgeagent-models/1"]
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

    def model(self, role: str) -> ModelEntry:
        """The network of a role; `load_pack` made sure that there is one."""
        return next(entry for entry in self.manifest.models if entry.role == role)


def default_pack_folder() -> Path:
    """The pack that is installed with the program."""
    return Path(__file__).resolve().parents[1] / "models"


def load_pack(folder: Path) -> ModelPack:
    """Read a pack and check every file against its manifest.

    Raises:
        ModelError: a file is missing, cut short or altered, or the manifest is malformed.
    """
    content = read_bounded(folder / MANIFEST, MANIFEST_LIMIT, ModelError)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        where = f"{folder / MANIFEST}: {key}"
        raise ModelError(str(fault["msg"]), where=where, next_step=REINSTALL) from None
    if sorted(entry.role for entry in manifest.models) != ["detector", "embedder"]:
        raise ModelError(
            "does not have one detector and one embedder", where=str(folder / MANIFEST), next_step=REINSTALL
        )
    expected = {entry.file: entry.sha256 for entry in manifest.models}
    expected[manifest.golden.picture] = manifest.golden.picture_sha256
    files = {name: _checked(folder / name, digest) for name, digest in expected.items()}
    return ModelPack(manifest, hashlib.sha256(content).hexdigest(), files)


def _checked(path: Path, digest: str) -> bytes:
    content = read_bounded(path, MODEL_LIMIT, ModelError)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError("was altered or cut short", where=str(path), next_step=REINSTALL)
    return content
