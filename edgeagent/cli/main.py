"""The command's root, and how errors leave it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence

import click
from pydantic import ValidationError

from edgeagent import __version__
from edgeagent.errors import ConfigError, EdgeAgentError

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


_COMMANDS = {
    "alerts": "edgeagent.cli.alerts",
    "audit": "edgeagent.cli.audit",
    "authority": "edgeagent.cli.authority",
    "certify": "edgeagent.cli.certify",
    "demo": "edgeagent.cli.demo",
    "doctor": "edgeagent.cli.doctor",
    "documents": "edgeagent.cli.documents",
    "enrol": "edgeagent.cli.enrol",
    "enrolment": "edgeagent.cli.enrolment",
    "evaluate": "edgeagent.cli.evaluate",
    "fleet": "edgeagent.cli.fleet",
    "keys": "edgeagent.cli.keys",
    "lease": "edgeagent.cli.lease",
    "models": "edgeagent.cli.models",
    "record": "edgeagent.cli.record",
    "retention": "edgeagent.cli.retention",
    "rate": "edgeagent.cli.rate",
    "run": "edgeagent.cli.unit",
    "validate-config": "edgeagent.cli.unit",
    "watchlist": "edgeagent.cli.watchlist",
}


class _OnDemand(click.Group):
    """A group whose commands are imported when they are named: making a key must not load a network."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edgeagent")
def edgeagent() -> None:
    """Live facial recognition on a camera appliance, within limits that the program itself enforces.

    A unit compares faces with the signed watchlist of one deployment, publishes only hits, and only while
    officers on the ground hold a lease. To see it work: edgeagent demo.

    \b
    To see it work    demo
    On the unit       enrol, validate-config, doctor, run
    At the desk       keys, watchlist, authority
    Control room      enrolment, lease, alerts, rate
    Evaluator         models, evaluate, certify
    Afterwards        record, retention
    To check          documents, audit
    On a bench        fleet
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a named error is printed as one line and ends with 2, an interruption with 130."""
    try:
        # Not standalone, click returns the code of an early exit instead of raising it.
        code = edgeagent.main(arguments, prog_name="edgeagent", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except EdgeAgentError as error:
        _print_error(error)
        sys.exit(EXIT_REFUSED)
    except OSError as error:
        _print_error(_of_system(error))
        sys.exit(EXIT_REFUSED)
    except ValidationError as error:
        _print_error(_of_value(error))
        sys.exit(EXIT_REFUSED)
    except click.ClickException as error:
        _print_usage(error)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _of_system(error: OSError) -> EdgeAgentError:
    """A file that cannot be written, a disk that is full: the system's words, and where."""
    return EdgeAgentError(
        error.strerror or type(error).__name__,
        where=str(error.filename or ""),
        next_step="check that the folder exists, that it may be written to, and that the disk has room",
    )


def _of_value(error: ValidationError) -> EdgeAgentError:
    """A value from the command line that no document may hold; the value itself is not repeated."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    return ConfigError(str(fault["msg"]), where=key, next_step="correct the value")


def _print_usage(error: click.ClickException) -> None:
    if "--json" in sys.argv:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "edgeagent"
        _print_error(ConfigError(error.format_message(), where="command line", next_step=f"{command} --help"))
    else:
        error.show()


def _print_error(error: EdgeAgentError) -> None:
    if "--json" in sys.argv:
        fields = ("what", "where", "next_step", "rule")
        report = {"error": type(error).__name__, **{name: getattr(error, name) for name in fields}}
        click.echo(json.dumps(report), err=True)
    else:
        click.echo(f"{type(error).__name__}: {error}", err=True)
