"""Log lines as entries of systemd's journal with fields of their own, so that a program can ask for them.

One datagram an entry, as systemd's "Native Journal Protocol" says. systemd-python does the same, but is a C
extension that a unit would need for these few lines.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
_PRIORITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
_FIELDS = "edgeagent_fields"


class Line(StrEnum):
    """Of what kind a line is: `EDGEAGENT_EVENT`."""

    STATE = "state"
    REFUSED = "refused"
    HIT = "hit"
    BROKER = "broker"
    PROBLEM = "problem"


def about(
    kind: Line, *, rule: str | None = None, state: str = "", alert: str = ""
) -> Mapping[str, dict[str, str]]:
    """What a log line is about, as `extra` of the logging module takes it.

    These and no others, and none that says who was there (R1): an alert is its number.

    Args:
        rule: number of the safeguard that decided.
        state: of the gate, after this.
        alert: its identifier.
    """
    named = {"EVENT": kind.value, "RULE": rule or "", "STATE": state, "ALERT": alert}
    return {_FIELDS: {f"EDGEAGENT_{name}": value for name, value in named.items() if value}}


class JournalHandler(logging.Handler):
    """Hands each line to the journal; while there is none, to standard error.

    It does not fail with the journal, and never waits for it: what logs may be about to close a camera (R16).
    A line for which a journal that hangs has no room is dropped.
    """

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._line.setblocking(False)  # a journal that hangs must not stop the daemon

    def emit(self, record: logging.LogRecord) -> None:
        """One entry."""
        text = self.format(record)
        fields = {
            "MESSAGE": text,
            "PRIORITY": str(_PRIORITY.get(record.levelno, 5)),
            "SYSLOG_IDENTIFIER": "edgeagent",
            **getattr(record, _FIELDS, {}),
        }
        try:
            self._line.sendto(entry(fields), self._address)
        except BlockingIOError:
            return
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{text}\n")

    def close(self) -> None:
        """Hang up."""
        self._line.close()
        super().close()


def entry(fields: Mapping[str, str]) -> bytes:
    """The datagram. Values have their length before them, so that no line break in one can begin another."""
    parts = []
    for name, value in fields.items():
        content = value.encode(errors="replace")
        parts.append(name.encode() + b"\n" + len(content).to_bytes(8, "little") + content + b"\n")
    return b"".join(parts)


def to_journal(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process's standard error is the journal's, as the service manager set it up."""
    said = (os.environ if environment is None else environment).get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{status.st_dev}:{status.st_ino}"


def set_up(level: int) -> None:
    """Log to the journal if there is one, else as lines with the time on standard error."""
    if to_journal():
        logging.basicConfig(level=level, handlers=[JournalHandler()], format="%(message)s")
    else:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
