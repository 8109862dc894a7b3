"""What a process of a trial did, line by line, in a file that outlives it.

The ledger lies outside of anything that a trial breaks, so it knows what a broken outbox has forgotten.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Ledger:
    """Lines of JSON, appended; each is in the kernel when `write` returns, so that a SIGKILL spares it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, **values: Any) -> None:
        """Append one line."""
        os.write(self._descriptor, json.dumps({"e": what, **values}).encode() + b"\n")


def read(path: Path) -> list[Line]:
    """Every whole line so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def count(path: Path, what: str) -> int:
    """How many lines say this; cheap enough to be asked often."""
    return path.read_bytes().count(b'{"e": "' + what.encode() + b'"') if path.exists() else 0


@dataclass(frozen=True, slots=True)
class Begun:
    """An alert that was signed: when, on CLOCK_BOOTTIME, and how long it counts."""

    at_ns: int
    ttl_s: float

    @property
    def until_ns(self) -> int:
        """The moment from which nobody may be shown it."""
        return self.at_ns + int(self.ttl_s * 1e9)


def ids(lines: list[Line], what: str) -> set[str]:
    """The alerts that lines of one kind name."""
    named: set[str] = set()
    for line in lines:
        if line["e"] == what:
            named.update(line["ids"] if "ids" in line else (line["id"],))
    return named


def begun(lines: list[Line]) -> dict[str, Begun]:
    """Every alert that was signed."""
    return {line["id"]: Begun(line["ns"], line["ttl"]) for line in lines if line["e"] == "begin"}
