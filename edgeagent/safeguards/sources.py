"""What may be a source of frames, and under which kind of authority (R24, R33).

A source is written `scheme:target`. Only a device of this machine is a camera; a network address, a pipeline
or a bare number is refused before anything could open it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from edgeagent.errors import SafeguardError

LIMIT = 4096


class SourceKind(StrEnum):
    """What a source is."""

    CAMERA = "camera"
    GENERATED = "generated scene"
    RECORDED = "recorded pictures"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source that may be opened.

    Attributes:
        scheme: `v4l2`, `scene` or `pictures`.
        target: device path, scene file or folder; always absolute.
    """

    kind: SourceKind
    scheme: str
    target: str


_PATH = r"/(?!/)[A-Za-z0-9._+@:,/-]*[A-Za-z0-9._+@:,-]"
_FORMS = (
    (
        SourceKind.CAMERA,
        "v4l2",
        re.compile(r"/dev/(edgeagent-camera|video[0-9]{1,3}|v4l/by-(id|path)/[A-Za-z0-9._:+-]{1,200})"),
    ),
    (SourceKind.GENERATED, "scene", re.compile(_PATH)),
    (SourceKind.RECORDED, "pictures", re.compile(_PATH)),
)


def parse_source(text: str) -> SourceSpec:
    """The source that a configuration names.

    Raises:
        SafeguardError: R24, anything but a local device, a scene file or a folder of pictures.
    """
    scheme, _, target = text.partition(":")
    if len(text) <= LIMIT and "//" not in text and ".." not in text.split("/"):
        for kind, name, form in _FORMS:
            if scheme == name and form.fullmatch(target):
                return SourceSpec(kind, scheme, target)
    raise SafeguardError(
        "is not a local camera device; network video, pipelines and streams are never accepted",
        where="camera.source",
        next_step="name a device such as v4l2:/dev/video0 (on a bench: scene:/… or pictures:/…)",
        rule="R24",
    )


def source_allowed(spec: SourceSpec, *, bench: bool, all_entries_are_test_subjects: bool) -> None:
    """Refuse a source that does not fit the kind of authority.

    A live authority takes a camera only. A bench takes generated or recorded pictures only, and a list of
    test subjects only: a real camera always needs a live authority.

    Raises:
        SafeguardError: R33.
    """
    camera = spec.kind is SourceKind.CAMERA
    if not bench and not camera:
        raise _refuse(
            f"a live authority takes a camera only, and this is not one ({spec.kind})", "use the camera"
        )
    if bench and camera:
        raise _refuse("a bench takes no camera", "have a live authority signed, or use a generated scene")
    if bench and not all_entries_are_test_subjects:
        raise _refuse("a bench takes a list of test subjects only", "build a list of test subjects")


def _refuse(what: str, next_step: str) -> SafeguardError:
    return SafeguardError(what, where="camera.source", next_step=next_step, rule="R33")
