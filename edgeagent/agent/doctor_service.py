"""The running daemon as the service manager knows it: the only way to ask it without touching a camera."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import partial

from edgeagent.agent.doctor_finding import CannotTellError, Finding, WorthALookError, attempt
from edgeagent.errors import EdgeAgentError
from edgeagent.safeguards.gate import State as Gate

SERVICE = "edgeagent.service"
USER = "edgeagent"
ASKED = ("LoadState", "ActiveState", "SubState", "Result", "NRestarts", "StatusText", "User", "LimitCORE")
ASK_WITHIN_S = 5.0
JOURNAL = f"journalctl -u {SERVICE} -b"
_STATUS = re.compile(r"([A-Z]+) \[(R\d+)\]")


@dataclass(frozen=True, slots=True)
class Service:
    """What `systemctl show` says; empty where it says nothing."""

    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    restarts: int = 0
    status: str = ""
    user: str = USER
    core_limit: str = ""


def ask_service() -> Service | None:
    """Ask the service manager; None where there is none (a container, a desk)."""
    command = ["systemctl", "show", SERVICE, *(f"--property={name}" for name in ASKED)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    restarts = said.get("NRestarts", "")
    return Service(
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        status=said.get("StatusText", ""),
        user=said.get("User") or USER,
        core_limit=said.get("LimitCORE", ""),
    )


def service_findings(service: Service | None) -> list[Finding]:
    """Whether the daemon runs, and whether it holds a lease now."""
    return [attempt("lease", partial(_lease, service)), attempt("service", partial(_service, service))]


def _service(service: Service | None) -> str:
    service = _known(service)
    if service.load != "loaded":
        raise CannotTellError("is not installed here", next_step="install the unit's package: make deploy")
    if service.active == "failed" or service.sub == "auto-restart":
        raise EdgeAgentError(f"failed ({service.result})", next_step=f"{JOURNAL} says why, at its end")
    if service.active == "activating":
        raise WorthALookError(
            "is starting", next_step=f"ask again in a minute; {JOURNAL} says what it waits for"
        )
    if service.active != "active":
        raise EdgeAgentError(
            f"{service.active} ({service.sub})", next_step=f"systemctl start {SERVICE}; then {JOURNAL}"
        )
    if service.core_limit not in ("", "0"):
        raise WorthALookError(
            "may write core dumps", rule="R1", next_step="install the package's own service file"
        )
    if service.restarts:
        raise WorthALookError(
            f"{service.active} ({service.sub}), started again {service.restarts} times",
            next_step=f"{JOURNAL} says why",
        )
    return f"{service.active} ({service.sub})"


def _lease(service: Service | None) -> str:
    """R16: only the daemon knows; nothing here could hold, ask for or prolong a lease."""
    service = _known(service)
    said = _STATUS.match(service.status)
    if service.active != "active" or said is None:
        raise CannotTellError("only the running daemon knows, and it says nothing")
    state, rule = said.groups()
    match state:
        case Gate.LIVE:
            return f"held: LIVE, camera open [{rule}]"
        case Gate.STANDBY if rule == "R16":
            return f"none: STANDBY, camera closed, no officers on the ground [{rule}]"
        case Gate.STANDBY:
            raise WorthALookError(
                f"STANDBY, camera closed [{rule}]", next_step=f"the control room sees why; so does {JOURNAL}"
            )
        case Gate.CLOSED:
            raise WorthALookError(
                f"none: the deployment is over [{rule}]", next_step="a new one needs new documents"
            )
    raise WorthALookError(
        f"none: {state}, camera closed [{rule}]",
        next_step="see 'authority and list' and 'clock' above; the journal has the reason",
    )


def _known(service: Service | None) -> Service:
    if service is None:
        raise CannotTellError("no service manager answers here")
    return service
