"""Looking at a card from outside: a copy of it at one instant, its journal replayed, its books read."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.vm.books import GONE, Listed, Look, Made
from tests.vm.card import Card

DATA, DOCUMENTS = "/var/lib/edgeagent/bench", "/etc/edgeagent/documents"
LIST = "watchlist.edgelist"
REPAIRED = 1
"""e2fsck's exit code for "replayed or repaired, all good now"."""
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Papers:
    """With what a card is compared: who may sign its log, and the hash of the list that was put on it."""

    trust: Path
    root: str
    list_sha256: str


def look(card: Card, folder: Path, papers: Papers, *, published: str = "", verify: bool) -> Look:
    """Look at a card as it is now.

    Args:
        published: newest line of the audit log that the unit had published, as `SEQUENCE:SHA256`.
        verify: run `edgeagent audit verify`; a log right after a cut may end in half a line, which the next
            start repairs, so it is asked after that.
    """
    copy, files = folder / "copy", folder / "files"
    card.picture(copy)
    at = time.time()
    try:
        file_system = _check(copy)
        _fetch(copy, files)
    finally:
        copy.unlink(missing_ok=True)
    lines = _lines(files / "bench/audit")
    starts, made = _made(lines)
    database, pending, totals = _outbox(files / "bench/outbox.sqlite")
    return Look(
        at=at,
        file_system=file_system,
        database=database,
        watchlist=_list(files / "documents" / LIST, papers.list_sha256),
        made=made,
        starts=starts,
        repaired=sum(line["body"]["event"] == "repaired" for line in lines),
        log=_verify(files / "bench/audit", papers, published) if verify else None,
        pending=pending,
        totals=totals,
    )


def _check(copy: Path) -> str:
    """Replay the journal as the unit's own start does, then look at everything; empty if all is clean."""
    for options, good in (("-p", REPAIRED), ("-fn", 0)):
        done = _run("e2fsck", options, str(copy))
        if done.returncode > good:
            return f"e2fsck {options} ends with {done.returncode}: {done.stdout.strip()[-300:]}"
    return ""


def _fetch(copy: Path, files: Path) -> None:
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    for folder in (DATA, DOCUMENTS):
        _run("debugfs", "-R", f'rdump "{folder}" "{files}"', str(copy))


def _lines(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the log; half of one, after the last line feed, is not a line yet."""
    found = []
    for file in sorted(folder.glob("audit-*.jsonl")):
        whole, _, _ = file.read_bytes().rpartition(b"\n")
        found += [json.loads(line) for line in whole.split(b"\n") if line]
    return found


def _made(lines: list[dict[str, Any]]) -> tuple[int, tuple[Made, ...]]:
    starts, made = 0, []
    for line in lines:
        body = line["body"]
        if body["event"] == "started":
            starts += 1
        elif body["event"] == "alert_made":
            made.append(Made(body["alert"], starts, datetime.fromisoformat(line["at"]).timestamp()))
    return starts, tuple(made)


def _outbox(file: Path) -> tuple[str, dict[str, float], dict[str, int]]:
    """What SQLite says of the file, what is pending, and the totals."""
    totals = dict.fromkeys(("made", "received", *GONE), 0)
    if not file.exists():  # a unit that was never up
        return "", {}, totals
    try:
        with closing(sqlite3.connect(file)) as db:
            said = db.execute("PRAGMA integrity_check").fetchone()[0]
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if "pending" not in tables:  # the cut came while it was made
                return "" if said == "ok" and not tables else f"{said}; tables {sorted(tables)}", {}, totals
            pending = dict(db.execute("SELECT alert_id, expires_at FROM pending"))
            totals |= dict(db.execute("SELECT name, value FROM totals"))
    except sqlite3.Error as error:
        return str(error), {}, totals
    return "" if said == "ok" else said, pending, totals


def _list(file: Path, sha256: str) -> Listed:
    if not file.exists():
        return Listed.ABSENT
    whole = hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    return Listed.WHOLE if whole else Listed.TORN


def _verify(folder: Path, papers: Papers, published: str) -> str:
    """What the product's own command has against the log; empty if nothing."""
    if not list(folder.glob("audit-*.jsonl")):
        return f"gone, though {published} was published" if published else ""
    command = [sys.executable, "-m", "edgeagent", "audit", "verify", str(folder), "--json"]
    command += ["--trust", str(papers.trust), "--root", papers.root]
    done = _run(*command, *(("--at-least", published) if published else ()))
    if done.returncode == 0:
        return ""
    return f"audit verify ends with {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )
