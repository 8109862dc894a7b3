"""`make status` and `make undeploy`."""

from __future__ import annotations

from unit import faults
from unit.faults import DeployError
from unit.link import Target, connected
from unit.preflight import look
from unit.say import table
from unit.tool import install

HEALTHY = ("LOCKED", "STANDBY", "LIVE", "CLOSED")


def status(target: Target) -> int:
    """Say how a unit stands; 0 if its daemon is READY."""
    with connected(target) as link:
        facts, offset = look(install(link))
    print("\n".join(table(facts, offset)))
    service = facts["service"]
    ready = service.get("ActiveState") == "active" and service.get("StatusText", "").startswith(HEALTHY)
    return faults.DONE if ready else faults.UNHEALTHY


def undeploy(target: Target, *, dry: bool) -> int:
    """Take the program off a unit.

    Raises:
        DeployError: it is LIVE, or a switch is under way.
    """
    with connected(target) as link:
        tool = install(link)
        with tool.alone():
            facts, _ = look(tool)
            if facts["service"].get("StatusText", "").startswith("LIVE"):
                raise DeployError(
                    "is LIVE: officers rely on it now",
                    where=target.host,
                    next_step="wait until they have left",
                )
            if facts["pending"]:
                raise DeployError("a switch is under way", where=target.host, next_step="wait a minute")
            if facts["release"] is None:
                print(f"nothing to remove: {target.host} has no release of edgeagent")
                return faults.DONE
            print(f"program {facts['release']}, configuration {facts['config']}, packet filter")
            if dry:
                print("dry run; these would be removed, nothing was")
                return faults.DONE
            stays = tool.ask("remove")["stays"]
    print(f"removed. It keeps {', '.join(stays) or 'nothing'}: read the audit log before you wipe the card")
    return faults.DONE
