"""`python -m unit deploy|update|undeploy|status HOST`, as the Makefile calls it."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from unit import update
from unit.deploy import Order, deploy
from unit.faults import DeployError
from unit.link import Target
from unit.others import status, undeploy

INTERRUPTED = 130
INTERRUPTED_WORDS = (
    "interrupted; the unit stays on, or goes back to, its old version",
    "interrupted; an installation that had begun goes on, and is tried at the next start: make status",
)


def main(arguments: list[str]) -> int:
    """Run one command; its exit code (deploy/README.md lists them)."""
    given = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        target = Target(given.host, given.user, given.port, given.key, given.known_hosts)
        if given.command == "status":
            return status(target)
        if given.command == "undeploy":
            return undeploy(target, dry=given.dry)
        if given.command == "update":
            return update.update(update.Order(target, given.bundle, given.dry, given.wait))
        return deploy(Order(target, given.unit, given.package, given.dry))
    except DeployError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.code
    except FileNotFoundError as error:
        print(f"FolderError: {error.filename}: there is no such file or program", file=sys.stderr)
        return DeployError.code
    except (KeyboardInterrupt, subprocess.CalledProcessError):
        print(INTERRUPTED_WORDS[given.command == "update"], file=sys.stderr)
        return INTERRUPTED


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="unit", description="Deploy to a unit over SSH.")
    parser.add_argument("command", choices=("deploy", "update", "undeploy", "status"))
    parser.add_argument("--host", required=True)
    parser.add_argument("--user", default="root")
    parser.add_argument("--port", type=int, default=22)
    parser.add_argument("--key", type=Path, help="private key for SSH")
    parser.add_argument("--known-hosts", type=Path, help="file of known hosts, instead of the user's")
    parser.add_argument("--unit", type=Path, default=Path("unit"), help="the unit's folder")
    parser.add_argument("--package", type=Path, help="package to use, instead of building it")
    parser.add_argument("--bundle", type=Path, default=Path("update.raucb"), help="signed update of an image")
    parser.add_argument("--wait", type=float, default=900.0, help="seconds for an update's restart and trial")
    parser.add_argument("--dry", action="store_true", help="change nothing; say what would change")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
