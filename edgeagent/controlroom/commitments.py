"""The files of a list at the desk: the list itself, and what outlives it (R31)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeagent.documents.commitments import Committed
from edgeagent.documents.watchlist_file import split
from edgeagent.errors import EnrolmentError
from edgeagent.system.files import write_atomic


@dataclass(frozen=True, slots=True)
class ListFiles:
    """Where a list called `out` and its companions are."""

    out: Path

    def _beside(self, suffix: str) -> Path:
        return self.out.with_name(self.out.name + suffix)

    @property
    def manifest(self) -> Path:
        """The signed manifest alone; may be kept and shown when the list is gone."""
        return self._beside(".manifest.json")

    @property
    def commitments(self) -> Path:
        """One commitment a person; says nothing without the salt."""
        return self._beside(".commitments.json")

    @property
    def salt(self) -> Path:
        """The secret of the commitments; for the salt holder only, never on a unit."""
        return self._beside(".salt.json")

    @property
    def work(self) -> Path:
        """Templates of a build that was interrupted; overwritten when the list is written."""
        return self._beside(".work")

    def refuse_existing(self) -> None:
        """An earlier list's files are its only answer to "was I on it?", so they are not written over.

        Raises:
            EnrolmentError: R31, there is one.
        """
        for file in (self.manifest, self.out):
            if file.exists():
                raise EnrolmentError(
                    "exists already",
                    where=str(file),
                    next_step="choose another name; its salt is the only answer to who was on that list",
                    rule="R31",
                )

    def write(self, content: bytes, committed: Committed) -> None:
        """Write salt, commitments, manifest and, last, the list: no list without its answer."""
        write_atomic(self.salt, committed.salt, mode=0o600)
        write_atomic(self.commitments, committed.commitments)
        write_atomic(self.manifest, split(content)[0])
        write_atomic(self.out, content, mode=0o600)
