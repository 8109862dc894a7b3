"""`make update`: a signed update for a unit that runs an image, and whether it was kept."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unit import faults
from unit.faults import ConnectionLostError, DeployError, FolderError, RolledBackError
from unit.link import Target, connected
from unit.on_unit.image import kept, other
from unit.preflight import at_this_moment, look, refuse_any
from unit.say import MEBI, Steps
from unit.tool import Tool, install

MAGIC = b"hsqs"
ROOM = 16 << 20
STEPS = 6
POLL_S = 5.0


@dataclass(frozen=True)
class Order:
    """What was asked for; `wait_s`: how long the unit may take to come back and judge."""

    target: Target
    bundle: Path
    dry: bool
    wait_s: float


def update(order: Order) -> int:
    """Update; the exit code.

    Raises:
        DeployError: named, with what to do.
        RolledBackError: the new version did not prove itself; the unit is back on the one before.
    """
    size = _size(order.bundle)
    steps = Steps(STEPS)
    steps.step(f"connecting to {order.target.host} as {order.target.user}")
    with connected(order.target) as link:
        tool = install(link)
        with tool.alone():
            steps.step("looking at the unit: image, slots, clock, space")
            before = _fit(tool, size)
            slot = other(before)
            steps.note(f"runs version {before['version']} from slot {before['running']}")
            if order.dry:
                print(f"dry run; nothing was changed. {size / MEBI:.0f} MiB would go into slot {slot}")
                return faults.DONE
            _copy(tool, order.bundle, size, steps)
            steps.step(f"installing into slot {slot}; the unit looks at signature, board and version")
            tool.ask("install-update")
            steps.step("restarting the unit")
            tool.ask("restart")
    steps.step("waiting until the unit has tried it and kept it, or gone back")
    after, service = _judged(order, before)
    if after["running"] != slot:
        raise RolledBackError(
            f"the update did not prove itself: version {after['version']} runs again",
            where=order.target.host,
            next_step="the unit does what it did before; tell whoever built the update",
        )
    print(f"changed:\n  version: {before['version']} → {after['version']}, slot {slot}, kept")
    if service.get("ActiveState") != "active":
        print(f"kept in {steps.seconds:.0f} s; its agent does not run: make status HOST={order.target.host}")
        return faults.NOT_ENROLLED
    print(f"READY in {steps.seconds:.0f} s: {service.get('StatusText', '')}")
    return faults.DONE


def _size(bundle: Path) -> int:
    if not bundle.is_file():
        raise FolderError(
            "there is no such file", where=f"BUNDLE={bundle}", next_step="make image BOARD=… builds one"
        )
    with bundle.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FolderError(
                "is no signed update", where=f"BUNDLE={bundle}", next_step="take the file update.raucb"
            )
    return bundle.stat().st_size


def _fit(tool: Tool, size: int) -> dict[str, Any]:
    """What the unit runs, if an update may begin."""
    facts, offset = look(tool)
    found: dict[str, Any] | None = tool.ask("image")
    if found is None:
        raise DeployError(
            "runs an installed system, no image", where="the unit", next_step="use make deploy HOST= there"
        )
    refuse_any(
        *at_this_moment(facts, offset),
        (
            not kept(found, found["running"]),
            f"has not kept the version yet that it runs (slot {found['running']})",
            "wait three minutes: it keeps it or goes back; then make status",
        ),
        (
            found["free"] < size + ROOM,
            f"disk is full: {found['free'] // MEBI} MiB free on /data, {(size + ROOM) // MEBI} MiB needed",
            "remove what is not the unit's from /data",
        ),
    )
    return found


def _copy(tool: Tool, bundle: Path, size: int, steps: Steps) -> None:
    steps.step(f"copying {size / MEBI:.0f} MiB")
    with bundle.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with steps.bar(size) as told:
        tool.give(bundle.name, bundle, sha256, told, step="receive-update")


def _judged(order: Order, before: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The unit after it has started anew and said whether the other slot is kept."""
    until = time.monotonic() + order.wait_s
    last = ""
    while time.monotonic() < until:
        time.sleep(POLL_S)
        try:
            with connected(order.target) as link:
                tool = install(link)
                found: dict[str, Any] = tool.ask("image")
                if found["boot"] != before["boot"] and _decided(found, other(before)):
                    return found, look(tool)[0]["service"]
                last = ": it has not restarted yet"
                if found["boot"] != before["boot"]:
                    last = f": slot {found['running']} runs and is not decided on"
        except DeployError as error:  # it stops or starts; of something worse the last word tells
            last = f": {error.what}"
    raise ConnectionLostError(
        f"has not decided within {order.wait_s:.0f} s{last}",
        where=order.target.host,
        next_step="it goes on by itself: look again with make status; else look at its console",
    )


def _decided(found: dict[str, Any], tried: str) -> bool:
    """The new slot runs and is kept, or the old one runs again and the new one is marked as bad."""
    return kept(found, tried) is bool(found["running"] == tried)
