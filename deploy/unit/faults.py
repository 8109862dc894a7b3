"""How a deployment fails: by name, with what to do next, and with a code of its own."""

from __future__ import annotations

from edgeagent.errors import EdgeAgentError

DONE, REFUSED, FOLDER, NOT_ENROLLED, ROLLED_BACK, CONNECTION = 0, 1, 2, 3, 4, 5
UNHEALTHY = 1


class DeployError(EdgeAgentError):
    """A deployment did not happen; `code` is the command's exit code."""

    code = REFUSED


class FolderError(DeployError):
    """The arguments or the folder of the unit are wrong; no unit was spoken to."""

    code = FOLDER


class ConnectionLostError(DeployError):
    """The unit cannot be reached, or not any more."""

    code = CONNECTION


class RolledBackError(DeployError):
    """The new version did not prove itself; the unit is on the one before it."""

    code = ROLLED_BACK
