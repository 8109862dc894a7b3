"""The `edgeagent` command: parses, calls, prints. The only place that exits."""

from edgeagent.cli.main import main

__all__ = ["main"]
