"""`edgeagent documents verify`: what a signed file is, says, and whether this unit would accept it now."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from edgeagent.agent.checks import Check, Outcome, Place
from edgeagent.agent.explain import Explanation, explain
from edgeagent.cli.options import FILE, configured_trust, json_option, open_trust
from edgeagent.config import Config, load_config
from edgeagent.documents.explain import NAMES
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import ALERT, HEALTH, STATE
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.watchlist_file import FILE_LIMIT
from edgeagent.documents.words import Lines, moment
from edgeagent.errors import DocumentError, EdgeAgentError, ModelError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded
from edgeagent.system.modelpack import ModelPack, load_pack

WIDTH = 100
_COLOURS = {Outcome.GOOD: "green", Outcome.REFUSED: "red", Outcome.UNCHECKED: "yellow"}


@click.group()
def documents() -> None:
    """Read and check any signed document."""


@documents.command("verify")
@click.argument("file", type=FILE)
@click.option("--config", "config_file", type=FILE, help="Check as the unit of this configuration would.")
@click.option("--trust", "trust_file", type=FILE, help="Trust store, where there is no unit.")
@click.option("--root", help="Thumbprint of the root key.")
@click.option("--as-of", metavar="TIME", help="Check for this time, e.g. 2031-05-06T12:00:00Z; else for now.")
@json_option
def verify_document(
    file: Path,
    config_file: Path | None,
    trust_file: Path | None,
    root: str | None,
    as_of: str | None,
    as_json: bool,
) -> None:
    """Explain FILE in plain words: what it is and says, who signed, whether it would be accepted.

    Takes a trust store, authority, bench authority, watchlist, certificate, revocation, lease, receipt,
    alert, state, health, decision, verdict, review, checkpoint, one-time key, return or enrolment, bare or as
    a message.
    Opens nothing that is sealed and remembers nothing. Exit: 0 accepted, 1 refused, 2 not readable.
    """
    if (config_file is None) == (root is None) or (trust_file is not None and root is None):
        raise click.UsageError("give either --config, or --root and (but for a trust store itself) --trust")
    now = _instant(as_of)
    content = read_bounded(file, FILE_LIMIT)
    place = _unit_place(config_file, now) if config_file else _desk_place(trust_file, root or "", now)
    try:
        explanation = explain(content, place)
    except DocumentError as refusal:
        where = f"{file}: {refusal.where}" if refusal.where else str(file)
        raise DocumentError(refusal.what, where=where, next_step=refusal.next_step) from refusal
    if as_json:
        click.echo(json.dumps(_for_program(file, explanation, place)))
    else:
        _print(file, explanation, place)
    if not explanation.accepted:
        raise click.exceptions.Exit(1)


def _instant(as_of: str | None) -> Instant:
    now = SystemClock().now()
    if as_of is None:
        return now
    try:
        wall = datetime.fromisoformat(as_of)
    except ValueError as cause:
        raise click.UsageError(f"--as-of: {as_of!r} is not a time like 2031-05-06T12:00:00Z") from cause
    if wall.tzinfo is None:
        raise click.UsageError("--as-of: add the time zone, e.g. Z for UTC")
    return Instant(now.monotonic_ns, wall.astimezone(UTC), synchronised=True)


def _desk_place(trust_file: Path | None, root: str, now: Instant) -> Place:
    return Place(root, None if trust_file is None else open_trust(trust_file, root), now)


def _unit_place(file: Path, now: Instant) -> Place:
    """As the unit would see it, without its private key."""
    config = load_config(file)
    seen = HighWater(config.data_folder / "seen.json")
    pack = _installed_pack(config.models_folder)
    place = Place(config.trust.root, _installed_trust(config), now, config, seen)
    return place if pack is None else replace(place, model_pack_sha256=pack.sha256, model_use=pack.use)


def _installed_trust(config: Config) -> TrustStore | None:
    """None if there is none that counts: a new trust store must be explicable before it is installed."""
    try:
        return configured_trust(config.trust, config.file)
    except EdgeAgentError as fault:
        click.echo(f"note: the installed trust store cannot be used: {fault}", err=True)
        return None


def _installed_pack(folder: Path) -> ModelPack | None:
    try:
        return load_pack(folder)
    except ModelError as fault:
        click.echo(f"note: the installed model pack cannot be used: {fault}", err=True)
        return None


# --- for a person -------------------------------------------------------------------------------------------


def _print(file: Path, explanation: Explanation, place: Place) -> None:
    how = ", as an MQTT message" if explanation.envelope else ""
    click.echo(f"{file}\n  {NAMES[explanation.typ]}{how}")
    click.echo(f"  SHA-256 {explanation.sha256}\n")
    reliable = "" if explanation.genuine else "  (NOT to be relied on: its signatures do not hold)"
    _section(f"What it says{reliable}", explanation.says or [("", "its content cannot be read")])
    _section("Who signed" if explanation.genuine else "Who it says signed", explanation.signers)
    click.echo(f"Checks, for {moment(place.now.wall, place.now.wall).removesuffix(' (now)')}")
    for check in explanation.checks:
        _print_check(check)
    click.echo(f"\n{_verdict(explanation, place)}")


def _section(title: str, lines: Lines) -> None:
    click.echo(title)
    width = max(len(label) for label, _ in lines) + 2
    for label, text in lines:
        wrapped = textwrap.wrap(text, WIDTH - width - 2) or [""]
        click.echo(f"  {label:<{width}}{wrapped[0]}")
        for more in wrapped[1:]:
            click.echo(f"  {'':<{width}}{more}")
    click.echo()


def _print_check(check: Check) -> None:
    mark = click.style(f"{check.outcome.value:<11}", fg=_COLOURS[check.outcome])
    rule = f" [{check.rule}]" if check.rule else ""
    because = "because " if check.outcome is Outcome.UNCHECKED else ""
    text = f": {because}{check.text}" if check.text else ""
    where = f" ({check.where})" if check.where else ""
    lines = textwrap.wrap(f"{check.subject}{text}{where}{rule}", WIDTH - 15)
    if check.next_step:
        lines += textwrap.wrap(check.next_step, WIDTH - 17, initial_indent="→ ", subsequent_indent="  ")
    click.echo(f"  {mark}  {lines[0]}")
    for more in lines[1:]:
        click.echo(f"  {'':<11}  {more}")


def _verdict(explanation: Explanation, place: Place) -> str:
    desk = explanation.typ in (ALERT.typ, STATE.typ, HEALTH.typ)
    where = f"on unit {place.config.unit.name} " if place.config and not desk else ""
    refused = [check for check in explanation.checks if check.outcome is Outcome.REFUSED]
    if refused:
        rules = ", ".join(dict.fromkeys(check.rule for check in refused if check.rule))
        return click.style(
            f"REFUSED {where}at this time{f' ({rules})' if rules else ''}", fg="red", bold=True
        )
    left = any(check.outcome is Outcome.UNCHECKED for check in explanation.checks)
    words = f"ACCEPTED {where}at this time" + (", as far as it could be checked here" if left else "")
    return click.style(words, fg="green", bold=True)


# --- for a program ------------------------------------------------------------------------------------------


def _for_program(file: Path, explanation: Explanation, place: Place) -> dict[str, Any]:
    body = explanation.body
    return {
        "file": str(file),
        "typ": explanation.typ,
        "sha256": explanation.sha256,
        "accepted": explanation.accepted,
        "genuine": explanation.genuine,
        "as_of": place.now.wall.isoformat(),
        "body": None if body is None else body.model_dump(mode="json"),
        "signers": [{"role": role, "text": text} for role, text in explanation.signers],
        "checks": [
            {
                "subject": check.subject,
                "outcome": check.outcome.value,
                "text": check.text,
                "where": check.where,
                "rule": check.rule or None,
                "next_step": check.next_step,
            }
            for check in explanation.checks
        ],
    }
