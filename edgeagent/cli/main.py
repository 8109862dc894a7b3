"""The command's root, and how errors leave it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from edgeagent import __version__
from edgeagent.cli.alerts import alerts
from edgeagent.cli.authority import authority
from edgeagent.cli.demo import demo
from edgeagent.cli.keys import keys
from edgeagent.cli.lease import lease
from edgeagent.cli.unit import doctor, run, validate_config
from edgeagent.cli.watchlist import watchlist
from edgeagent.errors import EdgeAgentError

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgeagent")
def edgeagent() -> None:
    """Live facial recognition on a camera appliance, within limits that the program itself enforces.

    A unit compares faces with the signed watchlist of one deployment, publishes only hits, and only while
    officers on the ground hold a lease. To see it work: edgeagent demo.

    \b
    On the unit       validate-config, doctor, run
    At the desk       keys, watchlist, authority
    Control room      lease, alerts
    """


for _command in (alerts, authority, demo, doctor, keys, lease, run, validate_config, watchlist):
    edgeagent.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a named error is printed as one line and ends with 2, an interruption with 130."""
    try:
        edgeagent.main(arguments, standalone_mode=False)
    except EdgeAgentError as error:
        _print_error(error)
        sys.exit(EXIT_REFUSED)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _print_error(error: EdgeAgentError) -> None:
    if "--json" in sys.argv:
        fields = ("what", "where", "next_step", "rule")
        report = {"error": type(error).__name__, **{name: getattr(error, name) for name in fields}}
        click.echo(json.dumps(report), err=True)
    else:
        click.echo(f"{type(error).__name__}: {error}", err=True)
