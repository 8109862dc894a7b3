"""`edgeagent doctor`: the examination as a table for the phone, or as JSON."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from errno import EACCES
from pathlib import Path

import click

from edgeagent import __version__
from edgeagent.agent.doctor import examine
from edgeagent.agent.doctor_finding import Finding, State, broken
from edgeagent.cli.options import config_option, json_option
from edgeagent.system.clock import SystemClock

CONFIG = "/etc/edgeagent/edgeagent.toml"
EXIT_BROKEN = 1
WIDTH = 80
_STATE_WIDTH = 7
_MARKS = {
    State.OK: ("ok", "green"),
    State.UNKNOWN: ("?", "cyan"),
    State.LOOK: ("look", "yellow"),
    State.BROKEN: ("BROKEN", "red"),
}
_COUNTED = {
    State.BROKEN: "broken",
    State.LOOK: "to look at",
    State.UNKNOWN: "cannot be told here (?)",
    State.OK: "ok",
}


@click.command()
@config_option(CONFIG)
@json_option
def doctor(config: Path, as_json: bool) -> None:
    """Examine the unit and say what to do next.

    It opens no camera and no list, and changes nothing; it may run beside the daemon.

    \b
    Exit code 0  nothing is broken (some of it may be worth a look)
              1  something is broken
              2  the examination itself could not be made
    """
    findings = examine(config, SystemClock())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        click.echo("\n".join(table(findings)))
    if broken(findings):
        raise click.exceptions.Exit(EXIT_BROKEN)


def table(findings: list[Finding], width: int = WIDTH) -> list[str]:
    """Lines of at most `width` characters for a terminal: state, subject, text, and what to do next."""
    subject_width = max(len(finding.subject) for finding in findings)
    lines = [f"edgeagent {__version__} doctor", ""]
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        head = f"{click.style(f'{mark:<{_STATE_WIDTH}}', fg=colour)}{finding.subject:<{subject_width}}  "
        room = width - _STATE_WIDTH - subject_width - 2
        said = _wrapped(finding.text, room)
        if finding.next_step:
            said += _wrapped(finding.next_step, room, first="→ ")
        lines.append(f"{head}{said[0]}")
        lines += [f"{'':{width - room}}{line}" for line in said[1:]]
    return [*lines, "", *_not_root(findings), summary(findings)]


def _not_root(findings: Iterable[Finding]) -> list[str]:
    refused = any(os.strerror(EACCES) in finding.text for finding in findings)
    return (
        ["You are not root, so some of this is about you: sudo edgeagent doctor"]
        if refused and os.geteuid()
        else []
    )


def summary(findings: Iterable[Finding]) -> str:
    """How many of each state, the worst first."""
    counts = Counter(finding.state for finding in findings)
    return ", ".join(f"{counts[state]} {words}" for state, words in _COUNTED.items() if counts[state])


def _wrapped(text: str, room: int, first: str = "") -> list[str]:
    indent = " " * len(first)
    return textwrap.wrap(
        text, room, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    ) or [first]
