"""The control room's connection to the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.settings import link_settings
from edgeagent.config import DeskConfig

MOST_IN_FLIGHT = 512
"""Receipts and leases of a fleet in one burst; one that finds no room is sent at the next repetition."""


def desk_link(config: DeskConfig, subscriptions: Sequence[Subscription]) -> MqttLink:
    """A link of the control room, started."""
    link = MqttLink(
        replace(link_settings(config, config.desk.name), max_in_flight=MOST_IN_FLIGHT),
        subscriptions=subscriptions,
        will=None,
        on_connected=lambda: None,
        monotonic=time.monotonic,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    link.start()
    return link
