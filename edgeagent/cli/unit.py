"""What runs on the unit: `edgeagent validate-config`, `doctor`, `run`."""

from __future__ import annotations

import json
import logging
import signal
import threading
from pathlib import Path

import click

from edgeagent import __version__
from edgeagent.agent.build import run_unit
from edgeagent.agent.doctor import Verdict, examine
from edgeagent.cli.options import config_option, json_option
from edgeagent.config import load_config
from edgeagent.system.clock import SystemClock
from edgeagent.system.process import protect_memory

CONFIG = "/etc/edgeagent/edgeagent.toml"
_MARKS = {Verdict.GOOD: ("ok", "green"), Verdict.NOTE: ("note", "yellow"), Verdict.BAD: ("FAIL", "red")}


@click.command()
@config_option(CONFIG)
@click.option("--verbose", is_flag=True, help="Log every message that was refused, too.")
def run(config: Path, verbose: bool) -> None:
    """Run the unit's daemon until interrupted.

    The camera opens only under a signed authority while a signed lease is held, and closes by itself.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    exposure = protect_memory()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run_unit(load_config(config), SystemClock(), stop, exposure, __version__)


@click.command("validate-config")
@config_option(CONFIG)
@json_option
def validate_config(config: Path, as_json: bool) -> None:
    """Check the configuration file; the message names file, key and what to do."""
    checked = load_config(config)
    if as_json:
        click.echo(checked.model_dump_json())
    else:
        click.echo(f"{config}: good; unit {checked.unit.name}, source {checked.camera.source}")


@click.command()
@config_option(CONFIG)
@json_option
def doctor(config: Path, as_json: bool) -> None:
    """Examine the unit and say what to do next; exit 1 if anything fails."""
    findings = examine(config, SystemClock())
    if as_json:
        click.echo(json.dumps([finding.__dict__ for finding in findings]))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark, colour = _MARKS[Verdict(finding.verdict)]
            click.echo(f"{click.style(f'{mark:>4}', fg=colour)}  {finding.subject:<{width}}  {finding.text}")
            if finding.next_step:
                click.echo(f"{'':>{width + 8}}→ {finding.next_step}")
    if any(finding.verdict == Verdict.BAD for finding in findings):
        raise click.exceptions.Exit(1)
