"""Who may do what on RabbitMQ, as its definitions file: `python deploy/broker/rabbitmq/definitions.py UNIT…`.

RabbitMQ has no pattern for all units, so each has a user of its own, without a password. The rights come from
the same tables as Mosquitto's access list. To add a unit later: make the file anew with all of them and
`rabbitmqctl import_definitions`. To throw one out: `rabbitmqctl delete_user`, which ends its connections too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from edgeagent.alerts.topics import BENCH_PREFIX, FROM_UNIT, LIVE_PREFIX, TO_UNIT, check_unit_name
from edgeagent.demo.mosquitto_conf import DESKS

VHOST, EXCHANGE, EXCHANGE_PATTERN = "/", "amq.topic", r"amq\.topic"
CONNECTIONS = 2
"""A unit that comes back while its old connection is not yet known to be dead."""
PREFIXES = "(" + "|".join(prefix.replace("/", r"\.") for prefix in (LIVE_PREFIX, BENCH_PREFIX)) + ")"

_Rights = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Whose topics, and what may be read and written there."""


def definitions(units: tuple[str, ...]) -> dict[str, Any]:
    """The whole file for these units and all desks; raises `ConfigError` on what is not a unit's name."""
    names = [*DESKS, *(check_unit_name(unit) for unit in units)]
    # {username} is put in by RabbitMQ; a unit's name has no character that a pattern would read otherwise.
    rights: dict[str, _Rights] = dict.fromkeys(units, ("{username}", TO_UNIT, FROM_UNIT))
    rights |= {desk: (r"\*", reads, writes) for desk, (reads, writes) in DESKS.items()}
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user(name) for name in names],
        "permissions": [_queues(name) for name in names],
        "topic_permissions": [_topics(name, *rights[name]) for name in names],
    }


def _user(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [],
        "limits": {"max-connections": CONNECTIONS},
    }


def _queues(name: str) -> dict[str, str]:
    """Its own subscriptions' queues and the exchange of all topics; a client id begins with the user's."""
    queue = rf"mqtt-subscription-{name}(\.[0-9a-f]+)?qos[01]"
    return {
        "user": name,
        "vhost": VHOST,
        "configure": f"^{queue}$",
        "write": f"^({queue}|{EXCHANGE_PATTERN})$",
        "read": f"^({queue}|{EXCHANGE_PATTERN})$",
    }


def _topics(name: str, unit: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> dict[str, str]:
    """Reading is judged by the subscription itself: a desk's `+` is `*` here, and must be said just so."""
    one = r"[a-z0-9-]+" if unit == r"\*" else unit
    return {
        "user": name,
        "vhost": VHOST,
        "exchange": EXCHANGE,
        "write": rf"^{PREFIXES}\.{one}\.({'|'.join(writes)})$",
        "read": rf"^{PREFIXES}\.{unit}\.({'|'.join(reads)})$",
    }


if __name__ == "__main__":
    print(json.dumps(definitions(tuple(sys.argv[1:])), indent=1))
