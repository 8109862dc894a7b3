"""What runs on the unit: `edgeagent validate-config`, `run`."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click

from edgeagent import __version__
from edgeagent.agent.build import run_unit
from edgeagent.agent.enrol import refuse_another_root
from edgeagent.agent.enrol_state import refuse_before_enrolment, refuse_without_keys
from edgeagent.cli.options import config_option, json_option
from edgeagent.config import load_config
from edgeagent.system import journal
from edgeagent.system.clock import SystemClock
from edgeagent.system.process import protect_memory

CONFIG = "/etc/edgeagent/edgeagent.toml"


@click.command()
@config_option(CONFIG)
@click.option("--verbose", is_flag=True, help="Log every message that was refused, too.")
def run(config: Path, verbose: bool) -> None:
    """Run the unit's daemon until interrupted.

    The camera opens only under a signed authority while a signed lease is held, and closes by itself.
    """
    journal.set_up(logging.DEBUG if verbose else logging.INFO)
    exposure = protect_memory()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    refuse_before_enrolment(config)
    unit = load_config(config)
    refuse_without_keys(unit)
    refuse_another_root(config, unit.trust.root)
    run_unit(unit, SystemClock(), stop, exposure, __version__)


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
