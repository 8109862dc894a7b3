"""`make status` and `make undeploy`."""

from __future__ import annotations

from typing import Any

from unit import faults
from unit.faults import DeployError
from unit.link import Target, connected
from unit.on_unit.service import LIVE, WHILE_LIVE, is_live
from unit.preflight import look
from unit.say import left_behind, table
from unit.tool import install

HEALTHY = ("LOCKED", "STANDBY", "LIVE", "CLOSED")


def status(target: Target) -> int:
    """Say how a unit stands; 0 if its daemon is READY."""
    with connected(target) as link:
        tool = install(link)
        facts, offset = look(tool)
        image = tool.ask("image")
    print("\n".join(table(facts, offset, image)))
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
            if is_live(facts["service"]):
                raise DeployError(LIVE, where=target.host, next_step=WHILE_LIVE)
            if facts["pending"]:
                raise DeployError("a switch is under way", where=target.host, next_step="wait a minute")
            if facts["release"] is None:
                print(f"nothing to remove: {target.host} has no release of edgeagent")
                _say_what_stays(target, tool.ask("stays"))
                return faults.DONE
            print(f"program {facts['release']}, configuration {facts['config']}, packet filter")
            if dry:
                print("dry run; these would be removed, nothing was")
                _say_what_stays(target, tool.ask("stays"))
                return faults.DONE
            stays = tool.ask("remove")
    print("removed; the unit has no packet filter of ours any more")
    _say_what_stays(target, stays)
    return faults.DONE


def _say_what_stays(target: Target, stays: dict[str, Any]) -> None:
    print("\n".join(left_behind(target.host, stays)))
