"""A unit's folder at the desk, as files for its card: whom it may speak to, its name, its time servers.

The unit may ask no name server, so the broker's name is looked up here, once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from card_disk import CardError

from edgeagent.documents.enrol_invitation import read_invitation

sys.path.append(str(Path(__file__).parents[1]))
from unit.firewall import broker_env, render, timesyncd_conf
from unit.folder import NETWORK, read_network
from unit.on_unit.facts import addresses_of
from unit.on_unit.places import INVITATION

SSH_PORT = 22
WIRED = "80-wired.network"


def left(folder: Path) -> list[str]:
    """What of the folder no card takes: a unit writes its own configuration when it is enrolled."""
    taken = {INVITATION, NETWORK, WIRED}
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(set(found) - taken)


def rendered(folder: Path, work: Path) -> dict[str, Path]:
    """From the name beside the loader to a file in `work` or in the folder.

    Raises:
        ConfigError: the invitation is not one, or is not there.
        FolderError: network.toml is wrong, or is not there.
        CardError: this machine does not know the broker's address.
    """
    invitation = read_invitation(folder / INVITATION)
    network = read_network(folder / NETWORK)
    broker = network.get("broker") or addresses_of(invitation.broker_host)
    if not broker:
        raise CardError(
            f"this machine cannot look up the broker, {invitation.broker_host}",
            where=str(folder / NETWORK),
            next_step='write its address there: broker = ["192.0.2.10"]',
        )
    clocks = network.get("clocks", [])
    made = {
        "unit/nftables.conf": render(
            broker, invitation.broker_port, clocks, network["technicians"], SSH_PORT
        ),
        "unit/broker.env": broker_env(broker[0], invitation.broker_port),
        "unit/name": f"{invitation.unit}\n".encode(),
        "unit/timesyncd.conf": timesyncd_conf(clocks),
    }
    files = {"enrolment.toml": folder / INVITATION}
    for name, content in made.items():
        files[name] = work / Path(name).name
        files[name].write_bytes(content)
    if (folder / WIRED).is_file():
        files[f"unit/network/{WIRED}"] = folder / WIRED
    return files
