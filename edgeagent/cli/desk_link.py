"""The control room's connection to the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import LinkSettings, Subscription
from edgeagent.config import BrokerSection, DeskConfig


def link_settings(broker: BrokerSection, config: DeskConfig, client_id: str) -> LinkSettings:
    """How the desk reaches the broker."""
    return LinkSettings(
        host=broker.host,
        port=broker.port,
        client_id=client_id,
        ca_file=config.path(broker.ca),
        cert_file=config.path(broker.certificate),
        key_file=config.path(broker.key),
    )


def desk_link(config: DeskConfig, purpose: str, subscriptions: Sequence[Subscription]) -> MqttLink:
    """A link of the control room, started; `purpose` keeps two of its programs apart at the broker."""
    link = MqttLink(
        link_settings(config.broker, config, f"{config.desk.name}-{purpose}"),
        subscriptions=subscriptions,
        will=None,
        on_connected=lambda: None,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    link.start()
    return link
