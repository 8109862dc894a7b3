"""Highest sequence number seen of each document, kept over restarts; an older one is a rollback."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.documents.parse import parse
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.files import read_bounded, write_atomic

LIMIT = 1_000_000
MOST_NAMES = 2000
"""Of each, the newest; by then the signing keys of older documents have long expired."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A verified document by its name, sequence number and hash."""

    name: str
    sequence: int
    sha256: str


class Seen(StrictModel):
    """The newest document of one name."""

    sequence: Annotated[int, Field(ge=1)]
    sha256: Sha256


class _Content(StrictModel):
    seen: dict[str, Seen]
    closed: tuple[str, ...]
    ends: dict[str, AwareDatetime] = Field(default_factory=dict)


class HighWater:
    """The file of highest sequence numbers and of deployments that are over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = (
            parse(_Content, read_bounded(path, LIMIT), str(path))
            if path.exists()
            else _Content(seen={}, closed=())
        )

    def check(self, document: Numbered) -> None:
        """Refuse a document that is older than what was seen, or its double.

        Raises:
            DocumentError: rollback or replay.
        """
        seen = self._content.seen.get(document.name)
        if seen is None:
            return
        if document.sequence < seen.sequence:
            raise DocumentError(
                f"has sequence {document.sequence}; {seen.sequence} was seen before",
                where=document.name,
                next_step="use the newest document",
            )
        if document.sequence == seen.sequence and document.sha256 != seen.sha256:
            raise DocumentError(
                f"differs from another with sequence {document.sequence}",
                where=document.name,
                next_step="sign it with the next sequence number",
            )

    def accept(self, document: Numbered) -> None:
        """Check and remember a document.

        Raises:
            DocumentError: rollback or replay.
        """
        self.check(document)
        seen = Seen(sequence=document.sequence, sha256=document.sha256)
        if self._content.seen.get(document.name) != seen:
            older = [item for item in self._content.seen.items() if item[0] != document.name]
            updated = dict([*older[-MOST_NAMES:], (document.name, seen)])
            self._save(self._content.model_copy(update={"seen": updated}))

    def is_closed(self, deployment: str) -> bool:
        """Whether the deployment ended on this unit; it can never start again."""
        return deployment in self._content.closed

    def close(self, deployment: str) -> None:
        """Remember that the deployment is over."""
        ends = {name: end for name, end in self._content.ends.items() if name != deployment}
        if self.is_closed(deployment) and ends == self._content.ends:
            return
        others = tuple(name for name in self._content.closed if name != deployment)
        closed = (*others[-MOST_NAMES:], deployment)
        self._save(self._content.model_copy(update={"closed": closed, "ends": ends}))

    def started(self, deployment: str, end: datetime) -> None:
        """Remember when a deployment that is taken into use must be over, even if nobody comes back to it."""
        if self._content.ends.get(deployment) != end:
            self._save(self._content.model_copy(update={"ends": {**self._content.ends, deployment: end}}))

    def has_begun(self, deployment: str) -> bool:
        """Whether it was taken into use here and is not closed."""
        return deployment in self._content.ends

    def ended(self, wall: datetime) -> list[str]:
        """Deployments whose end has passed and that were not closed; `wall` must be vouched for."""
        return [name for name, end in self._content.ends.items() if wall >= end]

    def _save(self, content: _Content) -> None:
        write_atomic(
            self._path, json.dumps(content.model_dump(mode="json"), indent=1).encode() + b"\n", mode=0o600
        )
        self._content = content
