"""Making a model pack of somebody's own embedder, a declaration, and the detectors of another pack.

The declaration is a TOML file beside the network, so that it can be read, reviewed and used again:

    name = "sface"                      # of the pack
    file = "sface.onnx"                 # or .tflite, beside this file
    licence = "Apache-2.0"
    use = "any"                         # or "research-only"
    ...

docs/bring-your-own-model.md explains every key.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import cv2
import numpy as np
from pydantic import Field, ValidationError, model_validator

from edgeagent.errors import ModelError
from edgeagent.safeguards.licences import licence_fault
from edgeagent.safeguards.model_use import Use, research_only
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded, sync_folder, write_atomic
from edgeagent.system.modelpack import (
    MANIFEST,
    MODEL_LIMIT,
    ONNX,
    USUAL_ALIKE,
    Alike,
    Landmarks,
    Manifest,
    ModelEntry,
    ModelPack,
    Origin,
    check_entries,
    landmarks_fault,
    load_pack,
)
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.system.onnx_file import picture_inputs
from edgeagent.system.selftest import decode, pattern, self_test
from edgeagent.vision.align import align
from edgeagent.vision.types import CHIP_SIZE, LARGEST_CHIP, LEAST_CHIP, Chip, Float32Array, Frame

DECLARATION_LIMIT = 65_536
LEAST_COSINE = 0.98
ALL_ALIKE = 0.995
"""A face and a drawn pattern with templates more alike than this: all are one person to the network."""
STEADY = 0.7
"""Templates of one face in two sizes less alike than this: alignment or normalisation must be wrong."""
SMALLER = 0.8
DIGITS = 6
TRY_AGAIN = "correct the declaration"

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
Mean = Annotated[float, Field(ge=-1e4, le=1e4)]
Scale = Annotated[float, Field(gt=0, le=1e4)]


class Declaration(StrictModel):
    """What somebody says of an embedder.

    Attributes:
        name: of the pack.
        file: the network, beside the declaration.
        licence: SPDX expression, of the weights rather than of the program that came with them.
        use: what that licence allows.
        project: whose network it is.
        source: where the file was taken from, with a version.
        size: side of the square picture that the network takes, pixels.
        dimension: numbers in a template.
        channels: order in which it takes colours.
        mean, scale: it takes `(pixel - mean) * scale`, one number or three in the order of `channels`.
        landmarks: five (x, y) in its picture: the eye on the image's left, the one on its right, tip of the
            nose, left and right corner of the mouth; left out, the layout of ArcFace at 112 pixels.
        alike: cosine from which two persons on one list are taken for one face (R7).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,79}$")]
    file: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}\.(tflite|onnx)$")]
    licence: Line
    use: Use
    project: Line
    source: Line
    size: Annotated[int, Field(ge=LEAST_CHIP, le=LARGEST_CHIP)]
    dimension: Annotated[int, Field(ge=16, le=4096)]
    channels: Literal["BGR", "RGB"]
    mean: Mean | tuple[Mean, Mean, Mean]
    scale: Scale | tuple[Scale, Scale, Scale]
    landmarks: Landmarks | None = None
    alike: Alike = USUAL_ALIKE
    precision: Line = "as in the file"

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.landmarks is None and self.size != CHIP_SIZE:
            raise ValueError(f"landmarks are missing: only at {CHIP_SIZE} pixels is there a usual layout")
        fault = self.landmarks and landmarks_fault(self.landmarks, self.size)
        if fault:
            raise ValueError(f"landmarks {fault}")
        if fault := licence_fault(self.licence):
            raise ValueError(f"licence {fault}")
        known = research_only(self.licence, self.name, self.file, self.project, self.source)
        if known and self.use == "any":
            raise ValueError(
                f'use is "any", but {known!r} is known to be for research only: say "research-only"'
            )
        return self


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration and the file that it was read from."""

    said: Declaration
    path: Path

    @property
    def network(self) -> Path:
        """Where the network's file is."""
        return self.path.parent / self.said.file


def read_declaration(path: Path) -> Declared:
    """Read and check a declaration; the network is not looked at.

    Raises:
        ModelError: naming file, key and remedy.
    """
    content = read_bounded(path, DECLARATION_LIMIT, ModelError)
    try:
        # By way of JSON: TOML has arrays where the model has tuples.
        said = Declaration.model_validate_json(json.dumps(tomllib.loads(content.decode()), default=str))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise ModelError(f"is not TOML: {cause}", where=str(path), next_step="correct that line") from cause
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        where = f"{path}: {key}" if key else str(path)
        what = str(fault["msg"]).removeprefix("Value error, ")
        raise ModelError(what, where=where, next_step=TRY_AGAIN) from None
    return Declared(said, path)


def import_pack(declared: Declared, base: Path, out: Path) -> ModelPack:
    """Make a pack of the declared embedder and the detectors of the pack in `base`, and write it to `out`.

    The golden template is made here, and the whole self-test is run, before a file is written; `out` appears
    at once and whole, or not at all.

    Raises:
        ModelError: the network is none, or is not what was declared, or `out` is there already.
    """
    refuse_existing(out)
    pack = make_pack(declared, load_pack(base))
    with _folder(out) as beside:
        for name, content in pack.files.items():
            write_atomic(beside / name, content)
        write_atomic(beside / MANIFEST, manifest_bytes(pack.manifest))
        return load_pack(beside)


def make_pack(declared: Declared, base: ModelPack) -> ModelPack:
    """The pack in memory, self-tested.

    Raises:
        ModelError: as for `import_pack`.
    """
    said, path = declared.said, declared.network
    content = read_bounded(path, MODEL_LIMIT, ModelError)
    if path.suffix == ONNX:
        _check_onnx_input(content, said.size, path)
    entry = _entry(said, content)
    detectors = tuple(one for one in base.manifest.models if one.role == "detector")
    files = {one.file: base.files[one.file] for one in detectors} | {
        base.manifest.golden.picture: base.files[base.manifest.golden.picture],
        entry.file: content,
    }
    manifest = base.manifest.model_copy(update={"name": said.name, "models": (*detectors, entry)})
    check_entries(manifest, str(declared.path))
    untested = ModelPack(manifest, "", files)
    try:
        template = _template(untested)
    except ModelError as fault:
        raise ModelError(fault.what, where=str(path), next_step=fault.next_step) from fault
    golden = manifest.golden.model_copy(update={"template": template, "least_cosine": LEAST_COSINE})
    manifest = manifest.model_copy(update={"golden": golden})
    digest = hashlib.sha256(manifest_bytes(manifest)).hexdigest()
    pack = ModelPack(manifest, digest, files)
    self_test(pack)
    return pack


def _check_onnx_input(content: bytes, size: int, path: Path) -> None:
    """Refuse a file whose own input is another than the declared one; a side that may vary fits any."""
    try:
        inputs = picture_inputs(content)
    except ValueError as cause:
        raise ModelError(
            f"is not an ONNX file: {cause}",
            where=str(path),
            next_step="check that it is the right file, whole",
        ) from None
    wanted = (1, 3, size, size)
    fits = len(inputs) == 1 and len(inputs[0]) == 4
    if not fits or any(side not in (None, want) for side, want in zip(inputs[0], wanted, strict=True)):
        raise ModelError(f"expected one input {wanted}, got {inputs}", where=str(path), next_step=TRY_AGAIN)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as it is written; its hash is the pack's identity."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1).encode() + b"\n"


def _entry(said: Declaration, content: bytes) -> ModelEntry:
    digest, suffix = hashlib.sha256(content).hexdigest(), Path(said.file).suffix
    return ModelEntry(
        role="embedder",
        scene=None,
        file=f"embedder{suffix}",
        sha256=digest,
        bytes=len(content),
        licence=said.licence,
        origin=Origin(package=said.source, member=said.file, sha256=digest, project=said.project),
        width=said.size,
        height=said.size,
        channels=said.channels,
        mean=said.mean,
        scale=said.scale,
        outputs={"template": (1, said.dimension)},
        quantisation=said.precision,
        made="edgeagent models import",
        landmarks=said.landmarks,
        use=said.use,
        alike=said.alike,
    )


def _template(pack: ModelPack) -> tuple[float, ...]:
    """The golden template, of the drawn pattern, if a face is another to the network and known again.

    Raises:
        ModelError: the network cannot be run as declared, or tells nothing apart.
    """
    embedder, side = embedder_of(pack), pack.model("embedder").layout.size

    def template(pixels: Any) -> Float32Array:
        return embedder.embed(Chip(pixels)).vector

    drawn = template(pattern(side, side))
    face, small = (template(pixels) for pixels in _one_face_twice(pack))
    embedder.wipe()
    if float(drawn @ face) > ALL_ALIKE:
        raise ModelError(
            f"gives one template for a face and for a drawn pattern (cosine {float(drawn @ face):.4f})",
            next_step="check mean, scale and channels; if they are right, this network recognises nobody",
        )
    if float(face @ small) < STEADY:
        raise ModelError(
            f"does not know one face again in another size (cosine {float(face @ small):.2f})",
            next_step="check landmarks, mean, scale and channels",
        )
    return tuple(round(float(value), DIGITS) for value in drawn)


def _one_face_twice(pack: ModelPack) -> list[Any]:
    """Chips of the golden portrait in full and in smaller size, (n, n, 3) uint8 each."""
    whole = decode(pack.files[pack.manifest.golden.picture])
    small = cv2.resize(whole, None, fx=SMALLER, fy=SMALLER, interpolation=cv2.INTER_AREA)
    detector, layout, chips = detector_of(pack), pack.model("embedder").layout, []
    for pixels in (whole, np.asarray(small, np.uint8)):
        frame = Frame(pixels, captured_ns=0, sequence=0)
        faces = detector.detect(frame)
        if len(faces) != 1:
            raise ModelError("has a detector that does not find the one face of its golden picture")
        chips.append(align(frame, faces[0], layout=layout).pixels)
    detector.wipe()
    return chips


# --- writing ------------------------------------------------------------------------------------------------


def refuse_existing(out: Path) -> None:
    """Refuse to write over anything, and into a folder that is not there.

    Raises:
        ModelError: naming it.
    """
    if out.exists() or out.is_symlink():
        raise ModelError("exists already", where=str(out), next_step="name another folder")
    if not out.absolute().parent.is_dir():
        raise ModelError("is not a folder", where=str(out.absolute().parent), next_step="make it first")


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that becomes it when the block ends well, and is removed otherwise."""
    out = out.absolute()
    beside = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    beside.mkdir()
    try:
        yield beside
        sync_folder(beside)
        refuse_existing(out)
        beside.rename(out)
    except BaseException:
        shutil.rmtree(beside)
        raise
    sync_folder(out.parent)
