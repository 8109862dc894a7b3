"""How whoever has a configuration reaches the broker that it names."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeagent.alerts.link_types import LinkSettings

if TYPE_CHECKING:
    from edgeagent.config import Config, DeskConfig

SECRET_OCTETS = 16
DESK_IN_FLIGHT, DESK_INBOX = 512, 2048
"""Receipts, leases and alerts of a fleet in one burst; what finds no room comes at the next repetition."""


def new_client_id(name: str) -> str:
    """A client id that nobody can guess: the name in the certificate, a dot, 32 hexadecimal digits.

    MQTT closes a connection when another comes with its client id. RabbitMQ 3.10 lets everybody choose that
    freely, so with a known one any unit could throw any other off, again and again. A dot is in no unit's
    name: whose id it is stays plain, and RabbitMQ's rights to a queue depend on it.
    """
    return f"{name}.{secrets.token_hex(SECRET_OCTETS)}"


def link_settings(config: Config | DeskConfig, name: str) -> LinkSettings:
    """The broker section, with its files found; `name` is the one in the certificate.

    The client id is new each time, and stays as long as the link: when it comes back, the broker knows that
    the connection before is dead.
    """
    broker = config.broker
    return LinkSettings(
        host=broker.host,
        port=broker.port,
        through=None if broker.through is None else config.path(broker.through),
        client_id=new_client_id(name),
        ca_file=config.path(broker.ca),
        cert_file=config.path(broker.certificate),
        key_file=config.path(broker.key),
    )


def of_a_desk(settings: LinkSettings) -> LinkSettings:
    """With room for all units at once, where a unit has room for its own messages."""
    return replace(settings, max_in_flight=DESK_IN_FLIGHT, inbox_size=DESK_INBOX)
