"""Reading a unit's log for its record: all that can be read of it, and whether it may be relied on (R25).

The verdict is that of the log's own verification. A log that fails it is read all the same as far as its
lines can be, so that a page can say so in public rather than be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgeagent.audit.chain import LINE_LIMIT
from edgeagent.audit.events import Entry
from edgeagent.audit.segments import lines_of, segments
from edgeagent.audit.verify import Published, Verdict, verify_log
from edgeagent.controlroom.record.stretches import UnitLog
from edgeagent.documents.parse import parse
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import AuditError, DocumentError

LOG_LIMIT = 2 << 30
"""Octets of one log; a unit stops at half of it."""


def files_of(log: Path) -> list[Path]:
    """The log's files: of a unit's folder in order, or the one file that was given.

    Raises:
        AuditError: there is none, or it is longer than any log.
    """
    files = [path for _, path in segments(log)] if log.is_dir() else [log]
    if not files or not all(path.is_file() for path in files):
        raise AuditError("is no audit log", where=str(log), next_step="give the unit's audit folder")
    if sum(path.stat().st_size for path in files) > LOG_LIMIT:
        raise AuditError("is longer than any log", where=str(log), next_step="check that it is the right one")
    return files


def read_log(
    files: Sequence[Path],
    trust: TrustStore,
    published: Sequence[Published] = (),
    *,
    progress: Callable[[int], None],
) -> UnitLog:
    """One unit's log with its verdict; if it is not good, with every line that can be read at all.

    Raises:
        AuditError: not one line of it can be read.
        OSError: a file cannot be read.
    """
    entries: list[Entry] = []
    verdict = verify_log(files, trust, published, take=entries.append, progress=progress)
    if not verdict.good:
        entries = list(readable(files))
    if not entries:
        raise AuditError("is no audit log", where=str(files[0]), next_step="give the unit's audit folder")
    unit = verdict.unit or entries[0].unit
    return UnitLog(unit, tuple(entries), verdict.good, in_words(verdict))


def readable(files: Sequence[Path]) -> Iterator[Entry]:
    """Every line that is an entry, whether or not it stands where it should."""
    for path in files:
        for line in lines_of(path):
            if len(line) <= LINE_LIMIT:
                try:
                    yield parse(Entry, line, "audit log")
                except DocumentError:
                    continue


def in_words(verdict: Verdict) -> str:
    """The verdict for a reader of the page; without the path of a file, which is nobody's business."""
    if verdict.fault is not None:
        line = f"line {verdict.fault.line} " if verdict.fault.line else ""
        return f"it does NOT verify: {line}{verdict.fault.why}"
    behind = verdict.last - verdict.sealed
    unsealed = f", and {behind} after the last signature" if behind else ""
    notes = "".join(f"; {note}" for note in verdict.notes)
    return (
        f"verified: complete and unaltered, signed by the unit up to line {verdict.sealed}{unsealed}{notes}"
    )
