"""Whether a unit is fit for this package and configuration; decided at the desk from what the unit says."""

from __future__ import annotations

import time
from typing import Any

from unit.faults import DeployError
from unit.firewall import lets_in
from unit.on_unit.service import LIVE, WHILE_LIVE, is_live
from unit.package import Package
from unit.tool import Tool

SYSTEMD_LEAST = 252
CLOCK_FAR_S = 300.0
ROOM = 64 << 20
Fault = tuple[bool, str, str]
"""Whether it is so, what is wrong, what to do."""
ARCHES = ("amd64", "arm64")
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = "install Debian 12 or 13, Raspberry Pi OS 12 or 13, or on a Jetson JetPack 7.2 or newer"


def look(tool: Tool, resolve: str = "") -> tuple[dict[str, Any], float]:
    """The unit's facts, and how far its clock is from ours in seconds."""
    asked = time.time()
    facts: dict[str, Any] = tool.ask("facts", resolve)
    return facts, facts["time"] - (asked + time.time()) / 2


def fit(facts: dict[str, Any], offset: float) -> None:
    """Board, system, clock.

    Raises:
        DeployError: with what to do.
    """
    refuse_any(
        (facts["arch"] not in ARCHES, f"is {facts['arch']}: there is no package for it", "use another board"),
        (facts["python"] not in PYTHONS, f"has Python {facts['python']}", SYSTEMS),
        (int(facts["systemd"]) < SYSTEMD_LEAST, f"has systemd {facts['systemd']}", SYSTEMS),
        (
            bool(set(facts["missing"]) - {"systemd-creds"}),
            f"lacks {', '.join(facts['missing'])}",
            "install them on the unit: apt install nftables",
        ),
        (facts["image"], "runs an image", "update it with a signed one: make update HOST= BUNDLE="),
        (
            facts["free"]["/opt"] < 0,
            "has a read-only root",
            "start it with one that can be written (firmware-config/README.md), then deploy",
        ),
        (
            facts["forgets"],
            "has its root under an overlay in memory: all of it would be gone after the next start",
            "take overlayroot= out of its kernel arguments first (firmware-config/README.md)",
        ),
        *at_this_moment(facts, offset),
    )


def at_this_moment(facts: dict[str, Any], offset: float) -> tuple[Fault, ...]:
    """What keeps any change away from a unit: its clock, and officers who rely on it."""
    return (
        (
            abs(offset) > CLOCK_FAR_S,
            f"has a clock that is {offset:+.0f} s from ours",
            "set it (date -s), check its battery and its time server; is ours right?",
        ),
        (is_live(facts["service"]), LIVE, WHILE_LIVE),
    )


def refuse_any(*faults: Fault) -> None:
    """The first that is so is what a technician hears.

    Raises:
        DeployError: with what to do.
    """
    for wrong, what, next_step in faults:
        if wrong:
            raise DeployError(what, where="the unit", next_step=next_step)


def suits(facts: dict[str, Any], package: Package) -> None:
    """Machine, Python, space.

    Raises:
        DeployError: with what to do.
    """
    machine = f"{facts['arch']} with Python {facts['python']}"
    if (package.arch, package.python) != (facts["arch"], facts["python"]):
        raise DeployError(
            f"the package is for {package.arch} with Python {package.python}, the unit is {machine}",
            where=package.file.name,
            next_step="leave PACKAGE= out: the right one is built",
        )
    needs = {"/opt": package.unpacked + ROOM, "/var/lib/edgeagent-deploy": package.file.stat().st_size + ROOM}
    if package.release in facts["releases"]:
        return
    for path, octets in needs.items():
        if facts["free"][path] < octets:
            raise DeployError(
                f"disk is full: {facts['free'][path] >> 20} MiB free, {octets >> 20} MiB needed",
                where=f"{path} on the unit",
                next_step="remove what is not the unit's (du -xh / | sort -h), or use a bigger card",
            )


def reachable(facts: dict[str, Any], technicians: list[str]) -> int:
    """The port of the unit's SSH; refuses a packet filter that would lock us out.

    Raises:
        DeployError: our own address is not among the technicians'.
    """
    caller, _, _, port = facts["from"].split() if facts["from"] else ("", "", "", "22")
    if caller and not lets_in(technicians, caller):
        raise DeployError(
            f"does not name the address that you come from, {caller}: you would be locked out",
            where="network.toml: technicians",
            next_step="add your network",
        )
    return int(port)
