"""`make deploy`: everything is checked and tried on the unit before one rename puts it to use."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unit import faults
from unit.faults import ConnectionLostError, DeployError, FolderError, RolledBackError
from unit.firewall import broker_env, render, timesyncd_conf
from unit.folder import UnitFolder, archive, read_folder
from unit.link import Target, connected
from unit.on_unit.switch import NOT_BEGUN
from unit.package import Package, build, inspect
from unit.parcel import cargo
from unit.preflight import fit, look, reachable, suits
from unit.say import MEBI, Steps, differences
from unit.tool import Tool, install

SWITCH_S = 180.0
EARLIER_S = 120.0
POLL_S = 0.5


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    target: Target
    folder: Path
    package: Path | None
    dry: bool


def deploy(order: Order) -> int:
    """Deploy; the exit code.

    Raises:
        DeployError: named, with what to do; the unit is on its old version.
    """
    steps = Steps()
    folder = read_folder(order.folder)
    steps.step(f"connecting to {order.target.host} as {order.target.user}")
    with connected(order.target) as link:
        tool = install(link)
        with tool.alone():
            return _with_tool(order, tool, folder, steps)


def _with_tool(order: Order, tool: Tool, folder: UnitFolder, steps: Steps) -> int:
    steps.step("looking at the unit: board, system, clock, space")
    facts, offset = _settled(tool, folder.config.broker.host, steps)
    fit(facts, offset)
    steps.note(f"{facts['board']}, {facts['os']}, {facts['arch']}, clock {offset:+.1f} s from ours")
    if not facts["timesyncd"]:
        steps.note("no systemd-timesyncd there: tell its own time service the `clocks` of network.toml")
    for name in folder.left:
        steps.note(f"not for the unit, stays here: {name}")
    steps.step(f"package for {facts['arch']} with Python {facts['python']}")
    package = inspect(order.package or build(facts["arch"], facts["python"]))
    suits(facts, package)
    steps.note(package.release)
    files = _complete(folder, facts)
    content, config = archive(files)
    changes = differences(facts, package.release, config, files)
    if not changes and facts["service"].get("ActiveState") == "active" and facts["firewall"]:
        print(
            f"nothing to change: {order.target.host} runs this version and this configuration, and is READY"
        )
        return faults.DONE
    if order.dry:
        print("\n".join(["dry run; nothing was changed. It would change:", *(changes or ["restart only"])]))
        return faults.DONE
    program = _copy(tool, facts, package, content, steps)
    steps.step("unpacking beside the version that runs")
    tool.ask("unpack", program, package.release, _name(content), config)
    steps.step("testing there, in the service's sandbox: configuration, models, doctor")
    checked = tool.ask("check", package.release, config)
    _report(checked, steps)
    return _switch(tool, package.release, config, changes, steps)


def _settled(tool: Tool, broker: str, steps: Steps) -> tuple[dict[str, Any], float]:
    """Facts of a unit on which no earlier switch is still under way."""
    until = time.monotonic() + EARLIER_S
    while True:
        facts, offset = look(tool, broker)
        if not facts["pending"]:
            return facts, offset
        if time.monotonic() > until:
            raise DeployError(
                "an earlier switch does not end", where="the unit", next_step="restart the unit: it goes back"
            )
        steps.note("an earlier switch is under way there; waiting for its end")
        time.sleep(5)


def _complete(folder: UnitFolder, facts: dict[str, Any]) -> dict[str, bytes]:
    """The folder's files and what is rendered from them."""
    broker, network = folder.config.broker, folder.network
    found = network.get("broker") or facts["addresses"]
    if not found:
        raise FolderError(
            f"the unit cannot look up {broker.host}",
            where="edgeagent.toml: broker.host",
            next_step='write its address into network.toml: broker = ["192.0.2.10"]',
        )
    port = reachable(facts, network["technicians"])
    clocks = network.get("clocks", [])
    return {
        **folder.files,
        "nftables.conf": render(found, broker.port, clocks, network["technicians"], port),
        "broker.env": broker_env(found[0], broker.port),
        "timesyncd.conf": timesyncd_conf(clocks),
    }


def _name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.tar"


def _copy(tool: Tool, facts: dict[str, Any], package: Package, content: bytes, steps: Steps) -> str:
    """Send what the unit has not; the name under which the program came."""
    with tempfile.TemporaryDirectory(prefix="edgeagent-") as folder:
        goods = cargo(tool, facts, package, Path(folder))
        program = f"{goods.size / MEBI:.1f} of {package.file.stat().st_size / MEBI:.0f} MiB of program"
        steps.step(f"copying {program}, {len(content) / MEBI:.1f} MiB of configuration")
        if goods.file is not None:
            with steps.bar(goods.size) as told:
                tool.give(goods.name, goods.file, goods.sha256, told)
        config = Path(folder) / "configuration"
        config.write_bytes(content)
        tool.give(_name(content), config, hashlib.sha256(content).hexdigest(), lambda _: None)
    return goods.name


def _report(checked: dict[str, Any], steps: Steps) -> None:
    for finding in checked["findings"]:
        if finding["state"] in ("broken", "look") or finding["subject"] == "models":
            steps.note(f"doctor: {finding['subject']}: {finding['text']}")
    if checked["keys_missing"]:
        steps.note(f"not enrolled yet: there is no {', no '.join(checked['keys_missing'])} on the unit")


def _switch(tool: Tool, release: str, config: str, changes: list[str], steps: Steps) -> int:
    transaction = secrets.token_hex(6)
    steps.step("switching; the unit goes back by itself if this fails or if we fall silent")
    tool.ask("switch", release, config, transaction)
    result = _watch(tool, transaction, steps)
    if result["outcome"] == NOT_BEGUN:
        raise DeployError(
            result["reason"],
            where=tool.link.target.host,
            next_step="nothing was switched; deploy again when that is over",
        )
    if result["reason"]:
        for line in result["words"]:
            steps.note(f"unit: {line}")
        raise RolledBackError(
            f"{result['outcome']}: {result['reason']}",
            where=tool.link.target.host,
            next_step="the unit does what it did before; send these lines to the desk",
        )
    print("\n".join(["changed:", *(f"  {line}" for line in changes or ["restart only"])]))
    if result["outcome"] != "ready":
        print(
            f"installed in {steps.seconds:.0f} s; NOT ENROLLED: now run `edgeagent enrol begin` on the unit"
        )
        return faults.NOT_ENROLLED
    print(f"READY in {steps.seconds:.0f} s: {tool.link.target.host} runs {release}")
    return faults.DONE


def _watch(tool: Tool, transaction: str, steps: Steps) -> dict[str, Any]:
    """Follow the switch to its end; tell it once over a new connection that it still reaches us."""
    until, told, waiting = time.monotonic() + SWITCH_S, False, False
    while time.monotonic() < until:
        try:
            progress: dict[str, Any] = tool.ask("progress")
        except DeployError as error:
            if isinstance(error, ConnectionLostError):
                raise
            progress = {"transaction": "", "phase": ""}
        phase = progress["phase"] if progress["transaction"] == transaction else ""
        if phase == "done":
            return progress
        if phase == "new-connection":
            if not waiting:  # it may have gone through the phase before within one look
                steps.step("waiting for READY, six healthy seconds, and a new connection through its filter")
                waiting = True
            told = told or tool.confirm(transaction)
        time.sleep(POLL_S)
    raise RolledBackError(
        "the switch did not end", where="the unit", next_step="look how it stands: make status"
    )
