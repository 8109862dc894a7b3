"""`edgeagent audit`: verify a unit's log offline, and read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edgeagent.alerts.envelope import OVERHEAD, unwrap
from edgeagent.audit.chain import Head, decode
from edgeagent.audit.events import Act, Entry
from edgeagent.audit.segments import lines_of, segments
from edgeagent.audit.verify import Published, Verdict, published_line, verify_log
from edgeagent.cli.interruption import progress
from edgeagent.cli.options import FILE, json_option, open_trust
from edgeagent.documents.explain import recognise
from edgeagent.documents.table import STATE
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.words import plain
from edgeagent.errors import AuditError
from edgeagent.system.files import read_bounded

_DIGEST = re.compile(r"[0-9a-f]{64}|[A-Za-z0-9_-]{43}")
EXIT_BAD, EXIT_UNSIGNED = 1, 3
PATHS = click.Path(exists=True, path_type=Path)


def _head(text: str) -> Head:
    """A line as `SEQUENCE:SHA256`."""
    found = re.fullmatch(r"([0-9]{1,16}):([0-9a-f]{64})", text)
    if found is None:
        raise click.UsageError(f"--at-least: {text!r} is not a line's number, a colon and its SHA-256")
    return Head(int(found[1]), found[2])


@click.group()
def audit() -> None:
    """The unit's audit log: what was collected, consulted, disclosed and erased (R25, R26)."""


@audit.command("verify")
@click.argument("files", nargs=-1, required=True, type=PATHS)
@click.option("--trust", "trust_file", type=FILE, help="Trust store of the time of the log.")
@click.option("--root", help="Thumbprint of the root key.")
@click.option("--state", "states", multiple=True, type=FILE, help="A state that the unit published.")
@click.option(
    "--at-least", "heads", multiple=True, metavar="SEQ:HASH", help="A line that is known to have been there."
)
@json_option
def verify_command(
    files: tuple[Path, ...],
    trust_file: Path | None,
    root: str | None,
    states: tuple[Path, ...],
    heads: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify a log: FILES of one unit, oldest first, or the folder that they are in.

    Needs no unit and no network. Give a published state or line as well if you have one: only that can
    show that the log was cut back to an earlier line. Exit: 0 good, 1 bad, 3 whole but nobody's signature
    was checked.
    """
    if (trust_file is None) != (root is None) or (states and trust_file is None):
        raise click.UsageError("give --trust and --root together; --state needs them")
    trust = None if trust_file is None else open_trust(trust_file, root or "")
    published = [Published(_head(head), "given as --at-least") for head in heads]
    unit = None
    for file in states:
        unit, line = _published(file, trust)
        published.append(line)
    verdict = _verify(_expanded(files), trust, published, unit)
    if as_json:
        click.echo(json.dumps(_for_program(verdict)))
    else:
        _print(verdict, published)
    if verdict.fault is not None:
        raise click.exceptions.Exit(EXIT_BAD)
    if not verdict.signed:
        raise click.exceptions.Exit(EXIT_UNSIGNED)


@audit.command()
@click.argument("files", nargs=-1, required=True, type=PATHS)
@click.option("--act", type=click.Choice([act.value for act in Act]), help="Only this act of DPA 2018 s62.")
@json_option
def show(files: tuple[Path, ...], act: str | None, as_json: bool) -> None:
    """Print a log, one line an event; a time with ? is of a clock that nobody vouched for.

    It shows what is written; whether the unit wrote it, `audit verify` tells.
    """
    for path in _expanded(files):
        for number, line in enumerate(lines_of(path), start=1):
            try:
                entry = decode(line)
            except AuditError as fault:
                raise AuditError(
                    f"line {number} {fault.what}", where=str(path), next_step=f"edgeagent audit verify {path}"
                ) from fault
            if act is None or entry.body.act.value == act:
                click.echo(line.decode().rstrip("\n") if as_json else _sentence(entry))


def _expanded(files: Iterable[Path]) -> list[Path]:
    """A folder stands for the log's files in it."""
    found: list[Path] = []
    for file in files:
        found += [path for _, path in segments(file)] if file.is_dir() else [file]
    if not found:
        raise click.UsageError("there is no audit-NNNNNN.jsonl in that folder")
    return found


def _published(file: Path, trust: TrustStore | None) -> tuple[str, Published]:
    if trust is None:
        raise click.UsageError("--state needs --trust and --root")
    content = read_bounded(file, STATE.limit + OVERHEAD)
    return published_line(recognise(content, unwrap).document, trust, str(file))


def _verify(
    files: list[Path], trust: TrustStore | None, published: list[Published], unit: str | None
) -> Verdict:
    total = sum(file.stat().st_size for file in files)
    with progress(total, "verifying") as done:
        return verify_log(files, trust, published, unit=unit, progress=done)


# --- for a person -------------------------------------------------------------------------------------------


def _print(verdict: Verdict, published: list[Published]) -> None:
    lines = [
        ("unit", verdict.unit or "not known"),
        ("entries", f"{verdict.entries:,}, numbers {verdict.first:,} to {verdict.last:,}"),
        ("period", f"{_time(verdict.began)} to {_time(verdict.ended)}"),
        ("starts", f"{verdict.starts} of the daemon"),
        ("checkpoints", _checkpoints(verdict)),
    ]
    lines += [("published", f"line {one.head.sequence}: {one.source}") for one in published]
    lines += [("note", note) for note in verdict.notes]
    for label, text in lines:
        click.echo(f"  {label:<12} {text}")
    click.echo()
    if verdict.fault is not None:
        fault = verdict.fault
        where = f"{fault.file}, line {fault.line}" if fault.line else fault.file
        click.echo(click.style("BAD", fg="red", bold=True) + f"  {where}: {fault.why}")
    elif not verdict.signed:
        unchecked = "the chain is whole, but anybody could have made it: give --trust and --root"
        click.echo(click.style("UNSIGNED", fg="yellow", bold=True) + f"  {unchecked}")
    else:
        cut = "" if published else "; whether it was cut back later shows only a published line (--state)"
        words = f"nothing is altered or missing up to line {verdict.sealed:,}, as the unit signed{cut}"
        click.echo(click.style("GOOD", fg="green", bold=True) + f"  {words}")


def _checkpoints(verdict: Verdict) -> str:
    after = verdict.last - verdict.sealed
    unsigned = f", {after} line(s) after it not signed yet" if after else ""
    return f"{verdict.checkpoints}, the last is line {verdict.sealed:,}{unsigned}"


def _time(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"


def _sentence(entry: Entry) -> str:
    said = entry.body.model_dump(mode="json", exclude={"event", "token"})
    details = ", ".join(f"{name} {_value(value)}" for name, value in said.items() if value not in (None, ""))
    clock = " " if entry.clock_trusted else "?"
    body = entry.body
    return f"{entry.sequence:>7} {_time(entry.at)}{clock} {body.act:<12} {body.event:<17} {plain(details)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return f"{value[:12]}…" if isinstance(value, str) and _DIGEST.fullmatch(value) else str(value)


# --- for a program ------------------------------------------------------------------------------------------


def _for_program(verdict: Verdict) -> dict[str, Any]:
    said = asdict(verdict)
    times = {name: said[name].isoformat() if said[name] else None for name in ("began", "ended")}
    return {"good": verdict.good, **said, **times}
