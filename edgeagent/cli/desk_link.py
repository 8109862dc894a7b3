"""The control room's connection to the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import LinkSettings, Subscription
from edgeagent.config import DeskConfig


def _settings(config: DeskConfig) -> LinkSettings:
    """How the desk reaches the broker, under the name of its certificate."""
    broker = config.broker
    return LinkSettings(
        host=broker.host,
        port=broker.port,
        through=None if broker.through is None else config.path(broker.through),
        client_id=config.desk.name,
        ca_file=config.path(broker.ca),
        cert_file=config.path(broker.certificate),
        key_file=config.path(broker.key),
    )


def desk_link(config: DeskConfig, subscriptions: Sequence[Subscription]) -> MqttLink:
    """A link of the control room, started."""
    link = MqttLink(
        _settings(config),
        subscriptions=subscriptions,
        will=None,
        on_connected=lambda: None,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    link.start()
    return link
