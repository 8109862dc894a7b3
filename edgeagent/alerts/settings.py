"""How whoever has a configuration reaches the broker that it names."""

from __future__ import annotations

from edgeagent.alerts.link_types import LinkSettings
from edgeagent.config import Config, DeskConfig


def link_settings(config: Config | DeskConfig, client_id: str) -> LinkSettings:
    """The broker section, with its files found; `client_id` is the name in the certificate."""
    broker = config.broker
    return LinkSettings(
        host=broker.host,
        port=broker.port,
        through=None if broker.through is None else config.path(broker.through),
        client_id=client_id,
        ca_file=config.path(broker.ca),
        cert_file=config.path(broker.certificate),
        key_file=config.path(broker.key),
    )
