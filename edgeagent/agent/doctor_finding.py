"""One line of an examination: what was looked at, what was found, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from errno import EACCES
from pathlib import Path

from edgeagent.documents.words import plain
from edgeagent.errors import EdgeAgentError

ALLOW = "correct owner and mode, or run this as root"
DISK = "check the disk, then restart the unit"


class State(StrEnum):
    """What a check found. The order is that of their weight."""

    OK = "ok"
    UNKNOWN = "cannot tell here"
    LOOK = "look"
    BROKEN = "broken"


class WorthALookError(EdgeAgentError):
    """Works, but somebody should look at it before the next deployment."""


class CannotTellError(EdgeAgentError):
    """This machine does not say, or nobody who knows is running."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination; `next_step` is empty where nothing needs to be done."""

    subject: str
    state: State
    text: str
    next_step: str = ""


def attempt(subject: str, check: Callable[[], str]) -> Finding:
    """Make one check; its error becomes a finding, so that one failure does not end the rest.

    What is shown moves no cursor: a camera's name, say, is what whoever plugged it in made it.
    """
    try:
        return Finding(subject, State.OK, plain(check()))
    except EdgeAgentError as error:
        said = EdgeAgentError(error.what, where=error.where, rule=error.rule)
        return Finding(subject, _state_of(error), plain(str(said)), plain(error.next_step))
    except OSError as error:
        said = EdgeAgentError(error.strerror or type(error).__name__, where=str(error.filename or ""))
        return Finding(subject, State.BROKEN, plain(str(said)), ALLOW if error.errno == EACCES else DISK)


def line_of(file: Path) -> str:
    """The file's text without its end; empty when it is missing or cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def number_of(file: Path) -> int | None:
    """The whole number in the file; None where there is none."""
    try:
        return int(line_of(file))
    except ValueError:
        return None


def broken(findings: Iterable[Finding]) -> bool:
    """Whether anything must be mended before the unit can work."""
    return any(finding.state is State.BROKEN for finding in findings)


def _state_of(error: EdgeAgentError) -> State:
    if isinstance(error, WorthALookError):
        return State.LOOK
    return State.UNKNOWN if isinstance(error, CannotTellError) else State.BROKEN
