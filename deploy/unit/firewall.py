"""What is rendered from the unit's network.toml: packet filter, the broker's address, time servers."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from unit.faults import FolderError

TEMPLATE = Path(__file__).parents[1] / "package/root/usr/share/edgeagent/nftables.conf"


def render(broker: list[str], port: int, clocks: list[str], technicians: list[str], ssh_port: int) -> bytes:
    """The whole file for nft: the package's, with its sets filled.

    Raises:
        FolderError: an address is none, or is not of IPv4.
    """
    elements = {
        "broker": [f"{address} . {port}" for address in addresses(broker, "broker")],
        "clocks": addresses(clocks, "clocks"),
        "technicians": addresses(technicians, "technicians"),
        "doors": [str(ssh_port)],
    }
    text = TEMPLATE.read_text()
    for name, members in elements.items():
        if members:
            head = f"set {name} {{ "
            text = text.replace(head, f"{head}elements = {{ {', '.join(members)} }}; ", 1)
    return text.encode()


def addresses(given: list[str], key: str) -> list[str]:
    """Checked: what goes into a file of rules is an address or a network, and nothing else."""
    found = []
    for each in given:
        try:
            found.append(str(ipaddress.IPv4Network(each)).removesuffix("/32"))
        except (ValueError, TypeError):
            raise FolderError(
                f"{each!r} is no IPv4 address or network",
                where=f"network.toml: {key}",
                next_step="write it as 192.0.2.7 or 192.0.2.0/24",
            ) from None
    return found


def lets_in(technicians: list[str], caller: str) -> bool:
    """Whether the address that we come from would be let in again."""
    address = ipaddress.ip_address(caller)
    return any(address in ipaddress.ip_network(each) for each in technicians)


def broker_env(address: str, port: int) -> bytes:
    """What the forwarder reads; an address, since a unit may ask no name server."""
    head = "# Written by `make deploy`, with the packet filter's rule for it."
    return f"{head}\nBROKER={address}:{port}\n".encode()


def timesyncd_conf(clocks: list[str]) -> bytes:
    """What systemd-timesyncd reads: these servers and no others, since no others are let out to.

    Raises:
        FolderError: one is no IPv4 address.
    """
    head = "# Written by `make deploy`, with the packet filter's rule for it. timesyncd.conf(5)."
    servers = addresses(clocks, "clocks")
    if networks := [each for each in servers if "/" in each]:
        raise FolderError(
            f"{networks[0]} is a network",
            where="network.toml: clocks",
            next_step="name each time server by its address",
        )
    return f"{head}\n[Time]\nNTP=\nNTP={' '.join(servers)}\nFallbackNTP=\n".encode()
