"""The newest checkpoint, remembered beside the log, so that a log cut back to an earlier line is noticed."""

from __future__ import annotations

import json
from pathlib import Path

from edgeagent.audit.chain import Head
from edgeagent.documents.messages import Count
from edgeagent.documents.parse import parse
from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded, write_atomic

LIMIT = 4096


class _Newest(StrictModel):
    sequence: Count
    sha256: Sha256


def load_newest(path: Path) -> Head | None:
    """The newest checkpoint's line; None if none was ever made here.

    Raises:
        DocumentError: the file is damaged.
    """
    if not path.exists():
        return None
    said = parse(_Newest, read_bounded(path, LIMIT), str(path))
    return Head(said.sequence, said.sha256)


def save_newest(path: Path, head: Head) -> None:
    """Remember a checkpoint's line that is durable in the log.

    Raises:
        OSError: it cannot be written.
    """
    said = _Newest(sequence=head.sequence, sha256=head.sha256)
    write_atomic(path, json.dumps(said.model_dump(mode="json")).encode() + b"\n", mode=0o600)
