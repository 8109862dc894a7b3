"""The control room's connection to the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.settings import link_settings, of_a_desk
from edgeagent.config import DeskConfig


def desk_link(config: DeskConfig, subscriptions: Sequence[Subscription]) -> MqttLink:
    """A link of the control room, started."""
    link = MqttLink(
        of_a_desk(link_settings(config, config.desk.name)),
        subscriptions=subscriptions,
        will=None,
        on_connected=lambda: None,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    link.start()
    return link
